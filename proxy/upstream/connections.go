package upstream

import (
	"context"

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
	if b.scheme == H2C {
		b.conns = http2.NewPool(b.at, overHTTP2(b.o))
		return
	}
	o := b.o
	if b.tls != nil {
		o.TLS = b.tlsConfig("http/1.1")
	}
	b.conns = http1.NewPool(b.at, o)
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
