package upstream

import (
	"context"
	"slices"

	"pace/lb"
	"pace/proxy/transport"
	"pace/proxy/transport/http1"
	"pace/proxy/transport/http2"
)

// connections are those to one backend, whatever is spoken on them.
type connections interface {
	Do(context.Context, *transport.Request, *transport.Response) error
	Open() int // with idle ones, and those that are being dialed
	Idle() int
	Limit(connections int)
	KeepIdle(keep bool)
	Close()
}

// connect gives b its connections.
func (b *Backend) connect() {
	switch b.scheme {
	case H2C:
		b.conns = http2.NewPool(b.at, overHTTP2(b.o))
	case H2:
		o := overHTTP2(b.o)
		o.TLS = b.tlsConfig("h2")
		b.conns = http2.NewPool(b.at, o)
	case HTTPS:
		b.conns = newNegotiated(b)
	default:
		b.conns = http1.NewPool(b.at, b.o)
	}
}

// speaksHTTP2 reports whether b is spoken to over HTTP/2, whatever it chooses.
func (b *Backend) speaksHTTP2() bool { return b.scheme == H2 || b.scheme == H2C }

// SpeaksHTTP2 reports whether a backend may be spoken to over HTTP/2, as gRPC wants: what has chosen HTTP/1.1 in the
// handshake of TLS may not.
func (u *Upstream) SpeaksHTTP2() bool {
	return slices.ContainsFunc(u.pool.Backends(), func(one *lb.Backend) bool {
		b := owner(one)
		n, chooses := b.conns.(*negotiated)
		return b.speaksHTTP2() || chooses && !n.choseOne.Load()
	})
}

// hasPinned reports whether pool, of which a client has pinned a connection, is b's.
func (b *Backend) hasPinned(pool any) bool {
	if n, ok := b.conns.(*negotiated); ok {
		return n.one == pool
	}
	return b.conns == pool
}

// overHTTP2 returns the same options for HTTP/2.
func overHTTP2(o http1.Options) http2.Options {
	return http2.Options{
		ConnectTimeout:  o.ConnectTimeout,
		BodyTimeout:     o.BodyTimeout,
		ResponseTimeout: o.ResponseTimeout,
		MaxIdle:         o.MaxIdle,
		IdleTimeout:     o.IdleTimeout,
		MaxHeaderBytes:  o.MaxHeaderBytes,
		Dial:            o.Dial,
	}
}
