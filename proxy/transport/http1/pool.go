package http1

import (
	"sync"
	"sync/atomic"
	"time"

	"pace/proxy/transport"
	"pace/proxy/transport/dial"
)

// Pool holds the connections to one backend. It is safe for concurrent use.
type Pool struct {
	o      Options
	dialer *dial.Dialer

	watcher watcher
	open    atomic.Int64 // connections, those of streams and those being dialed included
	limit   atomic.Int64 // of open; 0: none

	mu     sync.Mutex // guards what follows
	idle   []*conn    // a stack: the one used last is used next, so that the rest are idle for long and expire
	closed bool
	drops  bool        // keeps no connection for another exchange
	timer  *time.Timer // runs expire; nil before the first idle connection
	armed  bool        // timer is running
}

// NewPool returns a pool without connections. They will be to a.
func NewPool(a dial.Address, o Options) *Pool {
	o = o.withDefaults()
	return &Pool{o: o, dialer: dial.New(a, dial.Options{Timeout: o.ConnectTimeout, TLS: o.TLS, Dial: o.Dial})}
}

// Idle returns how many connections wait in the pool.
func (p *Pool) Idle() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle)
}

// Close closes the idle connections. One that is in use is closed when its exchange ends.
func (p *Pool) Close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	if p.timer != nil {
		p.timer.Stop()
	}
	p.mu.Unlock()
	closeAll(idle)
}

// KeepIdle sets whether connections are kept for another exchange. If not, idle ones are closed at once, and others when
// their exchanges end.
func (p *Pool) KeepIdle(keep bool) {
	p.mu.Lock()
	var idle []*conn
	if p.drops = !keep; p.drops {
		idle, p.idle = p.idle, nil
	}
	p.mu.Unlock()
	closeAll(idle)
}

// get takes an idle connection that is alive out of the pool, or returns nil. If unseen is set, it does not
// ask whether a plain TCP connection is alive: the caller is about to find out.
func (p *Pool) get(unseen bool) *conn {
	for {
		c := p.pop()
		switch {
		case c == nil:
			return nil
		case unseen && c.tcp != nil || c.isNew() || c.alive():
			return c
		}
		c.Close()
	}
}

// pop takes the connection that was used last out of the pool, or returns nil.
func (p *Pool) pop() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.popLocked()
}

func (p *Pool) popLocked() *conn {
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	c := p.idle[n-1]
	p.idle[n-1] = nil
	p.idle = p.idle[:n-1]
	return c
}

// pinned takes the connection on which the client of r has logged in out of its pin, or returns nil if there is
// none that is alive. unseen is as in [Pool.get].
func (p *Pool) pinned(r *transport.Request, unseen bool) *conn {
	c, _ := r.Pin.Take(p, r.Client).(*conn)
	if c != nil && !(unseen && c.tcp != nil || c.alive()) {
		c.Close()
		return nil
	}
	return c
}

// keep keeps the connection for another exchange. If a login took place on it, it serves the same client only.
func (x *exchange) keep() {
	x.c.x = nil
	if x.c.login || x.head.PersistentLogin {
		x.c.login = true
		x.req.Pin.Put(x.pool, x.req.Client, x.c)
		return
	}
	x.pool.put(x.c)
}

// put keeps c for another exchange, or closes it if there is no room.
func (p *Pool) put(c *conn) {
	c.idle = time.Now()
	p.mu.Lock()
	if p.closed || p.drops || len(p.idle) >= p.o.MaxIdle || p.isOver() {
		p.mu.Unlock()
		c.Close()
		return
	}
	p.idle = append(p.idle, c)
	p.arm(p.o.IdleTimeout)
	p.mu.Unlock()
}

// arm starts the timer that runs expire after d, unless the timer is running. p.mu is held.
func (p *Pool) arm(d time.Duration) {
	if p.armed {
		return
	}
	p.armed = true
	if p.timer == nil {
		p.timer = time.AfterFunc(d, p.expire)
	} else {
		p.timer.Reset(d)
	}
}

// expire closes the connections that were idle for too long. One timer serves all, since the stack is sorted
// by the time when they became idle.
func (p *Pool) expire() {
	p.mu.Lock()
	p.armed = false
	now, n := time.Now(), 0
	for n < len(p.idle) && now.Sub(p.idle[n].idle) >= p.o.IdleTimeout {
		n++
	}
	old := append([]*conn(nil), p.idle[:n]...)
	p.idle = append(p.idle[:0], p.idle[n:]...)
	clear(p.idle[len(p.idle):cap(p.idle)])
	if len(p.idle) > 0 && !p.closed {
		p.arm(p.idle[0].idle.Add(p.o.IdleTimeout).Sub(now))
	}
	p.mu.Unlock()
	closeAll(old)
}

func closeAll(conns []*conn) {
	for _, c := range conns {
		c.Close()
	}
}
