package http2

import (
	"errors"
	"os"
	"time"

	"pace/proxy/frames"
)

// net/http writes each frame of a request by itself: the header, each piece of the body, and the end. So what it writes
// waits here while a frame follows that waits for nothing: neither for the client nor for the backend. Then all goes out
// in one write and, over TLS, in one record. A frame of an exchange follows in these states:
//
//	use ──▶ coming ── wroteHeader ──┬─▶ more of the body is there ── END_STREAM or RST_STREAM ──▶ (none)
//	                                │         ▲ Read    │ Read
//	                                └─▶ (none): waits for the client
//
// "coming" makes one write of the headers of requests that begin at the same time.
//
// net/http may be stopped all the same: by a backend whose window is empty, and by a machine that has much else to do.
// So nothing waits for longer than [Pool.patience].

// usualPatience is many times what it takes to write a small request.
const usualPatience = time.Millisecond

// held are the bytes that wait. conn.writing guards them.
type held struct {
	frames.Held
	since  time.Time   // when the first of them was written
	before uint32      // the newest stream before them
	late   *time.Timer // nil: nothing was ever held
	runs   bool        // late does
	broken error       // a part of them could not be sent: the connection is of no use any more
}

// expect notes whether a frame of x follows at once.
func (c *conn) expect(x *exchange, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expectLocked(x, more)
}

// expectLocked is expect. c.mu is held.
func (c *conn) expectLocked(x *exchange, more bool) {
	switch is := x.follows == c.round; {
	case more && !is:
		x.follows = c.round
		c.following++
	case !more && is:
		x.follows = 0
		c.following--
	}
}

// mayWait reports whether what was just read along may wait: it ends with a frame of a request, and another one follows,
// or wroteHeader is about to say whether one does. Other frames never wait, since the connection may end after them.
func (c *conn) mayWait() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	kind := c.out.Kind()
	isHeader := (kind == frames.Headers || kind == frames.Continuation) && c.out.Has(frames.EndHeaders)
	if !c.out.BetweenFrames() || !isHeader && kind != frames.Data {
		return false
	}
	return c.following > 0 || isHeader && c.out.Stream() == c.newest.id && !c.newest.taken
}

// hold keeps b, and reports whether there was room. c.writing is held. before is the newest stream before b.
func (c *conn) hold(b []byte, before uint32) bool {
	h := &c.held
	first := h.Empty()
	if !h.Hold(b) {
		return false
	}
	if first {
		h.since, h.before = time.Now(), before
		c.startLate(c.pool.patience)
	}
	return true
}

// startLate has late fire, unless it is about to: then heldTooLong sees how long is left. c.writing is held.
func (c *conn) startLate(d time.Duration) {
	h := &c.held
	switch {
	case h.runs:
		return
	case h.late == nil:
		h.late = time.AfterFunc(d, c.heldTooLong)
	default:
		h.late.Reset(d)
	}
	h.runs = true
}

// heldTooLong sends what waits although nothing has followed. Of the exchanges of which something should have, nothing is
// expected any more.
func (c *conn) heldTooLong() {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.held.runs = false
	if c.held.Empty() {
		return
	}
	if left := c.pool.patience - time.Since(c.held.since); left > 0 {
		c.startLate(left)
		return
	}
	c.mu.Lock()
	c.round++
	c.following = 0
	c.mu.Unlock()
	c.sendHeld()
}

// sendUnlessMore sends what waits, unless more follows.
func (c *conn) sendUnlessMore() {
	c.mu.Lock()
	more := c.following > 0
	c.mu.Unlock()
	if more {
		return
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	c.sendHeld()
}

// sendHeld sends what waits. If that fails, nobody is there to see it, and the connection is closed. c.writing is held.
func (c *conn) sendHeld() {
	if c.held.Empty() {
		return
	}
	if _, err := c.writeAfterHeld(nil, 0); err != nil {
		go c.Conn.Close() // over TLS this may wait
	}
}

// writeAfterHeld writes b after what waits, together if that fits. It returns how much of b was written. c.writing is
// held.
func (c *conn) writeAfterHeld(b []byte, before uint32) (int, error) {
	h := &c.held
	if h.Empty() {
		return c.writeNow(b, before)
	}
	next := h.before // the newest stream before what is written next
	n, err := h.WriteWith(b, func(p []byte) (int, error) {
		from := next
		next = before
		return c.writeNow(p, from)
	})
	h.broken = err
	return n, err
}

// writeNow writes b. The backend must take something of it again and again. c.writing is held.
func (c *conn) writeNow(b []byte, before uint32) (n int, err error) {
	for {
		c.extendDeadline()
		var some int
		some, err = c.Conn.Write(b[n:])
		if n += some; err == nil {
			return n, nil
		}
		go c.pool.retire(c) // net/http holds locks that a close of the connection takes
		if some == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			c.stuck(n, before, err)
			return n, err
		}
	}
}

// extendDeadline gives a write at least as long as the backend has to take something. To move the deadline costs more than
// to look at it, so it is only moved when it comes too near. c.writing is held.
func (c *conn) extendDeadline() {
	limit := c.pool.o.ResponseTimeout
	if now := time.Now(); c.until.Before(now.Add(limit)) {
		c.until = now.Add(limit + limit/2)
		c.Conn.SetWriteDeadline(c.until)
	}
}

// stuck notes that no more than n bytes were written. before is the newest stream before them.
func (c *conn) stuck(n int, before uint32, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n == 0 {
		for id, x := range c.streams {
			if id > before {
				x.sent = 0
			}
		}
		if c.newest.id > before {
			c.newest.sent = 0
		}
	}
	c.loseLocked(err)
}
