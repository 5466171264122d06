package http1

import (
	"net/netip"
	"sync"
)

// Pin keeps the connection to a backend on which somebody has logged in (NTLM, Negotiate), so that it
// serves that client and nobody else. There is one Pin for each connection of a client; it keeps one
// connection to one backend, the last that a login took place on. The zero value is ready. It is safe for
// concurrent use.
type Pin struct {
	mu     sync.Mutex // guards what follows
	c      *conn      // nil: there is none, or it is in use
	pool   *Pool      // of c
	client netip.Addr // who logged in: a proxy in front may send several clients on one connection
	closed bool
}

// Pool returns the pool of the backend to which client has a pinned connection, or nil.
func (p *Pin) Pool(client netip.Addr) *Pool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.c == nil || p.client != client {
		return nil
	}
	return p.pool
}

// Close closes the connection, also one that is in use, when its exchange ends.
func (p *Pin) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.drop()
}

func (p *Pin) drop() {
	if p.c != nil {
		p.c.Close()
		p.c, p.pool = nil, nil
	}
}

// get takes out client's connection to pool's backend, nil if there is none that is alive; unseen is as in
// [Pool.get].
func (p *Pin) get(pool *Pool, client netip.Addr, unseen bool) *conn {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.c == nil || p.pool != pool || p.client != client {
		return nil
	}
	if !(unseen && p.c.tcp != nil || p.c.alive()) {
		p.drop()
		return nil
	}
	c := p.c
	p.c, p.pool = nil, nil
	return c
}

// put keeps c for client, instead of the one that was kept, or closes it if that is over.
func (p *Pin) put(pool *Pool, client netip.Addr, c *conn) {
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

// keep keeps the connection for another exchange: for those of the same client, if somebody has logged in
// on it.
func (x *exchange) keep() {
	if x.c.login || x.head.persistentLogin {
		x.c.login = true
		x.req.Pin.put(x.pool, x.req.Client, x.c)
		return
	}
	x.pool.put(x.c)
}
