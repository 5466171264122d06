package http2

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"time"

	"golang.org/x/net/http2"

	"pace/proxy/transport"
	"pace/proxy/transport/dial"
)

var errFull = transport.NewFault("the backend has as many connections as it may have, and each carries as many requests as it may")

// maxWaiters is how many exchanges wait for one connection that is being dialed, as long as no backend has said how many
// it carries.
const maxWaiters = 100

// acquire returns a connection that has room for x, and whether it was there before. The room is taken.
func (p *Pool) acquire(x *exchange) (c *conn, reused bool, err error) {
	fresh := x.req.NewConnection
	for {
		p.mu.Lock()
		if !fresh {
			if c := p.pickLocked(); c != nil {
				p.mu.Unlock()
				return c, true, nil
			}
		}
		d, idle := p.joinLocked()
		p.mu.Unlock()
		closeAll(idle)
		if d == nil {
			if fresh { // an old connection is better than none
				fresh = false
				continue
			}
			return nil, false, x.fail(transport.Full, errFull)
		}
		x.Enter(transport.Connect)
		if err := x.await(d); err != nil {
			return nil, false, err
		}
		if ok, err := x.useNew(d.conn); ok || err != nil {
			return d.conn, false, err
		}
		fresh = false
	}
}

// useNew takes room on a connection that x has waited for. There may be none: the backend lets the connection carry fewer
// exchanges than have waited for it. Then the next connection has no more waiters than it will carry. Or the connection
// has ended already; then x waits for another one, once.
func (x *exchange) useNew(c *conn) (bool, error) {
	p := x.pool
	p.mu.Lock()
	c.waiters--
	if p.use(c) {
		p.mu.Unlock()
		return true, nil
	}
	alive, carries := c.listed, c.allows()
	if alive { // one that ends says nothing about the next
		p.carries = carries
	}
	if carries == 0 {
		p.unlist(c)
	}
	p.mu.Unlock()
	p.closeUnused(c)
	switch {
	case !alive && !x.renewed: // nothing of the request was sent
		x.renewed = true
		return false, nil
	case !alive:
		return false, x.failOn(c, transport.Reset, cmp.Or(c.why(), errGone))
	case carries == 0:
		return false, x.failOn(c, transport.Full, errFull)
	}
	return false, nil
}

var errGone = transport.NewFault("the backend has closed a new connection before a request was sent")

// pickLocked returns the first connection that has room, which is then taken. p.mu is held.
func (p *Pool) pickLocked() *conn {
	i := slices.IndexFunc(p.conns, p.use)
	if i < 0 {
		return nil
	}
	return p.conns[i]
}

// joinLocked returns the dial to wait for, which it begins unless there is one with room, or nil if there may be no more
// connections. An idle one makes room, and is returned to be closed: nobody wants it. p.mu is held.
func (p *Pool) joinLocked() (d *dialing, idle []*conn) {
	full := p.open >= p.limitLocked()
	if d := p.dialing; d != nil && (full || d.waiters < min(maxWaiters, cmp.Or(p.carries, maxWaiters))) {
		d.waiters++
		return d, nil
	}
	if full {
		if idle = p.takeIdle(1); idle == nil {
			return nil, nil
		}
		// The one that is about to be closed is counted until it is, so the count is over the limit for a moment,
		// and the connections are not.
	}
	d = &dialing{secures: make(chan struct{}), done: make(chan struct{}), waiters: 1}
	p.dialing = d
	p.open++
	go p.dial(d, idle)
	return d, nil
}

// dial makes a connection. It goes on when those that wait for it have left: then the connection is there for others.
func (p *Pool) dial(d *dialing, inTheWay []*conn) {
	defer close(d.done)
	defer func() {
		if bug := recover(); bug != nil {
			d.bug = fmt.Errorf("%v\n%s", bug, debug.Stack())
			p.dialed(d, nil)
		}
	}()
	closeAll(inTheWay)
	c, kind, err := p.connect(func() { close(d.secures) })
	d.kind, d.err = kind, err
	p.dialed(d, c)
}

// dialed ends a dial. c is nil if it failed.
func (p *Pool) dialed(d *dialing, c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dialing == d {
		p.dialing = nil
	}
	if c == nil {
		p.open--
		return
	}
	d.conn = c
	if c.gone {
		p.open--
		return
	}
	c.counted, c.listed, c.waiters = true, !c.isGoingAway(), d.waiters
	if c.listed {
		p.conns = append(p.conns, c)
		p.restLocked(c)
	}
	if p.isOver(c) {
		p.unlist(c)
		go c.close()
	}
}

// unwait notes that somebody who has waited for a dial does not use its connection.
func (p *Pool) unwait(d *dialing) {
	p.mu.Lock()
	c := d.conn
	if d.waiters--; c != nil {
		c.waiters--
	}
	p.mu.Unlock()
	if c != nil {
		p.closeUnused(c)
	}
}

// closeUnused closes a connection that nobody has waited for in the end, if it is not kept.
func (p *Pool) closeUnused(c *conn) {
	p.mu.Lock()
	over := c.counted && p.isOver(c)
	if over {
		p.unlist(c)
	}
	p.mu.Unlock()
	if over {
		c.close()
	}
}

// connect makes a connection, and has HTTP/2 spoken on it.
func (p *Pool) connect(onTLS func()) (*conn, transport.Kind, error) {
	until := time.Now().Add(p.o.ConnectTimeout)
	nc, kind, err := p.dialer.Dial(context.Background(), onTLS)
	if err != nil {
		return nil, kind, err
	}
	if kind, err := p.mayUse(nc); err != nil {
		return nil, kind, err
	}
	return startConn(nc, p).awaitSettings(time.Until(until))
}

// mayUse reports whether the backend speaks HTTP/2 on a connection, as far as TLS says. If not, it is not the pool's any
// more.
func (p *Pool) mayUse(nc net.Conn) (transport.Kind, error) {
	s, ok := nc.(*dial.Secure)
	if !ok || s.ConnectionState().NegotiatedProtocol == http2.NextProtoTLS {
		return 0, nil
	}
	if p.o.HTTP1 != nil {
		p.o.HTTP1(nc)
		return transport.TLSFailed, ErrHTTP1
	}
	defer nc.Close()
	failed := &dial.HandshakeError{Err: errNotAgreed}
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		failed.Remote = a.AddrPort()
	}
	return transport.TLSFailed, failed
}

var (
	errNotAgreed  = transport.NewFault("the backend did not agree on HTTP/2 (ALPN h2)")
	errNotHTTP2   = transport.NewFault("the backend does not speak HTTP/2")
	errNoSettings = transport.NewFault("the backend has not begun to speak HTTP/2 in time")
)

// awaitSettings waits until the backend has said how many streams the connection carries, and how large its windows are.
// Requests that are sent before might be refused; and what does not speak HTTP/2 shows that before a request is sent.
func (c *conn) awaitSettings(d time.Duration) (*conn, transport.Kind, error) {
	late := time.NewTimer(d)
	defer late.Stop()
	kind, err := transport.Invalid, errNotHTTP2
	select {
	case <-c.settled:
		return c, 0, nil
	case <-late.C:
		kind, err = transport.ConnectTimeout, errNoSettings
	case <-c.ended:
		if c.isSettled() {
			return c, 0, nil // useNew finds out that it has ended
		}
		if lost := c.why(); lost != nil && !c.hasSpoken() {
			kind, err = transport.Reset, lost
		}
	}
	c.close()
	return nil, kind, &connError{c.remote, err}
}

// connError is the error of a connection that was made, and could not be used.
type connError struct {
	remote netip.AddrPort
	error
}

func (e *connError) Unwrap() error { return e.error }

// failDial ends the exchange because no connection could be made.
func (x *exchange) failDial(k transport.Kind, err error) error {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	failed := x.failLocked(k, err)
	if made, ok := errors.AsType[*connError](err); ok {
		x.Cause.Remote, x.Cause.Version = made.remote, version
	} else if handshake, ok := errors.AsType[*dial.HandshakeError](err); ok {
		x.Cause.Remote = handshake.Remote
	}
	return failed
}

// await waits for a dial, or for the end of x.
func (x *exchange) await(d *dialing) error {
	secures := d.secures
	for waits := true; waits; {
		select {
		case <-d.done:
			waits = false
		case <-secures:
			secures = nil
			x.Enter(transport.TLS)
		case <-x.ctx.Done():
			x.pool.unwait(d)
			return x.fail(transport.Canceled, context.Cause(x.ctx))
		}
	}
	switch {
	case d.bug != nil:
		return x.fail(transport.Panicked, d.bug)
	case d.err != nil:
		return x.failDial(d.kind, d.err)
	}
	return nil
}
