package message

import "strings"

// SameHost compares hosts as the scheme does (RFC 9113 §8.3.1): its own port need not be said.
func SameHost(a, b, scheme string) bool {
	port := ":80"
	if scheme == HTTPS {
		port = ":443"
	}
	bare := func(host string) string { return strings.TrimSuffix(strings.TrimSuffix(host, port), ":") }
	return strings.EqualFold(bare(a), bare(b))
}
