package message

import (
	"net/url"
	"strings"
)

// Prefixes change the start of a path on its way to a backend. Both are in whole segments and have no slash at
// their end; "" changes nothing.
type Prefixes struct {
	Strip string // percent-encoded or not: segments are compared as routes compare them, each decoded
	Add   string
}

// Rewrite returns a target in origin form as the backend gets it. What is left of the path stays as it came. A
// path that does not start with Strip only gets Add, and "*" stays what it is.
func (p Prefixes) Rewrite(target string) string {
	if p == (Prefixes{}) || !strings.HasPrefix(target, "/") {
		return target
	}
	path, query, hasQuery := strings.Cut(target, "?")
	rest := withoutPrefix(path, p.Strip)
	if rest == "" && p.Add == "" {
		rest = "/"
	}
	rest = p.Add + rest
	if hasQuery {
		return rest + "?" + query
	}
	return rest
}

// withoutPrefix returns what follows prefix in path: nothing, or something with a slash at its start. A path that
// does not start with prefix is returned whole.
func withoutPrefix(path, prefix string) string {
	rest := path
	for prefix != "" {
		var want, have string
		want, prefix = firstSegment(prefix)
		if rest == "" {
			return path
		}
		if have, rest = firstSegment(rest); decoded(have) != decoded(want) {
			return path
		}
	}
	return rest
}

// firstSegment splits a path that starts with a slash after its first segment.
func firstSegment(path string) (segment, rest string) {
	if end := strings.IndexByte(path[1:], '/'); end >= 0 {
		return path[1 : 1+end], path[1+end:]
	}
	return path[1:], ""
}

func decoded(segment string) string {
	if text, err := url.PathUnescape(segment); err == nil {
		return text
	}
	return segment
}
