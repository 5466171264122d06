package route

import (
	"bytes"
	"slices"
	"strings"
)

// cut splits a path into its first segment and the rest, which is "" or begins with a slash. A path of a
// slash alone is an empty segment.
func cut(path string) (segment, rest string) {
	if path == "" {
		return "", ""
	}
	if i := strings.IndexByte(path[1:], '/'); i >= 0 {
		return path[1 : i+1], path[i+1:]
	}
	return path[1:], ""
}

// unclean reports whether a backend may resolve a path to another one: it has an empty segment that is not
// the last, or one of dots, percent-encoded or not. An encoded slash separates nothing.
func unclean(path string) bool {
	for i := 0; i < len(path)-1; i++ {
		if path[i] != '/' {
			continue
		}
		switch path[i+1] {
		case '/':
			return true
		case '.', '%':
			if segment, _ := cut(path[i:]); dots(segment) > 0 {
				return true
			}
		}
	}
	return false
}

// dots returns 1 for a segment that means ".", 2 for one that means "..", and 0 for any other.
func dots(segment string) (n int) {
	for segment != "" {
		switch {
		case segment[0] == '.':
			segment = segment[1:]
		case len(segment) >= 3 && segment[0] == '%' && segment[1] == '2' && segment[2]|0x20 == 'e':
			segment = segment[3:]
		default:
			return 0
		}
		n++
	}
	if n > 2 {
		return 0
	}
	return n
}

// resolutions returns the other paths that backends may take an unclean path for. Some merge slashes, some
// resolve dots (RFC 3986 §5.2.4), some do both, and of those that resolve dots in the end some keep a slash there.
func resolutions(path string) (others []string) {
	note := func(p string) {
		if p != path && !slices.Contains(others, p) {
			others = append(others, p)
		}
	}
	note(resolve(path, true, false))
	for _, merge := range []bool{false, true} {
		p := resolve(path, merge, true)
		note(p)
		if last := path[strings.LastIndexByte(path, '/')+1:]; dots(last) > 0 && p != "/" {
			note(strings.TrimSuffix(p, "/"))
		}
	}
	return others
}

// resolve merges the slashes of a path, or resolves the segments of dots, or both. A client chooses how long the
// path is, so this is one walk over it.
func resolve(path string, merge, dotted bool) string {
	resolved := make([]byte, 0, len(path))
	for path != "" {
		var segment string
		segment, path = cut(path)
		n, last := 0, path == ""
		if dotted {
			n = dots(segment)
		}
		if n == 2 {
			resolved = resolved[:max(bytes.LastIndexByte(resolved, '/'), 0)]
		}
		switch {
		case n > 0 && last:
			resolved = append(resolved, '/')
		case n > 0, merge && segment == "" && !last:
		default:
			resolved = append(append(resolved, '/'), segment...)
		}
	}
	return string(resolved)
}

// decoded appends a segment to buf, percent-decoded. What is no percent-encoding stays as it is.
func decoded(buf []byte, segment string) []byte {
	for i := 0; i < len(segment); i++ {
		c := segment[i]
		if c == '%' && i+2 < len(segment) {
			high, low := hex(segment[i+1]), hex(segment[i+2])
			if high >= 0 && low >= 0 {
				c = byte(high<<4 | low)
				i += 2
			}
		}
		buf = append(buf, c)
	}
	return buf
}

func hex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}
