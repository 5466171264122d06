package transport

import (
	"io"
	"net/netip"
	"sync"
)

// Pin keeps the connection to a backend on which a client has logged in (NTLM, Negotiate), so that the
// connection serves that client only. There is one Pin for each connection of a client. It keeps
// one connection to one backend: the last one on which a login took place. The Pin does not know what kind
// of connection it is; the pool that the connection belongs to does. The zero value is ready. It is safe for
// concurrent use.
type Pin struct {
	mu     sync.Mutex // guards what follows
	c      io.Closer  // nil: there is none, or it is in use
	pool   any        // what c belongs to; nil if c is
	client netip.Addr // that logged in: a proxy in front of pace may send several clients' requests on one connection
	closed bool
}

// Pool returns the pool of the backend to which client has a pinned connection, or nil.
func (p *Pin) Pool(client netip.Addr) any {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.c == nil || p.client != client {
		return nil
	}
	return p.pool
}

// Close closes the connection. One that is in use is closed when its exchange ends.
func (p *Pin) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.drop()
}

// drop closes the connection that is kept. p.mu is held.
func (p *Pin) drop() {
	if p.c != nil {
		p.c.Close()
		p.c, p.pool = nil, nil
	}
}

// Take returns client's connection to pool, which p then keeps no longer. It returns nil if there is none. The
// connection may have ended while it was kept. p may be nil.
func (p *Pin) Take(pool any, client netip.Addr) io.Closer {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.c == nil || p.pool != pool || p.client != client {
		return nil
	}
	c := p.c
	p.c, p.pool = nil, nil
	return c
}

// Put keeps c for client in place of the connection that was kept. It closes c if p is closed or nil.
func (p *Pin) Put(pool any, client netip.Addr, c io.Closer) {
	if p == nil {
		c.Close()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		c.Close()
		return
	}
	p.drop()
	p.c, p.pool, p.client = c, pool, client
}
