package message

import (
	"strconv"
	"strings"
)

// WithPort returns an authority with another port, which is left out if it is that of https. It is "" if the authority
// names no host.
func WithPort(authority string, port int) string {
	host := authority
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host = host[:i]
	}
	if host == "" || port == 443 {
		return host
	}
	return host + ":" + strconv.Itoa(port)
}

// SameHost compares hosts as the scheme does (RFC 9113 §8.3.1): its own port need not be said.
func SameHost(a, b, scheme string) bool {
	port := ":80"
	if scheme == HTTPS {
		port = ":443"
	}
	bare := func(host string) string { return strings.TrimSuffix(strings.TrimSuffix(host, port), ":") }
	return strings.EqualFold(bare(a), bare(b))
}
