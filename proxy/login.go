package proxy

import (
	"net/netip"

	"pace/lb"
	"pace/proxy/transport/http1"
)

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
