package http2

import (
	"slices"
	"sync"
	"time"

	"pace/proxy/transport"
	"pace/proxy/transport/dial"
)

// Pool holds the connections to one backend. It is safe for concurrent use.
//
// An exchange goes on the first connection that has room for it, so that the last ones become idle when there is less
// to do. If none has, a new one is dialed. The exchanges that come meanwhile wait for that one, as many as it can be
// expected to carry, instead of dialing one each.
type Pool struct {
	o      Options
	scheme string // of requests: http or https
	dialer *dial.Dialer

	mu      sync.Mutex // guards what follows
	conns   []*conn    // that may carry one more exchange, or will when others have ended
	dialing *dialing   // the newest dial in progress; nil: none
	open    int        // connections, those that end and those being dialed included
	limit   int        // of open; 0: maxConnections
	carries int        // how many exchanges the last new connection carried; 0: none, or there was none yet
	closed  bool
	drops   bool // keeps no idle connection
}

// dialing is a connection that is being dialed.
type dialing struct {
	secures chan struct{} // closed when the handshake of TLS begins
	done    chan struct{} // closed when the rest is set
	waiters int           // exchanges that wait for it; guarded by Pool.mu
	conn    *conn         // nil: it failed
	kind    transport.Kind
	err     error
	bug     error // a panic
}

// NewPool returns a pool without connections. They will be to a.
func NewPool(a dial.Address, o Options) *Pool {
	o = o.withDefaults()
	p := &Pool{o: o, scheme: o.Scheme, dialer: dial.New(a, dial.Options{Timeout: o.ConnectTimeout, TLS: o.TLS, Dial: o.Dial})}
	switch {
	case o.Scheme != "":
	case o.TLS != nil:
		p.scheme = "https"
	default:
		p.scheme = "http"
	}
	return p
}

// Idle returns how many connections carry no exchange.
func (p *Pool) Idle() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.idleLocked()
}

func (p *Pool) idleLocked() (n int) {
	for _, c := range p.conns {
		if c.isIdle() {
			n++
		}
	}
	return n
}

// Open returns how many connections there are, with idle ones, and with those that are being dialed.
func (p *Pool) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open
}

// Close closes the idle connections. One that is in use is closed when its last exchange ends.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	idle := p.takeIdle(len(p.conns))
	p.mu.Unlock()
	closeAll(idle)
}

// KeepIdle sets whether connections are kept for another exchange. If not, idle ones are closed at once, and others when
// their last exchanges end.
func (p *Pool) KeepIdle(keep bool) {
	p.mu.Lock()
	var idle []*conn
	if p.drops = !keep; p.drops {
		idle = p.takeIdle(len(p.conns))
	}
	p.mu.Unlock()
	closeAll(idle)
}

// Limit sets how many connections there may be; 0: maxConnections; negative: none. If there are more, idle ones are
// closed at once, and others when their last exchanges end. However many exchanges dial at once, the pool never dials
// beyond the limit.
func (p *Pool) Limit(connections int) {
	p.mu.Lock()
	p.limit = connections
	idle := p.takeIdle(p.open - p.limitLocked())
	for n := len(p.conns); n > p.limitLocked(); n-- { // these carry no further exchange
		p.unlist(p.conns[n-1])
	}
	p.mu.Unlock()
	closeAll(idle)
}

func (p *Pool) limitLocked() int {
	if p.limit != 0 {
		return max(p.limit, 0)
	}
	return maxConnections
}

// takeIdle takes up to n idle connections out of the pool, those that are used least first. p.mu is held. They are open
// until they are closed.
func (p *Pool) takeIdle(n int) (idle []*conn) {
	for i := len(p.conns) - 1; i >= 0 && len(idle) < n; i-- {
		if c := p.conns[i]; c.isIdle() {
			idle = append(idle, c)
			p.unlist(c)
		}
	}
	return idle
}

// unlist lets c carry no further exchange. p.mu is held.
func (p *Pool) unlist(c *conn) {
	if c.listed {
		c.listed = false
		p.conns = slices.DeleteFunc(p.conns, func(one *conn) bool { return one == c })
	}
}

// retire lets c carry no further exchange. It is closed when its last one ends.
func (p *Pool) retire(c *conn) {
	p.mu.Lock()
	p.unlist(c)
	idle := c.counted && c.isIdle() // dialed looks at one that is not counted yet
	p.mu.Unlock()
	if idle {
		c.close()
	}
}

// remove notes that c was closed.
func (p *Pool) remove(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unlist(c)
	if c.gone = true; c.counted {
		p.open--
	}
	if c.rest.runs {
		c.rest.timer.Stop()
	}
}

func closeAll(conns []*conn) {
	for _, c := range conns {
		c.close()
	}
}

// isIdle reports whether nobody uses c, nor has waited for it and is about to. Pool.mu is held.
func (c *conn) isIdle() bool { return c.users == 0 && c.waiters == 0 }

// isOver reports whether c is idle, and may not stay so. p.mu is held.
func (p *Pool) isOver(c *conn) bool { return c.isIdle() && (!c.listed || p.closed || p.drops) }

// use counts one more exchange on c, if there is room for it. p.mu is held.
func (p *Pool) use(c *conn) bool {
	if !c.listed || c.users >= c.room() {
		return false
	}
	c.users++
	return true
}

// leave notes that an exchange has ended on c. The connection is closed if it was the last one, and c is not kept.
func (p *Pool) leave(c *conn) {
	p.mu.Lock()
	c.users--
	over := p.isOver(c) || c.isIdle() && (len(p.conns) > p.limitLocked() || p.idleLocked() > p.o.MaxIdle)
	if over {
		p.unlist(c)
	} else if c.isIdle() {
		p.restLocked(c)
	}
	p.mu.Unlock()
	if over {
		c.close()
	}
}

// rest is how long a connection has been idle. Pool.mu guards it. The timer is left running if it fires no later than
// needed.
type rest struct {
	since time.Time
	timer *time.Timer
	runs  bool
}

// restLocked notes that c is idle from now on. p.mu is held.
func (p *Pool) restLocked(c *conn) {
	r := &c.rest
	r.since = time.Now()
	switch {
	case r.runs || c.gone:
		return
	case r.timer == nil:
		r.timer = time.AfterFunc(p.o.IdleTimeout, func() { p.expire(c) })
	default:
		r.timer.Reset(p.o.IdleTimeout)
	}
	r.runs = true
}

// expire closes c if it has been idle for as long as it may be.
func (p *Pool) expire(c *conn) {
	p.mu.Lock()
	r := &c.rest
	r.runs = false
	if !c.isIdle() || c.gone {
		p.mu.Unlock()
		return
	}
	if left := p.o.IdleTimeout - time.Since(r.since); left > 0 {
		r.runs = true
		r.timer.Reset(left)
		p.mu.Unlock()
		return
	}
	p.unlist(c)
	p.mu.Unlock()
	c.close()
}
