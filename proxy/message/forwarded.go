package message

import (
	"net/netip"
	"slices"
	"strings"
)

// maxHops limits how many elements of a forwarding field are read, from the right. No chain of proxies is
// that long: whatever is further left was written by a client.
const maxHops = 64

// element is one element of a Forwarded field (RFC 7239 §4): what one proxy says of the request that it
// received. node, host and proto are its parameters "for", "host" and "proto", unquoted; "" if absent.
// An element that cannot be read has none.
type element struct {
	text              string // as it came, without the blanks around it
	node, host, proto string
	readable          bool
	strict            bool // text follows the grammar to the letter, so that others read it as we do
}

// parseForwarded returns the last maxHops elements of the field's lines. Empty ones are no elements
// (RFC 9110 §5.6.1).
func parseForwarded(lines []string) (list []element) {
	for _, line := range slices.Backward(lines) {
		for more := true; more && len(list) < maxHops; {
			var text string
			line, text, more = cutLastElement(line)
			if text = trimBlanks(text); text != "" {
				list = append(list, parseElement(text))
			}
		}
	}
	slices.Reverse(list)
	return list
}

// cutLastElement cuts a list at its last comma outside a quoted string. It reads from the right, because a
// proxy appends its element to what a client may have written. So a client that leaves a quotation mark
// open cannot change how the proxy's element is read.
func cutLastElement(list string) (before, last string, found bool) {
	quoted := false
	for i := len(list) - 1; i >= 0; i-- {
		switch {
		case list[i] == '"':
			quoted = !quoted || isEscaped(list, i)
		case list[i] == ',' && !quoted:
			return list[:i], list[i+1:], true
		}
	}
	return "", list, false
}

// isEscaped reports whether the backslashes before s[i] make it part of a quoted string.
func isEscaped(s string, i int) bool {
	n := len(s[:i]) - len(strings.TrimRight(s[:i], `\`))
	return n%2 == 1
}

// parseElement reads an element. It accepts two common mistakes: blanks around "=" and ";", and values that
// should be quoted, such as an address with a port. If anything else is wrong, such as a parameter that
// comes twice, it ignores the whole element.
func parseElement(text string) element {
	e := element{text: text, readable: true, strict: true}
	for rest := text; rest != ""; {
		pair, ok := element{}, false
		if pair, rest, ok = cutPair(rest); !ok || !e.join(pair) {
			return element{text: text}
		}
	}
	return e
}

// join takes over the parameter of another pair of the same element. It returns false if it has that
// one already.
func (e *element) join(pair element) bool {
	e.strict = e.strict && pair.strict
	for _, p := range []struct {
		mine *string
		more string
	}{{&e.node, pair.node}, {&e.host, pair.host}, {&e.proto, pair.proto}} {
		if p.more == "" {
			continue
		}
		if *p.mine != "" {
			return false
		}
		*p.mine = p.more
	}
	return true
}

// cutPair reads the first parameter of an element, which may be empty, and its ";".
func cutPair(s string) (pair element, rest string, ok bool) {
	pair.strict = true
	if s[0] == ';' {
		return pair, s[1:], true
	}
	name, value, found := strings.Cut(s, "=")
	word, written := trimBlanks(name), strings.TrimLeft(value, " \t")
	value, after, bare, ok := cutValue(written)
	if !found || !ok || !isToken(word) {
		return pair, "", false
	}
	rest = strings.TrimLeft(after, " \t")
	blanks := word != name || rest != after || !strings.HasPrefix(s[len(name)+1:], written)
	pair.strict = !blanks && (!bare || isToken(value))
	if rest != "" {
		if rest[0] != ';' {
			return pair, "", false
		}
		rest = rest[1:]
	}
	switch strings.ToLower(word) {
	case "for":
		pair.node, pair.strict = value, pair.strict && isNode(value)
	case "host":
		pair.host, pair.strict = value, pair.strict && value != ""
	case "proto":
		pair.proto, pair.strict = value, pair.strict && isScheme(value)
	}
	return pair, rest, true
}

// cutValue reads a quoted string, or what goes up to the next blank, quotation mark or ";", which is
// bare, and never empty.
func cutValue(s string) (value, rest string, bare, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		n := strings.IndexAny(s, " \t\";\\")
		if n < 0 {
			n = len(s)
		}
		return s[:n], s[n:], true, n > 0
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], false, true
		case '\\':
			if i++; i == len(s) {
				return "", "", false, false
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", false, false
}

// parseList returns the last maxHops elements of a field that is a list without quoted strings, such as
// X-Forwarded-For. Empty ones are none.
func parseList(lines []string) (list []string) {
	for _, line := range slices.Backward(lines) {
		for more := true; more && len(list) < maxHops; {
			i := strings.LastIndexByte(line, ',')
			text := trimBlanks(line[i+1:])
			if more = i >= 0; more {
				line = line[:i]
			}
			if text != "" {
				list = append(list, text)
			}
		}
	}
	slices.Reverse(list)
	return list
}

// nodeAddress returns the address in an element of X-Forwarded-For or in the node of one of Forwarded,
// invalid if there is none: alone or with a port, an IPv6 one with or without brackets, in quotes or not.
// It is IPv4 if it is an IPv4-mapped one, and has no zone.
func nodeAddress(node string) netip.Addr {
	node = strings.Trim(node, `"`) // of X-Forwarded-For, which knows no quotes: perhaps of the whole list
	a, err := netip.ParseAddr(node)
	if err != nil {
		a = addressBeforePort(node)
	}
	if a = a.Unmap().WithZone(""); a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

// addressBeforePort reads 192.0.2.1:80, [2001:db8::1] and [2001:db8::1]:80. A port may be hidden behind
// a name that begins with "_" (RFC 7239 §6.2).
func addressBeforePort(node string) netip.Addr {
	host, port, six := node, "", strings.HasPrefix(node, "[")
	if i := strings.LastIndexByte(node, ':'); i > strings.LastIndexByte(node, ']') {
		host, port = node[:i], node[i+1:]
		hidden, named := strings.CutPrefix(port, "_")
		if named && !isToken(hidden) || !named && (port == "" || strings.Trim(port, "0123456789") != "") {
			return netip.Addr{}
		}
	}
	if six {
		inner, closed := strings.CutSuffix(host[1:], "]")
		if !closed {
			return netip.Addr{}
		}
		host = inner
	}
	a, err := netip.ParseAddr(host)
	if err != nil || a.Is6() != six {
		return netip.Addr{}
	}
	return a
}

// isNode reports whether s is a node as RFC 7239 §6 wants it.
func isNode(s string) bool {
	if hidden, ok := strings.CutPrefix(s, "_"); ok {
		return isToken(hidden)
	}
	inBrackets := strings.HasPrefix(s, "[") || strings.Count(s, ":") < 2 // or it is IPv4, and needs none
	return s == "unknown" || nodeAddress(s).IsValid() && inBrackets && !strings.Contains(s, `"`)
}

func trimBlanks(s string) string { return strings.Trim(s, " \t") }

// isToken reports whether s is a token (RFC 9110 §5.6.2).
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return odd(c) && !strings.ContainsRune("!#$%&'*+.^_`|~", c)
	})
}

// isScheme reports whether s may be the scheme of a URI (RFC 3986 §3.1).
func isScheme(s string) bool {
	isLetter := func(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
	return len(s) <= 32 && isToken(s) && isLetter(s[0]) && !strings.ContainsAny(s, "!#$%&'*^_`|~")
}
