package http1

import (
	"errors"
	"net"
	"os"
)

// polled is one visit to the runtime's poller (poll_unix.go): what it calls, and what a read came to.
type polled struct {
	read, first func(fd uintptr) bool // readOnce and writeThenRead; made once, kept
	n           int
	err         error
}

// fill reads more of the response from the connection.
func (x *exchange) fill() error {
	n, err := x.read()
	x.noteRead(n)
	return err
}

// read reads at least one byte, or fails.
func (x *exchange) read() (int, error) {
	for {
		c := x.conn()
		n, err := x.receive(c, x.polled.read)
		if n > 0 {
			return n, nil
		}
		if err == nil { // allowed, and means nothing
			continue
		}
		if x.out.awaitFirstWrite(); x.conn() != c {
			continue // the sender's first write found that c had ended, and replaced it
		}
		if n, err := x.lastLook(c, err); n > 0 || err != nil {
			return n, err
		}
		if err := x.readFailed(c, err); err != nil {
			return 0, err
		}
	}
}

// lastLook reads what lies in the socket although the time for the response is up: the process may have been
// stopped (SIGSTOP, a paused machine), and the response have come in time. It waits for nothing.
func (x *exchange) lastLook(c *conn, err error) (int, error) {
	if c.tcp == nil || !canPoll || !errors.Is(err, os.ErrDeadlineExceeded) || !x.isOverdue() {
		return 0, nil
	}
	x.polled.n, x.polled.err = 0, nil
	c.raw.Control(func(fd uintptr) { x.polled.read(fd) })
	return x.polled.n, x.polled.err
}

// receive reads from c once it has something to give. Over plain TCP the runtime's poller tells when, and then
// calls then, which reads. So no buffer is held while the exchange waits: a thousand quiet streams would
// otherwise cost 4 MiB. Behind anything else than plain TCP there may be bytes that the poller does not know
// of, so c.Read waits, with a buffer.
func (x *exchange) receive(c *conn, then func(fd uintptr) bool) (int, error) {
	if c.tcp == nil || !canPoll {
		return c.Read(x.in.room())
	}
	x.polled.n, x.polled.err = 0, nil
	if err := c.raw.Read(then); err != nil {
		inner := err.(*net.OpError) // the only type that it returns
		return 0, c.readError(inner.Err)
	}
	return x.polled.n, x.polled.err
}

// noteRead notes that n more bytes are in the buffer.
func (x *exchange) noteRead(n int) {
	if n > 0 && !x.answered { // nobody else writes it, so it is read without the lock
		x.mu.Lock()
		x.answered = true
		x.mu.Unlock()
	}
	x.in.end += n
	x.in.large = x.in.large || n > 0 && x.in.end == len(x.in.buf)
}

// room returns where to read to: behind what is unread, in a buffer from the pools.
func (b *incoming) room() []byte {
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
	case b.end < len(b.buf): // there is room
	case b.pos > 0:
		b.pos, b.end = 0, copy(b.buf, b.buf[b.pos:b.end])
	default:
		b.buf = grown(b.buf, b.buf)
	}
	return b.buf[b.end:]
}

// drop gives the buffer back, unless it holds something unread.
func (b *incoming) drop() {
	if b.pos == b.end {
		release(b.buf)
		b.buf, b.pos, b.end = nil, 0, 0
	}
}
