package route

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"unicode"
)

// Pattern is which requests a route takes, in the syntax of net/http.ServeMux:
//
//	[METHOD ][HOST]/[PATH]
//
// A segment of the path is a literal or a wildcard: {name} is one segment, {name...} all that follow, none
// included; both stand for a whole segment, and {name...} stands last. A path that ends in a slash matches all paths that begin with it;
// {$} in the end stops it from that. GET is also HEAD.
type Pattern struct {
	Text   string // as it was written
	Method string // "": every method
	Host   string // in lower case; "": every host
	Path   string // as it was written

	segments []segment
}

// segment is a part of a pattern's path.
type segment struct {
	kind kind
	text string // of a literal, percent-decoded; the name of a wildcard, "" if it has none
}

// kind is what a segment matches. The kinds stand in order of precedence.
type kind uint8

const (
	end     kind = iota // the slash that ends a path
	literal             // one segment that is equal
	single              // any one segment that is not empty
	rest                // all that follows, at least a slash
)

// compare orders segments by precedence, and literals by their text.
func (s segment) compare(other segment) int {
	if s.kind != other.kind {
		return int(s.kind) - int(other.kind)
	}
	if s.kind == literal {
		return strings.Compare(s.text, other.text)
	}
	return 0
}

// PatternError says what is wrong with a pattern, and how to correct it.
type PatternError struct{ What, Remedy string }

func (e *PatternError) Error() string { return e.What + "; " + e.Remedy }

func bad(remedy, what string, args ...any) *PatternError {
	return &PatternError{What: fmt.Sprintf(what, args...), Remedy: remedy}
}

// Parse reads a pattern. It refuses what ServeMux refuses, and what could never match: an unclean path, a host
// with a port or a wildcard, a method that is misspelled, CONNECT, which pace rejects.
func Parse(s string) (*Pattern, *PatternError) {
	const example = `write a pattern such as "GET example.com/users/{id}" or "/"`
	p := &Pattern{Text: s}
	target := s
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		p.Method, target = s[:i], strings.TrimLeft(s[i:], " \t")
		if err := checkMethod(p.Method); err != nil {
			return nil, err
		}
	}
	scheme, bare, hasScheme := strings.Cut(target, "://")
	slash := strings.IndexByte(target, '/')
	switch {
	case s == "":
		return nil, bad(example, "the pattern is empty")
	case hasScheme && !strings.Contains(scheme, "/"):
		return nil, bad(fmt.Sprintf("write %q", bare), "the pattern %q has a scheme", s)
	case slash < 0 && p.Method == "" && checkMethod(s) == nil && s == strings.ToUpper(s):
		return nil, bad(fmt.Sprintf("write %q for all paths", s+" /"), "the pattern %q has no path", s)
	case slash < 0:
		return nil, bad(fmt.Sprintf("write %q for all paths of the host", s+"/"), "the pattern %q has no path", s)
	}
	var err *PatternError
	if p.Host, err = parseHost(target[:slash]); err != nil {
		return nil, err
	}
	p.Path = target[slash:]
	if p.segments, err = parsePath(p.Path); err != nil {
		return nil, err
	}
	return p, nil
}

func checkMethod(m string) *PatternError {
	switch {
	case m == "" || strings.ContainsFunc(m, func(c rune) bool { return !isToken(c) }):
		return bad("write METHOD HOST/PATH, with one space after the method", "%q is not a method", m)
	case m == "CONNECT":
		return bad("remove the route", "no route can take CONNECT, because pace rejects every CONNECT")
	case m != strings.ToUpper(m) && known[strings.ToUpper(m)]:
		return bad(fmt.Sprintf("write %q", strings.ToUpper(m)), "methods are case-sensitive, and clients send %q, not %q", strings.ToUpper(m), m)
	}
	return nil
}

// known are the methods that are always in capitals.
var known = map[string]bool{
	"GET": true, "HEAD": true, "POST": true, "PUT": true, "PATCH": true, "DELETE": true, "OPTIONS": true, "TRACE": true, "CONNECT": true,
}

func isToken(c rune) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c < 0x80 && strings.ContainsRune("!#$%&'*+-.^_`|~", c)
}

// parseHost returns a pattern's host in the spelling that hosts of requests are compared in.
func parseHost(s string) (string, *PatternError) {
	if s == "" {
		return "", nil
	}
	name := portless(s)
	switch {
	case strings.ContainsAny(s, "{}*"):
		return "", bad("write one route for each host, or none for all hosts", "a host has no wildcards, as in %q", s)
	case strings.HasPrefix(s, "["):
		a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
		if err != nil || !a.Is6() || !strings.HasSuffix(s, "]") {
			return "", bad("write an IPv6 address within the brackets, without a port", "%q is not a host", s)
		}
		return "[" + a.String() + "]", nil
	case name != strings.TrimSuffix(s, "."):
		return "", bad(fmt.Sprintf("write %q", name), "the port of a request is ignored, so a pattern has none, as in %q", s)
	case strings.ContainsFunc(s, func(c rune) bool { return c >= 0x80 }):
		return "", bad("write an international name in its xn-- form", "%q is not a host", s)
	case strings.ContainsFunc(s, func(c rune) bool { return !isToken(c) }):
		return "", bad("write letters, digits, hyphens and dots", "%q is not a host", s)
	}
	return strings.ToLower(name), nil
}

// parsePath splits a pattern's path, which begins with a slash.
func parsePath(path string) ([]segment, *PatternError) {
	var segments []segment
	names := map[string]bool{}
	for path != "" {
		text, after, more := strings.Cut(path[1:], "/")
		if path = ""; more {
			path = "/" + after
		}
		s, err := parseSegment(text, path == "")
		switch {
		case err != nil:
			return nil, err
		case s.kind == single || s.kind == rest && s.text != "":
			if names[s.text] {
				return nil, bad("give each wildcard another name", "two wildcards are named %q", s.text)
			}
			names[s.text] = true
		}
		segments = append(segments, s)
	}
	return segments, nil
}

// parseSegment reads a segment of a pattern's path. last says whether no other follows.
func parseSegment(s string, last bool) (segment, *PatternError) {
	const form = `write a wildcard as a whole segment, "/{name}/", "/{name...}" or "/{$}"`
	switch {
	case s == "" && last:
		return segment{kind: rest}, nil
	case s == "":
		return segment{}, bad("remove a slash", `the path has "//", and pace never cleans a path`)
	case strings.ContainsAny(s, "?#"):
		return segment{}, bad(`match the path alone, or write "%3F" and "%23"`, "%q is not part of a path", s)
	case strings.ContainsFunc(s, unicode.IsControl):
		return segment{}, bad("remove it", "a control character in %q", s)
	case !strings.Contains(s, "{"):
		text, err := url.PathUnescape(s)
		switch {
		case err != nil:
			return segment{}, bad(`write two hexadecimal digits after "%", or "%25"`, "an invalid percent-encoding in %q", s)
		case dots(s) > 0:
			return segment{}, bad("write the path that it means", "the path has a segment %q, and pace never cleans a path", s)
		}
		return segment{literal, text}, nil
	case s[0] != '{' || s[len(s)-1] != '}':
		return segment{}, bad(form, "a wildcard is part of the segment %q", s)
	}
	name := s[1 : len(s)-1]
	if name == "$" && last {
		return segment{kind: end}, nil
	}
	name, all := strings.CutSuffix(name, "...")
	switch {
	case name == "$" || all && !last:
		return segment{}, bad(form, "%s does not stand last", s)
	case !isIdentifier(name):
		return segment{}, bad("write letters, digits and underscores, with a letter first", "%q is not the name of a wildcard", name)
	case all:
		return segment{rest, name}, nil
	}
	return segment{single, name}, nil
}

func isIdentifier(s string) bool {
	for i, c := range s {
		if !unicode.IsLetter(c) && c != '_' && (i == 0 || !unicode.IsDigit(c)) {
			return false
		}
	}
	return s != ""
}

// allows reports whether a pattern's method matches that of a request.
func allows(pattern, method string) bool {
	return pattern == "" || pattern == method || pattern == "GET" && method == "HEAD"
}

// compareMethods orders patterns by the methods that they match: the more specific one first.
func (p *Pattern) compareMethods(other *Pattern) int {
	rank := func(method string) int {
		switch method {
		case "":
			return 2
		case "GET": // also matches HEAD
			return 1
		}
		return 0
	}
	if d := rank(p.Method) - rank(other.Method); d != 0 {
		return d
	}
	return strings.Compare(p.Method, other.Method)
}

// Wildcards returns the names of the pattern's wildcards, in their order.
func (p *Pattern) Wildcards() (names []string) {
	for _, s := range p.segments {
		if s.named() {
			names = append(names, s.text)
		}
	}
	return names
}

// Values appends to values what the wildcards have matched in a path that the pattern matches, in their order
// and as it came, percent-encoding included.
func (p *Pattern) Values(values []string, path string) []string {
	if path == asterisk {
		path = "/"
	}
	for _, s := range p.segments {
		text, after := cut(path)
		if s.kind == rest {
			text = strings.TrimPrefix(path, "/")
		}
		if s.named() {
			values = append(values, text)
		}
		path = after
	}
	return values
}

// named reports whether the segment is a wildcard with a name.
func (s segment) named() bool { return s.kind == single || s.kind == rest && s.text != "" }
