package proxy

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"pace/proxy/message"
	"pace/telemetry"
)

// ServerOptions configure a Server.
type ServerOptions struct {
	Handler           *Handler
	Trust             string // one of Trusts: whose traces are continued; "": everybody's
	ReadHeaderTimeout time.Duration
	IdleTimeout       time.Duration
	MaxHeaderBytes    int     // of a request; must be set
	Scrape            *Scrape // nil: the proxy's listener answers no scrapes
}

// Scrape is the path under which the proxy's own listener shows the metrics, and to whom besides
// peers on loopback.
type Scrape struct {
	Path    string
	Metrics http.Handler // nil: there are none, and the path is not proxied either
	Allow   []netip.Prefix
}

// Server is the proxy's listener.
type Server struct {
	handler *Handler
	http    *http.Server

	open  atomic.Pointer[listener] // what Serve answers on
	ended context.CancelFunc       // of what lives until the end of Drain

	abortRequests context.CancelCauseFunc
	conns         connCounts
}

// NewServer returns a Server for HTTP/1.1 and for HTTP/2 in clear text.
func NewServer(o ServerOptions) *Server {
	ctx, ended := context.WithCancel(context.Background())
	base, abort := context.WithCancelCause(context.Background()) // of all requests
	s := &Server{handler: o.Handler, ended: ended, abortRequests: abort}
	go o.Handler.watchDelivery(ctx)
	h := o.Handler.Telemetry.Wrap(o.Handler, public(o.Trust))
	h = shareTrailer(h)
	if o.Scrape != nil {
		h = o.Scrape.before(h)
	}
	h = framed(o.Handler.bounded(o.MaxHeaderBytes, h))
	h = o.Handler.guard(h)
	h = reached(h)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s.http = &http.Server{
		Handler:           h,
		Protocols:         protocols,
		ReadHeaderTimeout: o.ReadHeaderTimeout,
		IdleTimeout:       o.IdleTimeout,
		HTTP2: &http.HTTP2Config{
			WriteByteTimeout: o.Handler.DeliverTimeout, // a connection; see watchDelivery
			MaxReadFrameSize: largestFrame,
			CountError:       o.Handler.countH2Error,
		},
		MaxHeaderBytes:               readHeaderBytes(o.MaxHeaderBytes),
		DisableGeneralOptionsHandler: true, // "OPTIONS *" is a request like any other
		BaseContext:                  func(net.Listener) context.Context { return base },
		ConnContext:                  withConn,
		ConnState:                    s.connState,
		ErrorLog:                     log.New(complaints{o.Handler}, "", 0),
	}
	o.Handler.Telemetry.WatchConnections(s.conns.read)
	return s
}

// shareTrailer gives a chunked request the map that its trailer will be put in. net/http would give
// it, when it comes, to the one request that it knows, and the handler has otelhttp's copy of that.
func shareTrailer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength < 0 && r.Trailer == nil {
			r.Trailer = http.Header{}
		}
		next.ServeHTTP(w, r)
	})
}

// reached notes which requests net/http lets through to a handler of pace: it has refused all others.
func reached(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := connOf(r.Context())
		c.handling()
		if c.h2 != nil {
			id := streamID(w)
			c.h2.begin(id)
			defer c.h2.end(id)
		}
		next.ServeHTTP(w, r)
	})
}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// Listen opens the address. An error says what to do.
func Listen(address string) (net.Listener, error) {
	var plain net.ListenConfig
	plain.SetMultipathTCP(false) // its sockets take no filter, which a drain needs (shutDoor)
	l, err := plain.Listen(context.Background(), "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("listen %s: the address is in use; stop who has it, or choose another one: %w", address, err)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("listen %s: not permitted; choose a port above 1023, or grant CAP_NET_BIND_SERVICE: %w", address, err)
	case err != nil:
		return nil, fmt.Errorf("listen %s: choose an address of this machine: %w", address, err)
	}
	return l, nil
}

// Serve answers on l, which must be from [Listen], until Drain, and then returns nil.
func (s *Server) Serve(l net.Listener) error {
	open := &listener{TCPListener: l.(*net.TCPListener), h: s.handler, headerBytes: s.http.MaxHeaderBytes}
	s.open.Store(open)
	err := s.http.Serve(open)
	open.over.Store(true)
	if errors.Is(err, http.ErrServerClosed) || s.handler.draining.Load() {
		return nil
	}
	return err
}

// connState follows each connection through its life, and finds what was refused on it.
func (s *Server) connState(nc net.Conn, state http.ConnState) {
	c := nc.(*clientConn) // Accept makes no other
	s.conns.move(c, state)
	switch state {
	case http.StateIdle:
		c.next()
	case http.StateClosed:
		if c.late() { // net/http closes without a word
			s.handler.refuse(telemetry.RefusedHeaderTimeout, c)
		}
	}
}

// complaints is what net/http logs: most of it says that a client misbehaved.
type complaints struct{ h *Handler }

// Write implements io.Writer.
func (c complaints) Write(b []byte) (int, error) {
	text := strings.TrimSpace(string(b))
	c.h.Log.LogAttrs(context.Background(), slog.LevelDebug, "net/http", slog.String("says", text))
	return len(b), nil
}

// before answers scrapes; they are neither proxied nor counted, limited, logged or traced.
func (s *Scrape) before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != s.Path:
			next.ServeHTTP(w, r)
		case s.Metrics == nil || !s.allowed(r):
			http.NotFound(w, r)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "the metrics answer GET and HEAD", http.StatusMethodNotAllowed)
		default:
			s.Metrics.ServeHTTP(w, r)
		}
	})
}

// allowed reports whether the peer may see the metrics: one in Allow, or one on loopback that is no proxy.
func (s *Scrape) allowed(r *http.Request) bool {
	peer := connOf(r.Context()).peer.Addr
	return message.Contains(s.Allow, peer) || peer.IsLoopback() && !message.IsProxied(r.Header)
}
