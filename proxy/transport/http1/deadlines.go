package http1

import (
	"cmp"
	"errors"
	"os"
	"time"

	"pace/proxy/transport"
)

// How time is kept
//
// Three things are bounded in time: the wait for the response header (from the end of sending, by
// ResponseTimeout), a write that makes no progress (as long), and, if the caller says so, each wait for more of
// the body (Response.BodyTimeout). The kernel's timers for that are the
// connection's read and write deadline. To set both for each exchange, and to remove them afterwards, costs
// more than to parse its header. So they stay set on the connection (conn.readUntil and conn.writeUntil) when
// the exchange is over. The next exchange on it keeps a deadline that is still to come and no later than
// needed. Such a deadline fires early. The goroutine that it wakes then asks whether the time is really up
// (readFailed, writeFailed), and if not, it moves the deadline and goes on. At a thousand requests a second on one connection, a deadline is moved
// every 30 s.
//
// A deadline that has already passed is the other case: a read with it fails at once, so it is moved
// before the wait begins (startClock), or the read fails once and is repeated.
//
// This would be unnecessary if setting a deadline cost nothing (today it locks and changes a runtime timer),
// or if net.Conn could set the deadline of one call.

// longAgo is a deadline that wakes every goroutine that is blocked on the connection.
var longAgo = time.Unix(1, 0)

// readBy sets the read deadline. A zero time takes it off.
func (c *conn) readBy(t time.Time) error {
	c.readUntil = t
	return c.SetReadDeadline(t)
}

// writeBy sets the write deadline.
func (c *conn) writeBy(t time.Time) error {
	c.writeUntil = t
	return c.SetWriteDeadline(t)
}

// startClock begins the time that the backend has for its response header. x.Mu is held.
func (x *exchange) startClock() {
	now := time.Now()
	x.until = now.Add(x.responseTimeout())
	if !x.c.readUntil.After(now) {
		x.c.readBy(x.until)
	}
}

// startBodyClock begins the time that the backend has for more of the body; 0: no limit. It is called before
// each wait, and moves the connection's deadline only if that would be too late.
func (x *exchange) startBodyClock(limit time.Duration) {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	if x.Cause != nil {
		return // the deadline is what wakes the reader
	}
	if limit == 0 {
		x.until = time.Time{}
		return
	}
	now := time.Now()
	if x.until = now.Add(limit); !x.c.readUntil.After(now) || x.c.readUntil.After(x.until) {
		x.c.readBy(x.until)
	}
}

func (x *exchange) responseTimeout() time.Duration {
	return cmp.Or(x.req.ResponseTimeout, x.pool.o.ResponseTimeout)
}

// readFailed returns why reading c failed. It returns nil if only a deadline fired that was set by an exchange
// before. It has then moved the deadline to where this exchange needs it, and reading goes on.
func (x *exchange) readFailed(c *conn, err error) error {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	if x.Cause != nil {
		return x.Cause
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if !x.until.IsZero() && !time.Now().Before(x.until) {
		kind := transport.ResponseTimeout
		if x.Final {
			kind = transport.Stalled
		}
		return x.failLocked(kind, err)
	}
	return c.readBy(x.until)
}

// isOverdue reports whether the time for the response header, or for more of the body, is up, and nothing else has ended the exchange.
func (x *exchange) isOverdue() bool {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	return x.Cause == nil && !x.until.IsZero() && !time.Now().Before(x.until)
}

// armWrite makes writing to c fail after look, but no later than a response's time after moved, when a byte
// was last sent. A deadline that is set already will do if it is still to come, and no later.
func (x *exchange) armWrite(c *conn, moved time.Time, look time.Duration) error {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	if x.Cause != nil {
		return x.Cause
	}
	now, until := time.Now(), moved.Add(x.responseTimeout())
	if next := now.Add(look); next.Before(until) {
		until = next
	}
	if x.closing { // Close has said how long the last bytes may take
		return nil
	}
	if c.writeUntil.After(now) && !c.writeUntil.After(until) {
		return nil
	}
	return c.writeBy(until)
}

// writeFailed returns why writing failed, or nil if only a deadline fired early. moved is when a byte last
// went out.
func (x *exchange) writeFailed(moved time.Time, err error) error {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	switch {
	case x.Cause != nil:
		return x.Cause
	case !errors.Is(err, os.ErrDeadlineExceeded), x.closing:
		return err
	case time.Since(moved) < x.responseTimeout():
		return nil
	case x.Final: // a backend that has responded need not read the rest
		return err
	}
	return x.failLocked(transport.ResponseTimeout, err)
}

// stirs reports whether a write that is overdue could go on now, or the backend has responded. The process may
// have been stopped meanwhile, so that the deadline passed although the backend was in time.
func (x *exchange) stirs(c *conn, moved time.Time) bool {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	return x.Cause == nil && !x.Final && c.raw != nil && time.Since(moved) >= x.responseTimeout() && stirs(c.raw)
}

// goesOn reports whether a write of TLS goes on that has failed after n bytes. It began, or last made progress, at
// moved. It is what writing does, but below TLS: a record that is cut cannot be sent on later, so crypto/tls must
// not learn of a deadline that was only too early.
func (c *conn) goesOn(moved time.Time, n int, err error) bool {
	x := c.x
	if x == nil { // TLS has written on its own, on an idle connection
		until := moved.Add(lastGrace)
		return errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(until) && c.writeBy(until) == nil
	}
	if n > 0 || errors.Is(err, os.ErrDeadlineExceeded) && x.stirs(c, moved) {
		moved = time.Now()
	}
	return x.writeFailed(moved, err) == nil && x.armWrite(c, moved, x.responseTimeout()) == nil
}
