package proxy

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"pace/proxy/front"
	"pace/proxy/message"
	"pace/proxy/transport"
)

// ServerOptions configure what stands in front of a Handler.
type ServerOptions struct {
	Handler           *Handler
	Trust             string // one of Trusts: whose traces are continued; "": everybody's
	ReadHeaderTimeout time.Duration
	IdleTimeout       time.Duration
	MaxHeaderBytes    int           // of a request; must be set
	Scrape            *front.Scrape // nil: the proxy's listener answers no scrapes
}

// NewServer returns the front of a Handler, which passes it all requests that are not refused.
func NewServer(o ServerOptions) *front.Server {
	h := o.Handler
	s := front.NewServer(front.Options{
		Handler:  h.beginning(h.Telemetry.Wrap(h, public(o.Trust))),
		OnPanic:  h.panicked,
		OnBug:    func(p any, stack string) { h.tellPanic(context.Background(), p, stack) },
		InFlight: h.InFlight,
		Peer:     func(a netip.AddrPort) message.Peer { return h.plan.Load().trust.Peer(a) },
		Attach:   func() interface{ Close() } { return new(transport.Pin) },
		Refused:  h.Telemetry.Refused,
		Log:      h.Log,

		ReadHeaderTimeout: o.ReadHeaderTimeout,
		IdleTimeout:       o.IdleTimeout,
		DeliverTimeout:    h.DeliverTimeout,
		MaxHeaderBytes:    o.MaxHeaderBytes,
		Scrape:            o.Scrape,
	})
	h.Telemetry.WatchConnections(s.Connections)
	return s
}

// beginning calls the seam of a test before anything else is done with a request.
func (h *Handler) beginning(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.at(inMiddleware)
		next.ServeHTTP(w, r)
	})
}

// pinOf returns where the client of a connection keeps the backend's connection on which it has logged in.
func pinOf(c *front.Conn) *transport.Pin { return c.Attached.(*transport.Pin) }
