package check

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"pace/config/toml"
)

// Checks of what stands in a route. What a pattern means is known to the package that matches requests.

// pattern is [METHOD ][HOST]/[PATH].
func pattern(s, _ string) (string, *Refusal) {
	switch {
	case s == "":
		return "", &Refusal{What: "the pattern is empty", Form: "a pattern"}
	case strings.ContainsFunc(s, isControl):
		return "", &Refusal{What: "a control character in " + toml.Quote(s), Form: "a pattern"}
	case !strings.Contains(s, "/"):
		return "", &Refusal{What: toml.Quote(s) + " has no path", Form: "a pattern with a path", Instead: s + "/"}
	}
	return s, nil
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$`)

// Name is the name of an upstream or a limit, which is in labels, URLs and header fields.
func Name(s, _ string) (string, *Refusal) {
	if strings.Contains(s, "://") {
		return "", &Refusal{What: toml.Redact(s) + " is a URL, not a name", Form: "the name of a table"}
	}
	if !nameForm.MatchString(s) {
		return "", &Refusal{What: toml.Quote(s) + " is not a name", Form: "letters, digits, _ - and ., at most 100"}
	}
	return s, nil
}

// label is the name of a route, which is in labels and log lines.
func label(s, _ string) (string, *Refusal) {
	if len(s) > 200 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", &Refusal{What: toml.Quote(s) + " is not a name", Form: "printable ASCII characters, at most 200"}
	}
	return s, nil
}

// splitBy is client_ip, cookie:NAME or header:NAME.
func splitBy(s, sample string) (string, *Refusal) {
	return keyOf(s, sample, `"client_ip", "cookie:NAME" or "header:NAME"`, "client_ip")
}

// hashBy is client_ip, header:NAME, cookie:NAME or path.
func hashBy(s, sample string) (string, *Refusal) {
	return keyOf(s, sample, `"client_ip", "header:NAME", "cookie:NAME" or "path"`, "client_ip", "path")
}

// keyOf is one of the words, cookie:NAME or header:NAME.
func keyOf(s, sample, form string, words ...string) (string, *Refusal) {
	kind, of, hasName := strings.Cut(s, ":")
	_, bad := FieldName(of, sample)
	switch {
	case slices.Contains(words, s):
	case kind != "cookie" && kind != "header":
		return "", &Refusal{What: toml.Quote(s) + " identifies no client", Form: form}
	case !hasName || bad != nil:
		return "", &Refusal{What: "no name of a " + kind + " in " + toml.Quote(s), Form: form}
	}
	return s, nil
}

// cookieName is a token (RFC 6265 §4.1.1).
func cookieName(s, sample string) (string, *Refusal) {
	if _, bad := FieldName(s, sample); bad != nil {
		return "", &Refusal{What: toml.Quote(s) + " is not the name of a cookie", Form: "letters, digits and hyphens"}
	}
	return s, nil
}

// location is a URL, or a path, which may have wildcards in braces.
func location(s, _ string) (string, *Refusal) {
	const form = "http(s)://host/path or /path"
	plain := wildcard.ReplaceAllString(s, "x")
	u, err := url.Parse(plain)
	switch {
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", &Refusal{What: toml.Quote(s) + " is not a URL", Form: form}
	case err != nil, u.Scheme != "" && (u.Scheme != "http" && u.Scheme != "https" || u.Host == ""):
		return "", &Refusal{What: toml.Redact(s) + " is not an http or https URL", Form: form}
	case u.User != nil:
		return "", &Refusal{What: "credentials in " + toml.Redact(s), Form: form}
	case strings.HasPrefix(s, "//"):
		return "", &Refusal{What: toml.Quote(s) + ` begins with "//", which leads to another host`, Form: form, Instead: "https:" + s}
	case strings.Contains(s, `\`): // browsers read it as a slash
		return "", &Refusal{What: "a backslash in " + toml.Quote(s), Form: form, Instead: strings.ReplaceAll(s, `\`, "%5C")}
	case u.Scheme == "" && !strings.HasPrefix(s, "/"):
		return "", &Refusal{What: toml.Quote(s) + " has no scheme", Form: form, Instead: "https://" + s}
	case u.Fragment != "":
		return "", &Refusal{What: "a fragment in " + toml.Quote(s), Form: form, Instead: s[:strings.IndexByte(s, '#')]}
	}
	return s, nil
}

var wildcard = regexp.MustCompile(`\{[^{}]*\}`)

// prefix is the start of a path, in whole segments, which becomes one without a slash at its end.
func prefix(s, _ string) (string, *Refusal) {
	const form = "a path"
	trimmed := strings.TrimRight(s, "/")
	segments := strings.Split(trimmed, "/")
	switch {
	case !strings.HasPrefix(s, "/"):
		return "", &Refusal{What: toml.Quote(s) + ` does not start with "/"`, Form: form, Instead: "/" + s}
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '?' || r == '#' }):
		return "", &Refusal{What: toml.Quote(s) + " is not a plain path", Form: "a path without query or fragment, other characters %-encoded"}
	case slices.ContainsFunc(segments, isBadEncoding):
		return "", &Refusal{What: "an invalid percent-encoding in " + toml.Quote(s), Form: `a path with two hexadecimal digits after each "%"`}
	case slices.Contains(segments[1:], ""), slices.ContainsFunc(segments, isDots):
		return "", &Refusal{What: toml.Quote(s) + " is not in its shortest form", Form: form}
	}
	return trimmed, nil
}

func isBadEncoding(segment string) bool {
	_, err := url.PathUnescape(segment)
	return err != nil
}

// isDots reports whether a segment stands for its own directory or the one above, encoded or not.
func isDots(segment string) bool {
	plain, _ := url.PathUnescape(segment)
	return plain == "." || plain == ".."
}

// authority is keep, backend, or host[:port].
func authority(s, _ string) (string, *Refusal) { return hostField(s, `"keep", "backend" or a host`) }

// hostField is host[:port]. form says what else it may be.
func hostField(s, form string) (string, *Refusal) {
	if _, rest, isURL := strings.Cut(s, "://"); isURL {
		_, bare := tooMuch(rest)
		return "", &Refusal{What: toml.Redact(s) + " is a URL", Form: form, Instead: bare}
	}
	host, _, bad := splitHostPort(s)
	switch {
	case s == "":
		return "", &Refusal{What: "the host is empty", Form: form}
	case bad != nil:
		bad.Form = form
		return "", bad
	case host == "":
		return "", &Refusal{What: "no host in " + toml.Quote(s), Form: form}
	}
	return s, nil
}
