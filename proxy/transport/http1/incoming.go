package http1

import (
	"errors"
	"net"
	"os"
	"time"

	"pace/proxy/transport"
)

// received is one read of a connection with a file descriptor.
type received struct {
	once func(fd uintptr) bool // readOnce
	n    int
	err  error
}

// fill reads more from the connection.
func (x *exchange) fill() error {
	n, err := x.read()
	if n > 0 && !x.answered {
		x.mu.Lock()
		x.answered = true // read by nobody else without the lock
		x.mu.Unlock()
	}
	x.in.end += n
	x.in.large = x.in.large || n > 0 && x.in.end == len(x.in.buf)
	return err
}

// read reads at least one byte, or fails. A deadline that fires early is moved.
func (x *exchange) read() (int, error) {
	for {
		c := x.conn()
		n, err := x.receive(c)
		if n > 0 {
			return n, nil
		}
		if x.out.atOnce {
			if err := x.sendAfterAll(c); err != nil {
				return 0, err
			}
			continue
		}
		if err == nil { // allowed, and means nothing
			continue
		}
		if x.out.attempted(); x.conn() != c {
			continue // the first write found c dead, and replaced it
		}
		if n, err := x.lastLook(c, err); n > 0 || err != nil {
			return n, err
		}
		if err := x.lost(c, err); err != nil {
			return 0, err
		}
	}
}

// lastLook reads what lies in the socket although the time for the response is up: the process may have
// been stopped, and the response have come in time. It blocks for nothing.
func (x *exchange) lastLook(c *conn, err error) (int, error) {
	if c.tcp == nil || !canReadOnce || !errors.Is(err, os.ErrDeadlineExceeded) || !x.overdue() {
		return 0, nil
	}
	x.got.n, x.got.err = 0, nil
	c.raw.Control(func(fd uintptr) { x.got.once(fd) })
	return x.got.n, x.got.err
}

// overdue reports whether the time for the response header is up, and nothing else has ended the exchange.
func (x *exchange) overdue() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.cause == nil && !x.until.IsZero() && !time.Now().Before(x.until)
}

// conn returns the connection in use, which the sender may replace.
func (x *exchange) conn() *conn {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.c
}

// receive reads from c once it has something to give. Where that can be known without reading, no
// buffer is held meanwhile: a thousand quiet streams must not cost 4 MiB.
func (x *exchange) receive(c *conn) (int, error) {
	if c.tcp == nil || !canReadOnce { // behind anything else than plain TCP there are other bytes
		return c.Read(x.in.room())
	}
	x.got.n, x.got.err = 0, nil
	if err := c.raw.Read(x.got.once); err != nil {
		inner := err.(*net.OpError) // the only type that it returns
		return 0, c.readError(inner.Err)
	}
	return x.got.n, x.got.err
}

// readError is the error that c.Read returns for err.
func (c *conn) readError(err error) error {
	return &net.OpError{Op: "read", Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// room returns where to read to: behind what is unread, in a buffer from the pools.
func (b *body) room() []byte {
	if b.large && len(b.buf) == smallBuffer {
		b.drop()
	}
	switch {
	case b.buf == nil && b.large:
		b.buf = getLarge()
	case b.buf == nil:
		b.buf = getSmall()
	case b.pos == b.end:
		b.pos, b.end = 0, 0
	case b.end < len(b.buf):
	case b.pos > 0:
		b.pos, b.end = 0, copy(b.buf, b.buf[b.pos:b.end])
	default:
		b.buf = grown(b.buf, b.buf)
	}
	return b.buf[b.end:]
}

// drop gives the buffer back, unless it holds something unread.
func (b *body) drop() {
	if b.pos == b.end {
		release(b.buf)
		b.buf, b.pos, b.end = nil, 0, 0
	}
}

// lost returns why reading c failed, or nil if it was only a deadline left standing from before.
func (x *exchange) lost(c *conn, err error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cause != nil {
		return x.cause
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if !x.until.IsZero() && !time.Now().Before(x.until) {
		return x.failLocked(transport.ResponseTimeout, err)
	}
	c.readUntil = x.until
	return c.SetReadDeadline(x.until)
}
