package proxy

import (
	"context"

	"pace/proxy/front"
	"pace/proxy/transport"
	"pace/telemetry"
)

// ServerOptions configure what stands in front of a Handler.
type ServerOptions struct {
	Handler  *Handler
	Settings front.Settings            // in the beginning; MaxHeaderBytes must be set
	OnSlow   func(*telemetry.Record)   // see [front.Options]
	HTTP01   func(token string) string // the same; nil: no token is known
}

// NewServer returns the front of a Handler, which passes it all requests that are not refused.
func NewServer(o ServerOptions) *front.Server {
	h := o.Handler
	if o.HTTP01 == nil {
		o.HTTP01 = func(string) string { return "" }
	}
	s := front.NewServer(front.Options{
		Handler:  h,
		OnPanic:  h.panicked,
		OnBug:    func(p any, stack string) { h.logPanic(context.Background(), p, stack) },
		InFlight: h.InFlight,
		Attach:   func() interface{ Close() } { return new(transport.Pin) },
		Refused:  h.Telemetry.Refused,

		HandshakeDone:   h.Telemetry.HandshakeDone,
		HandshakeFailed: h.Telemetry.HandshakeFailed,

		HTTP01:   o.HTTP01,
		OnSlow:   o.OnSlow,
		Log:      h.Log,
		Settings: o.Settings,
	})
	h.Telemetry.WatchConnections(s.Connections)
	return s
}

// pinOf returns where the client of a connection keeps the backend's connection on which it has logged in.
func pinOf(c *front.Conn) *transport.Pin { return c.Attached.(*transport.Pin) }
