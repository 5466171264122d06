package front

import (
	"cmp"
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pace/proxy/front/h2"
	"pace/telemetry"
)

// Settings are what may change while a Server serves.
type Settings struct {
	ReadHeaderTimeout time.Duration
	IdleTimeout       time.Duration
	DeliverTimeout    time.Duration // longest wait for a client to take more of a response; 0: no limit
	MaxHeaderBytes    int           // of a request
	MaxStreams        int           // that a client may have open on a connection over HTTP/2 or HTTP/3; 0: usualStreams
	SlowAfter         time.Duration // an exchange that runs for longer is reported to OnSlow once, before it ends; 0: none is
	Scrape            *Scrape       // nil: the listener answers no scrapes

	MaxConnections          int // open at a time; 0: no limit
	MaxConnectionsPerClient int // of them, the same for one client; 0: no limit
}

// sameForNetHTTP reports whether both give net/http the same settings.
func (n *Settings) sameForNetHTTP(o *Settings) bool {
	return n.ReadHeaderTimeout == o.ReadHeaderTimeout && n.IdleTimeout == o.IdleTimeout &&
		n.DeliverTimeout == o.DeliverTimeout && n.MaxHeaderBytes == o.MaxHeaderBytes && n.MaxStreams == o.MaxStreams
}

// Change puts n in force for every request and connection that comes from now on. A connection that is open
// keeps the timeouts and limits with which it was accepted. Only one goroutine may call it at a time, and none once Drain
// has been called.
func (s *Server) Change(n Settings) {
	old := s.settings.Swap(&n)
	if !n.sameForNetHTTP(old) {
		s.generations.begin(s.newGeneration(&n))
		for _, l := range s.listeners.all() {
			l.interrupt()
		}
	}
	for _, watcher := range s.changed {
		select {
		case watcher <- struct{}{}:
		default: // it is yet to look at an earlier change
		}
	}
}

// generation is an http.Server, and the connections that it serves. net/http reads its settings without a
// lock whenever it likes, so other settings need another http.Server:
//
//	Change ─▶ begins a generation and interrupts Accept ─▶ Serve accepts for the new one, on the same listener
//
// The older ones serve the connections that they have, and are forgotten with the last of them.
type generation struct {
	http     *http.Server
	delivery time.Duration // how long a client over HTTP/2 may take nothing; see [taking]
	conns    atomic.Int64
}

// usualStreams is how many streams a client may have open if the settings do not say it: net/http's default.
const usualStreams = 250

// maxStreams is how many handlers net/http lets run for an HTTP/2 connection.
func (g *generation) maxStreams() int { return cmp.Or(g.http.HTTP2.MaxConcurrentStreams, usualStreams) }

func (s *Server) newGeneration(n *Settings) *generation {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &generation{delivery: n.DeliverTimeout, http: &http.Server{
		Handler:           s.handler,
		Protocols:         protocols,
		ReadHeaderTimeout: n.ReadHeaderTimeout,
		IdleTimeout:       n.IdleTimeout,
		HTTP2: &http.HTTP2Config{
			MaxReadFrameSize: h2.LargestFrame,

			MaxConcurrentStreams: n.MaxStreams,

			CountError: s.countReset,
		},
		MaxHeaderBytes:               readHeaderBytes(n.MaxHeaderBytes),
		DisableGeneralOptionsHandler: true, // "OPTIONS *" is a request like any other
		BaseContext:                  func(net.Listener) context.Context { return s.base },
		ConnContext:                  func(ctx context.Context, c net.Conn) context.Context { return WithConn(ctx, c.(*Conn)) },
		ConnState:                    s.connState,
		ErrorLog:                     log.New(complaints{s.Log}, "", 0),
	}}
}

// countReset counts a request that net/http resets, if name is such an error. net/http does not report on which
// connection it happened.
func (s *Server) countReset(name string) {
	if h2.ResetsRequest(name) {
		s.refuse(telemetry.RefusedH2Error, nil)
	}
}

// generations are those that serve a connection, and the one that accepts, which is the last.
type generations struct {
	mu   sync.Mutex // guards list
	list []*generation

	accepting atomic.Pointer[generation]
}

// begin makes g the one that accepts.
func (gs *generations) begin(g *generation) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	gs.accepting.Store(g)
	gs.list = append(gs.list, g)
	gs.forget()
}

// forget drops the generations that are over. gs.mu is held.
func (gs *generations) forget() {
	gs.list = slices.DeleteFunc(gs.list, func(g *generation) bool {
		return g.conns.Load() == 0 && g != gs.accepting.Load()
	})
}

// move counts a connection of g that has begun or ended.
func (gs *generations) move(g *generation, state http.ConnState) {
	switch state {
	case http.StateNew:
		g.conns.Add(1)
	case http.StateClosed, http.StateHijacked:
		if g.conns.Add(-1) == 0 && g != gs.accepting.Load() {
			gs.mu.Lock()
			defer gs.mu.Unlock()
			gs.forget()
		}
	}
}

// all returns the generations.
func (gs *generations) all() []*generation {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	return slices.Clone(gs.list)
}

// shutdown ends the connections that are idle and waits for the others.
func (gs *generations) shutdown(ctx context.Context) error {
	var errs []error
	for _, g := range gs.all() {
		errs = append(errs, g.http.Shutdown(ctx))
	}
	return errors.Join(errs...)
}

// errNextGeneration ends a generation's Serve: the next one accepts.
var errNextGeneration = errors.New("the next generation accepts")

// acceptor is the listener as one generation sees it. Closing it leaves the listener open for the next.
type acceptor struct {
	*listener
	g *generation
}

// Accept implements net.Listener.
func (a acceptor) Accept() (net.Conn, error) {
	for {
		c, err := a.listener.accept(a.g)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return c, err
		}
		// What interrupts has stored the next generation before. So whoever resets the deadline first and looks
		// for it then cannot miss it.
		a.SetDeadline(time.Time{})
		if a.s.generations.accepting.Load() != a.g {
			return nil, errNextGeneration
		}
	}
}

// Close implements net.Listener.
func (a acceptor) Close() error { return nil }

// interrupt makes a waiting Accept look whether it is still its turn.
func (l *listener) interrupt() { l.SetDeadline(LongAgo) }
