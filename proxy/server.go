package proxy

import (
	"context"
	"net/http"
	"net/netip"

	"pace/proxy/front"
	"pace/proxy/message"
	"pace/proxy/transport"
	"pace/telemetry"
)

// ServerOptions configure what stands in front of a Handler.
type ServerOptions struct {
	Handler  *Handler
	Trust    string                  // one of Trusts: whose traces are continued; "": everybody's
	Settings front.Settings          // in the beginning; MaxHeaderBytes must be set
	OnSlow   func(*telemetry.Record) // see [front.Options]
}

// NewServer returns the front of a Handler, which passes it all requests that are not refused.
func NewServer(o ServerOptions) *front.Server {
	h := o.Handler
	s := front.NewServer(front.Options{
		Handler:  h.beginning(h.Telemetry.Wrap(h, public(o.Trust))),
		OnPanic:  h.panicked,
		OnBug:    func(p any, stack string) { h.logPanic(context.Background(), p, stack) },
		InFlight: h.InFlight,
		Peer:     func(a netip.AddrPort) message.Peer { return h.plan.Load().trust.Peer(a) },
		Attach:   func() interface{ Close() } { return new(transport.Pin) },
		Refused:  h.Telemetry.Refused,
		OnSlow:   o.OnSlow,
		Log:      h.Log,

		Settings: o.Settings,
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

// Trusts are the words for whose traceparent is continued.
var Trusts = []string{trustAll, trustTrusted, trustNone}

const (
	trustAll     = "all"
	trustTrusted = "trusted"
	trustNone    = "none"
)

// public returns which requests' traces are not continued but linked to; nil: all are continued.
func public(word string) func(*http.Request) bool {
	switch word {
	case trustTrusted:
		return func(r *http.Request) bool { return !front.ConnOf(r.Context()).Peer.Trusted }
	case trustNone:
		return func(*http.Request) bool { return true }
	}
	return nil
}
