package config

import (
	"slices"
	"strconv"
	"strings"
)

// taken are header names that a setting must not claim, by why not. Framing fields and those
// of one connection (RFC 9110 §7.6.1) would break the message; the others carry a meaning of
// their own that a proxy must not overwrite.
var taken = map[string][]string{
	"frames the message": {"content-length", "transfer-encoding", "trailer", "host", "expect"},
	"belongs to one connection": {"connection", "keep-alive", "proxy-connection", "te", "upgrade",
		"http2-settings", "proxy-authenticate", "proxy-authorization"},
	"has a meaning of its own": {"age", "allow", "authorization", "cache-control", "content-encoding",
		"content-range", "content-type", "cookie", "date", "etag", "forwarded", "location", "proxy-status",
		"range", "retry-after", "set-cookie", "traceparent", "tracestate", "vary", "via", "www-authenticate",
		"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-rate-limit-limit",
		"x-rate-limit-remaining", "x-rate-limit-reset", "x-request-id"},
}

// headerName is a token (RFC 9110 §5.6.2) that no other field needs.
func headerName(s string) (string, *refusal) {
	const mend = `write a name of your own, such as "X-Served-By"`
	if s == "" {
		return "", &refusal{"no header name", mend}
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return !isTokenRune(r) }); i >= 0 {
		return "", &refusal{quote(s) + " is not a header name", "write letters, digits and hyphens"}
	}
	if len(s) > 128 {
		return "", &refusal{"a header name of " + strconv.Itoa(len(s)) + " bytes", "write at most 128"}
	}
	for why, names := range taken {
		if slices.Contains(names, strings.ToLower(s)) {
			return "", &refusal{s + " " + why, mend}
		}
	}
	return s, nil
}

func isTokenRune(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r < 0x80 && strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

// headerValue is a field value (RFC 9110 §5.5) that is not empty. Bytes above ASCII are
// refused: the RFC lets them pass, but a receiver may read them as it likes.
func headerValue(s string) (string, *refusal) {
	switch {
	case s == "":
		return "", &refusal{"an empty value", `write one, such as "pace"`}
	case strings.Trim(s, " \t") != s:
		return "", &refusal{"spaces around " + quote(s), "write " + quote(strings.Trim(s, " \t"))}
	case strings.ContainsFunc(s, func(r rune) bool { return r != '\t' && (r < ' ' || r > '~') }):
		return "", &refusal{quote(s) + " cannot be sent in a header", "write printable ASCII only, in one line"}
	case len(s) > 1024:
		return "", &refusal{"a value of " + strconv.Itoa(len(s)) + " bytes", "write at most 1024"}
	}
	return s, nil
}
