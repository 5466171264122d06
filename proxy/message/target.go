package message

import (
	"net/http"
	"net/url"
	"strings"
)

// Asterisk is the target of an OPTIONS request that is about the server as a whole (RFC 9112 §3.2.4).
const Asterisk = "*"

// Target returns a request's target as it goes to a backend: in origin form, and otherwise as it came. raw is
// the target as it came, and u what net/url reads in it. It is never decoded and encoded anew, because a backend may tell %2F from /, or %3B from ;.
func Target(method, raw string, u *url.URL) string {
	switch {
	case strings.HasPrefix(raw, "/"), raw == Asterisk:
	case u.Host == "" && u.Path == "": // CONNECT, or "GET mailto:x": it is rejected, and only logged
		raw = u.RequestURI()
	default:
		raw = originForm(method, raw)
	}
	return Escape(raw)
}

// originForm returns what follows the authority in a target in absolute form (RFC 9112 §3.2.2). A
// request that names no path is about the root, or with OPTIONS and no query about the whole server.
func originForm(method, raw string) string {
	_, rest, _ := strings.Cut(raw, ":")
	if authority, ok := strings.CutPrefix(rest, "//"); ok {
		end := strings.IndexAny(authority, "/?")
		if end < 0 {
			end = len(authority)
		}
		rest = authority[end:]
	}
	switch {
	case strings.HasPrefix(rest, "/"):
		return rest
	case rest == "" && method == http.MethodOptions:
		return Asterisk
	}
	return "/" + rest
}

// plain reports whether s may stand in a request line as it is.
func plain(s string) bool {
	for i := range len(s) {
		if misleading(s[i]) {
			return false
		}
	}
	return true
}

// misleading reports whether c must not stand in a request line: it would end the target, or be read
// in more than one way.
func misleading(c byte) bool { return c <= ' ' || c >= 0x7f || c == '#' }

// Escape percent-encodes the bytes of s that must not stand in a request line, one by one, and no others.
func Escape(s string) string {
	if plain(s) {
		return s
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; misleading(c) {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
