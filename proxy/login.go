package proxy

import (
	"net/netip"
	"slices"
	"strings"

	"pace/lb"
	"pace/proxy/transport/http1"
)

// connectionBound are the schemes whose login holds for the connection instead of the request, in lower
// case: whoever sends the next request on it is taken for the one who logged in.
var connectionBound = []string{"ntlm", "negotiate", "nego2", "kerberos", "credssp"}

// bindsConnection reports whether a request with these Authorization fields logs in for its connection:
// in answer to a backend's challenge, or ahead of one.
func bindsConnection(authorization []string) bool {
	for _, field := range authorization {
		field = strings.TrimLeft(field, " \t")
		scheme := field
		if end := strings.IndexAny(field, " \t,"); end >= 0 {
			scheme = field[:end]
		}
		if slices.ContainsFunc(connectionBound, func(s string) bool { return strings.EqualFold(s, scheme) }) {
			return true
		}
	}
	return false
}

// loggedInAt returns the backend at which client has logged in by pin's connection, or nil: its requests go
// there, since the login is known nowhere else.
func (h *Handler) loggedInAt(pin *http1.Pin, client netip.Addr) *lb.Backend {
	pool := pin.Pool(client)
	if pool == nil {
		return nil
	}
	for _, b := range h.Pool.Backends() {
		if h.backends[b].conns == pool {
			return b
		}
	}
	return nil
}
