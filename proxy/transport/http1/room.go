package http1

import (
	"slices"

	"pace/proxy/transport"
)

var errFull = transport.NewFault("the backend has as many connections as it may have")

// Open returns how many connections there are, with idle ones, with those that became streams, and with those that are
// being dialed.
func (p *Pool) Open() int { return int(p.open.Load()) }

// Limit sets how many connections there may be; 0: any number; negative: none. If there are more, idle ones are closed
// at once, and others when their exchanges end. However many exchanges dial at once, the pool never dials beyond the
// limit.
func (p *Pool) Limit(connections int) {
	p.limit.Store(int64(connections))
	for p.isOver() {
		c := p.oldest()
		if c == nil {
			return
		}
		c.Close()
	}
}

// isOver reports whether there are more connections than there may be, since the limit was lowered.
func (p *Pool) isOver() bool {
	limit := p.limit.Load()
	return limit != 0 && p.open.Load() > max(limit, 0)
}

// admit makes room for one more connection, which is about to be dialed, and reports whether there is any. If a
// connection has become idle meanwhile, admit takes that one out of the pool instead. The two are one step: an
// exchange that has found no idle connection must not miss one that becomes idle before it asks for room.
func (p *Pool) admit() (idle *conn, ok bool) {
	limit := p.limit.Load()
	if limit == 0 {
		p.open.Add(1)
		return nil, true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.popLocked(); c != nil {
		return c, true
	}
	if p.open.Load() >= limit {
		return nil, false
	}
	p.open.Add(1)
	return nil, true
}

// oldest takes the connection that has been idle for longest out of the pool, or returns nil.
func (p *Pool) oldest() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == 0 {
		return nil
	}
	c := p.idle[0]
	p.idle = slices.Delete(p.idle, 0, 1)
	return c
}
