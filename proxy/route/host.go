package route

import "strings"

// portless returns a host without its port, and without the dot that may end a name.
func portless(host string) string {
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host = host[:i]
	}
	return strings.TrimSuffix(host, ".")
}

// hostRoot returns the root of the patterns for the host of a request; nil if there are none. Letter case and
// port do not matter.
func (t *Table) hostRoot(host string) *node {
	if len(t.hosts) == 0 {
		return nil
	}
	host = portless(host)
	if n := t.hosts[host]; n != nil { // it is in lower case already
		return n
	}
	var lower [255]byte // the longest name (RFC 1035 §2.3.4)
	if len(host) > len(lower) {
		return nil
	}
	for i := range len(host) {
		c := host[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	return t.hosts[string(lower[:len(host)])]
}
