package http2

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"pace/proxy/frames"
)

// conn is one connection to the backend. net/http reads and writes it, and conn reads along.
type conn struct {
	net.Conn
	pool   *Pool
	http   *http.ClientConn
	remote netip.AddrPort // zero if it is not TCP

	// These are guarded by pool.mu.
	users   int  // exchanges that use it
	waiters int  // exchanges that have waited for it, and have not yet tried to use it
	counted bool // in pool.open
	listed  bool // in pool.conns
	gone    bool // it is closed

	settled chan struct{} // closed when net/http knows the backend's settings
	ended   chan struct{} // closed by Close
	closing sync.Once
	in      frames.Reader // only Read uses it, which one goroutine calls

	writing sync.Mutex    // is locked while something is written, and guards what follows
	out     frames.Reader // reads along what net/http writes
	preface int           // bytes before the first frame that are still to be written
	until   time.Time     // the deadline of writes
	held    held

	mu        sync.Mutex // guards what follows
	streams   map[uint32]*exchange
	newest    opened
	last      uint32 // the last stream that the backend may have processed, by its GOAWAY
	goAway    bool   // a GOAWAY has come
	frames    int64  // that have come
	isSet     bool   // settled is closed
	lost      error  // the first error of the socket, or of TLS
	following int    // exchanges of which a frame follows at once: their follows is round
	round     int64  // from 1; a new one begins when something was held for too long
}

// opened is the stream that was opened last. Which exchange it is, its callback says right after its header was
// written; its response may come before that.
type opened struct {
	id    uint32
	taken bool // its exchange is in conn.streams
	wire
}

// wire is what was read along of one stream. conn.mu guards it.
type wire struct {
	sent     int64 // bytes of the request
	headers  int64 // bytes of header blocks that have come
	arrived  int64 // bytes of the body that have come
	ended    bool  // the backend has ended the stream, and will send nothing more
	wasReset bool  // by the backend, with RST_STREAM
}

func newConn(nc net.Conn, p *Pool) *conn {
	c := &conn{Conn: nc, pool: p, settled: make(chan struct{}), ended: make(chan struct{}), preface: len(http2.ClientPreface), streams: map[uint32]*exchange{}, round: 1}
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		c.remote = a.AddrPort()
	}
	return c
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.readAlong(b[:n], err) {
		c.pool.retire(c)
	}
	return n, err
}

// readAlong notes what was read, and reports whether the connection must not be used for another exchange.
func (c *conn) readAlong(b []byte, err error) (retire bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	away := c.goAway
	for len(b) > 0 {
		var whole bool
		if b, whole = c.in.Next(b, keepIncoming); whole {
			c.received(&c.in)
		}
	}
	if err != nil {
		c.loseLocked(err)
	}
	return err != nil || c.goAway && !away
}

// keepIncoming says how much of a frame's payload is read: the code of a reset, the last stream of a GOAWAY, and the
// length of a padding.
func keepIncoming(f *frames.Reader) int {
	switch {
	case f.Kind() == frames.Reset, f.Kind() == frames.GoAway:
		return 4
	case f.Kind() == frames.Data && f.Has(frames.Padded):
		return 1
	}
	return 0
}

// received notes a frame that has come. c.mu is held. Frames that are malformed are net/http's to refuse.
func (c *conn) received(f *frames.Reader) {
	c.frames++
	if f.Kind() == frames.GoAway {
		if len(f.Payload) == 4 {
			c.goneAway(frames.Number(f.Payload) &^ (1 << 31))
		}
		return
	}
	w := c.wireOf(f.Stream())
	if w == nil {
		return
	}
	switch f.Kind() {
	case frames.Headers, frames.Continuation:
		w.headers += int64(f.Length())
	case frames.Data:
		n := f.Length()
		if len(f.Payload) == 1 {
			n -= 1 + int(f.Payload[0])
		}
		w.arrived += int64(max(n, 0))
	case frames.Reset:
		w.wasReset, w.ended = true, true
	}
	if f.Has(frames.EndStream) && (f.Kind() == frames.Headers || f.Kind() == frames.Data) {
		w.ended = true
	}
}

// goneAway notes a GOAWAY. A later one may only lower the last stream.
func (c *conn) goneAway(last uint32) {
	if !c.goAway || last < c.last {
		c.last = last
	}
	c.goAway = true
}

// wireOf returns what is known of an open stream, or nil. c.mu is held.
func (c *conn) wireOf(id uint32) *wire {
	if x := c.streams[id]; x != nil {
		return &x.wire
	}
	if id == c.newest.id && !c.newest.taken {
		return &c.newest.wire
	}
	return nil
}

// Write implements net.Conn. What it writes is counted before it is written, since the response may come at once.
func (c *conn) Write(b []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.held.broken != nil {
		return 0, c.held.broken
	}
	before := c.writeAlong(b)
	if c.mayWait() && c.hold(b, before) {
		return len(b), nil
	}
	return c.writeAfterHeld(b, before)
}

// writeAlong notes what is about to be written. It returns the stream that was opened last before that.
func (c *conn) writeAlong(b []byte) (before uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before = c.newest.id
	skip := min(c.preface, len(b))
	c.preface -= skip
	for b = b[skip:]; len(b) > 0; {
		var whole bool
		if b, whole = c.out.Next(b, keepNothing); whole {
			c.sends(&c.out)
		}
	}
	return before
}

func keepNothing(*frames.Reader) int { return 0 }

// sends notes a frame that is about to be written. c.mu is held.
func (c *conn) sends(f *frames.Reader) {
	if f.Kind() == frames.Settings && f.Has(frames.Ack) && !c.isSet {
		c.isSet = true
		close(c.settled)
	}
	id, isHeader := f.Stream(), f.Kind() == frames.Headers || f.Kind() == frames.Continuation
	if f.Kind() == frames.Headers && id > c.newest.id {
		c.newest = opened{id: id}
	}
	if w := c.wireOf(id); w != nil && (isHeader || f.Kind() == frames.Data) {
		w.sent += int64(f.Length())
	}
	if x := c.streams[id]; x != nil && (f.Kind() == frames.Reset || (isHeader || f.Kind() == frames.Data) && f.Has(frames.EndStream)) {
		c.expectLocked(x, false)
	}
}

// loseLocked notes why the connection cannot be used any more. c.mu is held.
func (c *conn) loseLocked(err error) {
	if c.lost == nil && !errors.Is(err, net.ErrClosed) { // net/http has closed it, and knows why
		c.lost = err
	}
}

// isGoingAway reports whether the backend takes no more streams on the connection.
func (c *conn) isGoingAway() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.goAway || c.lost != nil
}

// hasSpoken reports whether something has come.
func (c *conn) hasSpoken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.frames > 0 || !c.in.BetweenFrames()
}

// why returns why the connection was lost; nil: it was not, as far as the socket says.
func (c *conn) why() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

// took notes that the stream that was opened last is x's, unless its header was never written. It runs right after that,
// before another stream can be opened. more says whether another frame of it follows at once.
func (c *conn) took(x *exchange, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expectLocked(x, more)
	if c.newest.taken || c.newest.id == 0 {
		return
	}
	c.newest.taken = true
	x.id, x.wire, x.heard = c.newest.id, c.newest.wire, c.frames
	c.streams[x.id] = x
}

// forget notes that nobody asks for the stream of x any more.
func (c *conn) forget(x *exchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expectLocked(x, false) // what waits for it goes out with the next write, or when it has waited for long
	if c.streams[x.id] == x {
		delete(c.streams, x.id)
	}
}

// Close implements net.Conn. net/http calls it when the connection has ended, for whatever reason.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.closing.Do(func() {
		close(c.ended)
		c.pool.remove(c)
	})
	return err
}
