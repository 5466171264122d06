package config

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"pace/config/toml"
)

// Checks of what stands in a route. What a pattern means is known to the package that matches requests.

// pattern is [METHOD ][HOST]/[PATH].
func pattern(s, _ string) (string, *refusal) {
	switch {
	case s == "":
		return "", &refusal{what: "the pattern is empty", form: "a pattern"}
	case strings.ContainsFunc(s, isControl):
		return "", &refusal{what: "a control character in " + toml.Quote(s), form: "a pattern"}
	case !strings.Contains(s, "/"):
		return "", &refusal{what: toml.Quote(s) + " has no path", form: "a pattern with a path", instead: s + "/"}
	}
	return s, nil
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$`)

// name is the name of an upstream or a limit, which is in labels, URLs and header fields.
func name(s, _ string) (string, *refusal) {
	if !nameForm.MatchString(s) {
		return "", &refusal{what: toml.Quote(s) + " is not a name", form: "letters, digits, _ - and ., at most 100"}
	}
	return s, nil
}

// label is the name of a route, which is in labels and log lines.
func label(s, _ string) (string, *refusal) {
	if len(s) > 200 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", &refusal{what: toml.Quote(s) + " is not a name", form: "printable ASCII characters, at most 200"}
	}
	return s, nil
}

// splitBy is client_ip, cookie:NAME or header:NAME.
func splitBy(s, sample string) (string, *refusal) {
	const form = `"client_ip", "cookie:NAME" or "header:NAME"`
	kind, of, hasName := strings.Cut(s, ":")
	_, bad := fieldName(of, sample)
	switch {
	case s == "client_ip":
	case kind != "cookie" && kind != "header":
		return "", &refusal{what: toml.Quote(s) + " identifies no client", form: form}
	case !hasName || bad != nil:
		return "", &refusal{what: "no name of a " + kind + " in " + toml.Quote(s), form: form}
	}
	return s, nil
}

// location is a URL, or a path, which may have wildcards in braces.
func location(s, _ string) (string, *refusal) {
	const form = "http(s)://host/path or /path"
	plain := wildcard.ReplaceAllString(s, "x")
	u, err := url.Parse(plain)
	switch {
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", &refusal{what: toml.Quote(s) + " is not a URL", form: form}
	case err != nil, u.Scheme != "" && (u.Scheme != "http" && u.Scheme != "https" || u.Host == ""):
		return "", &refusal{what: toml.Redact(s) + " is not an http or https URL", form: form}
	case u.User != nil:
		return "", &refusal{what: "credentials in " + toml.Redact(s), form: form}
	case strings.HasPrefix(s, "//"):
		return "", &refusal{what: toml.Quote(s) + ` begins with "//", which leads to another host`, form: form, instead: "https:" + s}
	case u.Scheme == "" && !strings.HasPrefix(s, "/"):
		return "", &refusal{what: toml.Quote(s) + " has no scheme", form: form, instead: "https://" + s}
	case u.Fragment != "":
		return "", &refusal{what: "a fragment in " + toml.Quote(s), form: form, instead: s[:strings.IndexByte(s, '#')]}
	}
	return s, nil
}

var wildcard = regexp.MustCompile(`\{[^{}]*\}`)

// prefix is the start of a path, in whole segments, which becomes one without a slash at its end.
func prefix(s, _ string) (string, *refusal) {
	const form = "a path"
	trimmed := strings.TrimRight(s, "/")
	segments := strings.Split(trimmed, "/")
	switch {
	case !strings.HasPrefix(s, "/"):
		return "", &refusal{what: toml.Quote(s) + ` does not start with "/"`, form: form, instead: "/" + s}
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '?' || r == '#' }):
		return "", &refusal{what: toml.Quote(s) + " is not a plain path", form: "a path without query or fragment, other characters %-encoded"}
	case slices.Contains(segments[1:], ""), slices.Contains(segments, "."), slices.Contains(segments, ".."):
		return "", &refusal{what: toml.Quote(s) + " is not in its shortest form", form: form}
	}
	return trimmed, nil
}

// authority is keep, backend, or host[:port].
func authority(s, _ string) (string, *refusal) {
	const form = `"keep", "backend" or a host`
	if _, rest, isURL := strings.Cut(s, "://"); isURL {
		_, bare := tooMuch(rest)
		return "", &refusal{what: toml.Redact(s) + " is a URL", form: form, instead: bare}
	}
	host, _, bad := splitHostPort(s)
	switch {
	case s == "":
		return "", &refusal{what: "the host is empty", form: form}
	case bad != nil:
		bad.form = form
		return "", bad
	case host == "":
		return "", &refusal{what: "no host in " + toml.Quote(s), form: form}
	}
	return s, nil
}
