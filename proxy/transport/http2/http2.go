// Package http2 sends one request to one backend over HTTP/2 and reads its response. A connection carries many exchanges at
// once, each on a stream of its own (docs/decisions/0016-http2-to-backends.md).
//
// It promises that one [Pool.Do] puts at most one request on the wire, whatever the backend does. And it promises that its
// error says whether the backend has certainly not processed the request (kinds [transport.RefusedStream] and
// [transport.GoAway]), so that the caller may send it again whatever its method is. This package must not know other
// packages of pace than those that all transports share.
//
// # Where a request goes
//
//	      Do
//	      │
//	   acquire ─── no connection has room ──▶ dial (Connect, TLS) ──▶ startConn
//	      │
//	    open: the header is queued (Send)
//	      │
//	upload.start ── the body has to be waited for ─ ─ ─ ▶ upload.send (Send, ReadRequest)
//	      │                                                     ╷
//	 awaitFinal (Wait) ◀─┐                                      ╷
//	      │  └─ interims ┘                                      ╷
//	      ▼                                                     ╷
//	 Next, Next, … (Receive)                                    ╷
//	      ▼                                                     ╷
//	    Close: the stream is reset, unless both sides have ended it
//
// In parentheses are the phases of package transport. From each state fail leads to Close.
//
// # Which goroutine does what
//
// Do's goroutine is the one that calls Do, Next and Close. If its body must be waited for, an exchange has another one,
// which sends it; Close waits for it. Each connection has one goroutine that reads ([conn.read]), and one that writes
// ([conn.write]). Nobody else waits for the network. So whoever holds a lock never does, and neither does the one that
// reads: what it has to send is queued, and what has come waits with its exchange, within the windows that the backend was
// given.
//
// Whatever is shared is under exchange.Mu, and what is a connection's under conn.mu, also the part of an exchange that its
// connection counts (type sending). Locks are taken in the order Pool.mu, then exchange.Mu, then conn.mu. The goroutine
// that reads finds an exchange by its stream, and locks it then; meanwhile it may have ended and serve another request, so
// it asks whether it is still about that stream ([exchange.isAbout]).
package http2

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"time"

	"pace/proxy/transport"
)

// Options configures a Pool; the zero value works.
type Options struct {
	ConnectTimeout  time.Duration // 0: 1 s
	BodyTimeout     time.Duration // of responses; 0: no limit
	ResponseTimeout time.Duration // from the request's last byte to the whole response header; also while the backend takes no more of the request; 0: 30 s
	MaxIdle         int           // idle connections kept; 0: 512
	IdleTimeout     time.Duration // how long each is kept; 0: 60 s
	MaxHeaderBytes  int           // of a response's header, of each interim one, and of its trailer; 0: 64 KiB

	// TLS is spoken on each connection; nil: none is. No other Pool may have it. It offers HTTP/2, and HTTP/1.1 too if
	// HTTP1 is set.
	TLS *tls.Config

	// HTTP1 gets each connection on which the backend has chosen HTTP/1.1. The exchanges that wait for it fail with
	// [ErrHTTP1], and nothing of them was sent. nil: that the backend does not choose HTTP/2 is a TLSFailed.
	HTTP1 func(net.Conn)

	Scheme string // of the requests; "": https over TLS, else http

	Dial func(ctx context.Context, network, addr string) (net.Conn, error) // nil: a net.Dialer's
}

// ErrHTTP1 is the error of exchanges for whose connection the backend has chosen HTTP/1.1.
var ErrHTTP1 = transport.NewFault("the backend has chosen HTTP/1.1")

func (o Options) withDefaults() Options {
	o.ConnectTimeout = cmp.Or(o.ConnectTimeout, time.Second)
	o.ResponseTimeout = cmp.Or(o.ResponseTimeout, 30*time.Second)
	o.MaxIdle = cmp.Or(o.MaxIdle, 512)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, time.Minute)
	o.MaxHeaderBytes = cmp.Or(o.MaxHeaderBytes, 64<<10)
	return o
}

const (
	// maxStreams is how many exchanges one connection carries, if the backend allows as many.
	maxStreams = 250

	// streamWindow is how much of a response may come before the client takes any of it. net/http would let 4 MiB come.
	streamWindow = 256 << 10

	// connWindow is how much of all responses on one connection may. It is enough for each stream to fill its own, so
	// that a client that takes nothing does not stop the others.
	connWindow = maxStreams * streamWindow

	// maxConnections is how many connections there are if there is no other limit: a backend that lets each carry one
	// stream must not use up pace's descriptors.
	maxConnections = 512
)
