package upstream

import (
	"context"
	"errors"
	"net"
	"sync"
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

	mu    sync.Mutex // guards what follows
	limit int        // of all connections; 0: none
	ofOne int        // 0 <= ofOne <= limit: how many of them one may have, and two has the rest
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
	n.mu.Lock()
	if n.limit > 0 {
		n.share(min(n.ofOne+1, n.limit))
	}
	n.mu.Unlock()
	n.one.Adopt(c)
}

// Do implements connections.
func (n *negotiated) Do(ctx context.Context, req *transport.Request, resp *transport.Response) error {
	if n.needsOne(req) || n.choseOne.Load() && n.one.Open() > 0 {
		return n.over(ctx, n.one, req, resp)
	}
	err := n.over(ctx, n.two, req, resp)
	if errors.Is(err, http2.ErrHTTP1) {
		return n.over(ctx, n.one, req, resp)
	}
	if err == nil {
		n.choseOne.Store(false)
	}
	return err
}

// moves is how often a request has room made for it that another one may take.
const moves = 3

// over makes an attempt on a connection of the pool, for which it takes room from the other one if need be.
func (n *negotiated) over(ctx context.Context, pool connections, req *transport.Request, resp *transport.Response) error {
	err := pool.Do(ctx, req, resp)
	for range moves {
		if !isFull(err) || !n.moveTo(pool) {
			break
		}
		err = pool.Do(ctx, req, resp)
	}
	return err
}

// isFull reports whether an attempt failed for lack of room, before anything was sent.
func isFull(err error) bool {
	e, ok := errors.AsType[*transport.Error](err)
	return ok && e.Kind == transport.Full
}

// share lets one have so many of the connections, and two the rest. n.mu is held.
func (n *negotiated) share(ofOne int) {
	n.ofOne = ofOne
	n.one.Limit(orNone(ofOne))
	n.two.Limit(orNone(n.limit - ofOne))
}

// orNone returns a limit as a pool has it: 0 would be no limit.
func orNone(limit int) int {
	if limit == 0 {
		return -1
	}
	return limit
}

// moveTo lets the pool have a connection more, and the other one less, which has to close an idle one if it has none to
// spare. It reports whether there is one.
func (n *negotiated) moveTo(pool connections) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	var from connections = n.one
	has, ofOne := n.ofOne, n.ofOne-1
	if pool == n.one {
		from, has, ofOne = n.two, n.limit-n.ofOne, n.ofOne+1
	}
	if has == 0 {
		return false
	}
	if from.Limit(orNone(has - 1)); from.Open() > has-1 {
		from.Limit(has)
		return false
	}
	n.share(ofOne)
	return true
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

// Limit implements connections. The limit is one for both pools. Each has a share of it, so that no dial of the one and
// no dial of the other can pass it together, and the shares move where they are needed.
func (n *negotiated) Limit(connections int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.limit = connections
	if connections == 0 {
		n.ofOne = 0
		n.one.Limit(0)
		n.two.Limit(0)
		return
	}
	n.share(min(n.one.Open(), connections))
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
