package http2

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"pace/proxy/transport"
	"pace/proxy/transport/dial"
)

// conn is one connection to the backend. One goroutine reads its frames (read.go), and another one writes them
// (write.go) and closes the connection in the end.
type conn struct {
	net.Conn
	pool   *Pool
	remote netip.AddrPort // zero if it is not TCP
	secure bool           // TLS is spoken on it

	// These are guarded by pool.mu.
	users   int  // exchanges that use it
	waiters int  // exchanges that have waited for it, and have not yet tried to use it
	counted bool // in pool.open
	listed  bool // in pool.conns
	gone    bool // it is closed
	rest    rest

	settled   chan struct{} // closed when the backend's settings have come
	ended     chan struct{} // closed when the connection is closed
	finishing sync.Once
	in        reader

	mu      sync.Mutex // guards what follows
	streams map[uint32]*exchange
	nextID  uint32
	frames  int64 // that have come
	limits  limits
	window  int64  // how much of all bodies may still be sent
	goAway  bool   // a GOAWAY has come
	last    uint32 // the last stream that the backend may have processed, by its GOAWAY
	resets  resets
	over    bool  // it has ended, and is about to be closed
	lost    error // the first error of the socket, or of TLS
	out     outgoing
}

// limits are what the backend allows.
type limits struct {
	streams uint32 // open at once
	window  int64  // of a new stream
	frame   int    // bytes of a frame's payload
	header  uint32 // bytes of a header, as RFC 9113 §6.5.2 counts them
}

// usualLimits hold until the backend has said others (RFC 9113 §6.5.2).
var usualLimits = limits{streams: math.MaxUint32, window: usualWindow, frame: 16 << 10, header: math.MaxUint32}

const usualWindow = 65535

// resets are the streams that pace has reset, and of which the backend may not know yet. They take room on the
// connection until a PING that was sent with the first of them has come back. Else clients that leave at once could have the
// backend work on more requests than it allows, and the backend would take pace for an attacker (CVE-2023-44487).
//
// But gRPC's servers take whoever sends them a few PINGs without anything between for one, too (golang/go#70575). So after
// a PING has come back, there is no other one until the backend has sent a response, or a part of it. Until then, resets
// take no room.
type resets struct {
	count  int  // that take room
	asking bool // a PING is on its way
	quiet  bool // none may be sent
}

// lastID is the last stream that is opened on a connection. There are more ids, but not many.
const lastID = 1 << 30

// startConn has HTTP/2 spoken on a connection.
func startConn(nc net.Conn, p *Pool) *conn {
	c := &conn{
		Conn: nc, pool: p, settled: make(chan struct{}), ended: make(chan struct{}),
		streams: map[uint32]*exchange{}, nextID: 1, limits: usualLimits, window: usualWindow,
	}
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		c.remote = a.AddrPort()
	}
	c.out.more.L = &c.mu
	if s, ok := nc.(*dial.Secure); ok {
		c.secure = true
		s.GoOn(func(_ time.Time, n int, err error) bool { return c.goesOn(n, err) })
	}
	c.begin()
	go c.write()
	go c.read()
	return c
}

// catch ends the connection if one of its goroutines panics.
func (c *conn) catch() {
	if p := recover(); p != nil {
		c.end(transport.Panicked, fmt.Errorf("%v\n%s", p, debug.Stack()), http2.ErrCodeInternal)
	}
}

// allows returns how many exchanges the backend lets a connection carry.
func (c *conn) allows() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.allowsLocked()
}

func (c *conn) allowsLocked() int { return int(min(maxStreams, c.limits.streams)) }

// room returns how many exchanges the connection carries at once. Those that have ended may still take some of it.
func (c *conn) room() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.endsLocked() {
		return 0
	}
	return c.allowsLocked() - c.resets.count
}

// open opens a stream for x, whose header has these bytes. It returns false if the connection takes no more of them. x.Mu
// is held.
func (c *conn) open(x *exchange, header []byte, end bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.endsLocked() {
		return false
	}
	x.id, x.window, x.from, x.heard = c.nextID, c.limits.window, c.out.queued, c.frames
	c.nextID += 2
	c.streams[x.id] = x
	c.queueHeader(x, header, end)
	return true
}

// takes reports whether the backend takes headers of this size.
func (c *conn) takes(size int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int64(size) <= int64(c.limits.header)
}

// mayCome lets the backend send n bytes more of a body.
func (c *conn) mayCome(id uint32, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.queueWindow(id, uint32(n))
		c.flushLocked()
	}
}

// reset resets the stream of x. x.Mu is held.
func (c *conn) reset(x *exchange, code http2.ErrCode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	c.queueReset(x.id, code)
	if !x.body.ended && !c.resets.quiet {
		if c.resets.count++; !c.resets.asking {
			c.resets.asking = true
			c.queuePing(false, [8]byte{})
		}
	}
	c.flushLocked()
}

// ponged notes that a PING has come back: the backend is there, and knows of the resets before it.
func (c *conn) ponged() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.resets.asking {
		c.resets = resets{quiet: true}
	}
}

// forget notes that nobody asks for the stream of x any more.
func (c *conn) forget(x *exchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.streams, x.id)
}

// stream returns the exchange of a stream; nil: it has ended. It also returns whether there ever was such a stream.
func (c *conn) stream(id uint32) (x *exchange, was bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.streams[id], id%2 == 1 && id < c.nextID
}

// isSettled reports whether the backend's settings have come.
func (c *conn) isSettled() bool {
	select {
	case <-c.settled:
		return true
	default:
		return false
	}
}

// isGoingAway reports whether the backend takes no more streams on the connection.
func (c *conn) isGoingAway() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.endsLocked()
}

func (c *conn) endsLocked() bool { return c.over || c.goAway || c.lost != nil || c.nextID > lastID }

// why returns why the connection was lost; nil: it was not, as far as the socket says.
func (c *conn) why() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

// goneAway notes a GOAWAY: the backend has not processed the streams after the last one, and never will. A later GOAWAY
// may only lower it.
func (c *conn) goneAway(last uint32) {
	c.mu.Lock()
	if !c.goAway || last < c.last {
		c.last = last
	}
	c.goAway = true
	unprocessed := c.streamsAfter(c.last)
	c.mu.Unlock()
	for _, s := range unprocessed {
		s.x.cutOff(s.stream, transport.GoAway, errGoAway)
	}
	c.pool.retire(c)
}

// stream is what an exchange must still be about when something happens to it: it may have ended, and serve another
// request.
type stream struct {
	c  *conn
	id uint32
}

// openStream is a stream that an exchange is about.
type openStream struct {
	stream
	x *exchange
}

// streamsAfter returns those that are open, with ids above this one. c.mu is held.
func (c *conn) streamsAfter(id uint32) (all []openStream) {
	for i, x := range c.streams {
		if i > id {
			all = append(all, openStream{stream{c, i}, x})
		}
	}
	return all
}

// close closes a connection that nobody uses, unless it is ending already. When it returns, there may be another one in
// its place.
func (c *conn) close() {
	c.lostBy(net.ErrClosed)
	if c.end(transport.Reset, net.ErrClosed, http2.ErrCodeNo) {
		c.finish()
	}
}

// refuse ends the connection because of what the backend has sent.
func (c *conn) refuse(code http2.ErrCode) { c.end(transport.Invalid, errMalformed, code) }

// lose ends the connection because its socket, or TLS, has failed.
func (c *conn) lose(err error) {
	err, _ = c.lostBy(err)
	kind := transport.Reset
	if isTimeout(err) { // a write that made no progress
		kind = transport.ResponseTimeout
	}
	c.end(kind, err, http2.ErrCodeNo)
}

// lostBy notes that the socket, or TLS, has failed. It returns the first error of all, and whether this is it.
func (c *conn) lostBy(err error) (first error, isFirst bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if isFirst = c.lost == nil && !c.over; isFirst {
		c.lost = err
	}
	return c.lost, isFirst
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// goodbye is how long the backend has to take the GOAWAY of a connection that ends.
const goodbye = time.Second

// end ends the connection, and with it all its exchanges. The goroutine that writes closes it. It returns false if the
// connection has ended already.
func (c *conn) end(kind transport.Kind, why error, code http2.ErrCode) bool {
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		return false
	}
	c.over = true
	all := c.streamsAfter(0)
	for _, s := range all { // what waits is not sent any more
		s.x.sent = max(min(s.x.sent, c.out.taken-s.x.from), 0)
	}
	until := time.Now().Add(goodbye)
	if c.lost != nil {
		until = longAgo
	}
	c.queueLast(code)
	c.mu.Unlock()
	c.SetWriteDeadline(until)
	for _, s := range all {
		s.x.cutOff(s.stream, kind, why)
	}
	c.pool.retire(c)
	return true
}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// finish closes the connection.
func (c *conn) finish() {
	c.finishing.Do(func() {
		c.Conn.Close()
		close(c.ended)
		c.pool.remove(c)
	})
}
