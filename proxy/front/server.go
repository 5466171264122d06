// Package front is the client's side of pace: it listens, counts what is refused before a handler sees it,
// and keeps the list of exchanges in flight. It ends the responses that nobody takes, and it drains. All requests
// that are not refused go to an [http.Handler], which finds its connection with [ConnOf].
//
// net/http serves the connections, and reports little of what it does with them. So this package reads along
// what goes over them (packages h1 and h2), and must not disturb net/http.
//
// It must not know routes, backends or limits, nor what becomes of a request.
package front

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"pace/proxy/front/socket"
	"pace/telemetry"
)

// Options configure a Server. The fields without a default must be set.
type Options struct {
	Handler         http.Handler                                                      // of every request that is not refused
	OnPanic         func(w http.ResponseWriter, r *http.Request, p any, stack string) // responds to a request if something before Handler's own code panicked
	OnBug           func(p any, stack string)                                         // gets a panic that concerns no request
	InFlight        *InFlight                                                         // of the exchanges that Handler begins
	Attach          func() interface{ Close() }                                       // makes what Handler keeps with a connection; it is closed with the connection
	Refused         func(telemetry.Refusal)                                           // is called for everything that is refused
	HandshakeDone   func(version string)                                              // is called for each TLS handshake that is completed, with the version of TLS
	HandshakeFailed func(telemetry.HandshakeFailure)                                  // is called for each TLS handshake that fails, before Refused is
	HTTP01          func(token string) string                                         // returns what answers an HTTP-01 challenge of ACME (RFC 8555 §8.3), "" if the token is unknown
	OnSlow          func(*telemetry.Record)                                           // gets an exchange that runs for longer than SlowAfter; see [Exchange] for what it may read
	Log             *slog.Logger

	Settings Settings // at the start
}

// Server is what listens, and its connections, over HTTP/1.1 and HTTP/2, each in clear text and over TLS, and over
// HTTP/3.
type Server struct {
	Options
	settings    atomic.Pointer[Settings] // in force
	changed     [2]chan struct{}         // after a change of the settings, one wakes watchDelivery, and one watchSlow
	generations generations
	handler     http.Handler // of all generations

	listeners listeners
	quic      quicListeners
	late      atomic.Bool        // pace drains, and clients have had the time to learn of it
	isLate    func() bool        // late.Load, made into a value once
	ended     context.CancelFunc // ends what runs until the end of Drain

	base          context.Context // of all requests
	abortRequests context.CancelCauseFunc
	conns         connCounts
	open          admission
	newcomers     atomic.Int64 // connections whose first request has not reached the handler
	multiplexed   multiplexed
	patience      time.Duration // the longest time for which [held] bytes wait; only tests change it

	refusals, accepts telemetry.Capped // lines in the log about each
}

// NewServer returns a Server that does not listen yet.
func NewServer(o Options) *Server {
	ctx, ended := context.WithCancel(context.Background())
	base, abort := context.WithCancelCause(context.Background())
	s := &Server{Options: o, changed: [2]chan struct{}{make(chan struct{}, 1), make(chan struct{}, 1)}, patience: usualPatience, ended: ended, base: base, abortRequests: abort}
	s.isLate = s.late.Load
	s.settings.Store(&o.Settings)
	s.handler = s.chain()
	s.generations.begin(s.newGeneration(&o.Settings))
	go s.watchDelivery(ctx, s.changed[0])
	go s.watchSlow(ctx, s.changed[1])
	return s
}

// Serve serves l, which must be from [Listen] or [Inherit], until Retire or Drain, and then returns nil. Several
// listeners may be served concurrently.
func (s *Server) Serve(l net.Listener, n ListenerSettings) error {
	open := &listener{Listener: l.(socket.Listener), from: l, s: s}
	open.change(n)
	defer open.Close()
	if !s.listeners.add(open) {
		return nil
	}
	err := errNextGeneration
	for errors.Is(err, errNextGeneration) {
		g := s.generations.accepting.Load()
		err = g.http.Serve(acceptor{open, g})
	}
	open.over.Store(true)
	if errors.Is(err, http.ErrServerClosed) || s.InFlight.Draining() || open.retired.Load() {
		return nil
	}
	return err
}

// Connections returns how many client connections there are, by what they are busy with.
func (s *Server) Connections() (active, idle int) { return s.conns.read() }

// connState follows each connection through its life, and notices what was refused on it.
func (s *Server) connState(nc net.Conn, state http.ConnState) {
	c := nc.(*Conn) // Accept makes no other
	s.conns.move(c, state)
	s.generations.move(c.generation, state)
	switch state {
	case http.StateIdle:
		c.next()
	case http.StateClosed:
		if c.late() { // net/http closes it without a response
			s.refuse(telemetry.RefusedHeaderTimeout, c)
		}
	}
}

// complaints is what net/http logs: mostly that a client misbehaved.
type complaints struct{ log *slog.Logger }

// Write implements io.Writer.
func (c complaints) Write(b []byte) (int, error) {
	text := strings.TrimSpace(string(b))
	c.log.LogAttrs(context.Background(), slog.LevelDebug, "net/http", slog.String("says", text))
	return len(b), nil
}
