// Package http2 sends one request to one backend over HTTP/2 and reads its response. A connection carries many
// exchanges at once, each on a stream of its own. net/http speaks HTTP/2 on it ([http.Transport.NewClientConn]); this
// package decides which connection an exchange goes on, when there is one more, how long it may take, and what ended it
// (docs/decisions/0016-http2-to-backends.md).
//
// It promises that one [Pool.Do] puts at most one request on the wire, whatever the backend does. net/http's Transport
// does not: it repeats by itself what a backend refuses. And it promises that its error says whether the backend has
// certainly not processed the request (kinds [transport.RefusedStream] and [transport.GoAway]), so that the caller may
// send it again whatever its method is.
//
// net/http does not report what a GOAWAY says, nor who reset a stream, nor which bytes have been written. So a [conn]
// reads along what goes over it in both directions. This package must not know other packages of pace than those that
// all transports share.
//
// # Which goroutine does what
//
// Do's goroutine is the one that calls Do, Next and Close. It waits in net/http's RoundTrip and in its Body.Read. For
// each exchange net/http has a goroutine that sends the request and reads its body ([upload]), and for each connection
// one that reads. On these run the callbacks of an exchange (trace.go) and what conn reads along. The goroutine that
// reads must not wait for a client, so interim responses go to the client on one more goroutine, which exists only
// while there are some. Whatever is shared is under exchange.mu, and of the wire's bytes under conn.mu. Locks are taken
// in the order Pool.mu, then exchange.mu, then conn.mu, and none of them is held while something waits for the network.
//
// An exchange that was cut short may still be in the hands of these goroutines when Close returns. They find that it is
// over, and touch nothing of the caller's. Such an exchange is not used again.
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
