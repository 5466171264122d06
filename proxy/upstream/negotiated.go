package upstream

import (
	"context"
	"errors"
	"net"
	"sync/atomic"

	"pace/proxy/transport"
	"pace/proxy/transport/http1"
	"pace/proxy/transport/http2"
)

// negotiated are the connections of a backend that chooses between HTTP/2 and HTTP/1.1 in the handshake of TLS. What it
// has chosen holds for the next connections, as long as there is one over HTTP/1.1; then it is asked again.
type negotiated struct {
	one *http1.Pool // dials for HTTP/1.1 alone
	two *http2.Pool // offers both

	choseOne atomic.Bool // HTTP/1.1, the last time
}

func newNegotiated(b *Backend) *negotiated {
	n := &negotiated{}
	one, two := b.o, overHTTP2(b.o)
	one.TLS = b.tlsConfig("http/1.1")
	two.TLS, two.HTTP1 = b.tlsConfig("h2", "http/1.1"), n.adopt
	n.one, n.two = http1.NewPool(b.at, one), http2.NewPool(b.at, two)
	return n
}

// adopt gets a connection on which the backend has chosen HTTP/1.1.
func (n *negotiated) adopt(c net.Conn) {
	n.choseOne.Store(true)
	n.one.Adopt(c)
}

// Do implements connections.
func (n *negotiated) Do(ctx context.Context, req *transport.Request, resp *transport.Response) error {
	if n.needsOne(req) || n.choseOne.Load() && n.one.Open() > 0 {
		return n.one.Do(ctx, req, resp)
	}
	err := n.two.Do(ctx, req, resp)
	if errors.Is(err, http2.ErrHTTP1) {
		return n.one.Do(ctx, req, resp)
	}
	if err == nil {
		n.choseOne.Store(false)
	}
	return err
}

// needsOne reports whether the request can only be sent over HTTP/1.1: it asks for another protocol, or is part of a login
// that holds for the connection.
func (n *negotiated) needsOne(req *transport.Request) bool {
	return req.Upgrade != "" || req.Login || req.Pin != nil && req.Pin.Pool(req.Client) == any(n.one)
}

// Open implements connections.
func (n *negotiated) Open() int { return n.one.Open() + n.two.Open() }

// Idle implements connections.
func (n *negotiated) Idle() int { return n.one.Idle() + n.two.Idle() }

// Limit implements connections. Each of the two may have as many: only one of them has more than a few.
func (n *negotiated) Limit(connections int) {
	n.one.Limit(connections)
	n.two.Limit(connections)
}

// KeepIdle implements connections.
func (n *negotiated) KeepIdle(keep bool) {
	n.one.KeepIdle(keep)
	n.two.KeepIdle(keep)
}

// Close implements connections.
func (n *negotiated) Close() {
	n.one.Close()
	n.two.Close()
}
