package http1

import (
	"errors"
	"net"
	"os"

	"pace/proxy/transport/http1/parse"
)

// polled is one visit to the runtime's poller (poll_unix.go): the functions that it calls, and the result of
// the read.
type polled struct {
	read, first func(fd uintptr) bool // readOnce and writeThenRead; made once, for a method value is an allocation
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
			x.unclear = x.unclear || err != nil // TLS says at once that the connection has ended after these bytes
			return n, nil
		}
		if err == nil { // a Read may return 0 and no error; it means nothing
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

// lastLook reads what is in the socket although the time for the response is up. The process may have been
// stopped (SIGSTOP, a paused machine), and the response have come in time. lastLook does not wait.
func (x *exchange) lastLook(c *conn, err error) (int, error) {
	if !canPoll || !errors.Is(err, os.ErrDeadlineExceeded) || !x.isOverdue() {
		return 0, nil
	}
	switch {
	case c.secure != nil:
		n, err := c.secure.ReadNow(x.in.room())
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = nil
		}
		return n, err
	case c.tcp == nil:
		return 0, nil
	}
	x.polled.n, x.polled.err = 0, nil
	c.raw.Control(func(fd uintptr) { x.polled.read(fd) })
	return x.polled.n, x.polled.err
}

// receive reads from c as soon as c has bytes. Over plain TCP the runtime's poller notices that, and then calls
// then, which reads. So the exchange holds no buffer while it waits; otherwise a thousand quiet streams would
// cost 4 MiB. Any other connection may have bytes of which the poller does not know, so c.Read waits there,
// with a buffer.
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
	if n > 0 && !x.responded { // nobody else writes it, so it is read without the lock
		x.Mu.Lock()
		x.responded = true
		x.Mu.Unlock()
	}
	x.in.end += n
	x.in.large = x.in.large || n > 0 && x.in.end == len(x.in.buf)
}

// incoming is the receiving side of an exchange: buf[pos:end] was read and is not yet returned. body says
// which of these bytes are the response's body.
type incoming struct {
	buf      []byte // from the pools; nil while it holds nothing
	pos, end int
	large    bool // a buffer was filled, so the next one is a large one
	body     parse.Body
}

// unread returns what was read and is not yet returned.
func (b *incoming) unread() []byte { return b.buf[b.pos:b.end] }

// advance reads framing, as far as it is there. It reports whether next can return without reading more.
func (b *incoming) advance() (ready bool, err error) {
	n, ready, err := b.body.Advance(b.unread())
	b.pos += n
	return ready, err
}

// next returns bytes of the body after advance was ready, or io.EOF at its end. The bytes are valid until more
// is read.
func (b *incoming) next() ([]byte, error) {
	p, err := b.body.Next(b.unread())
	b.pos += len(p)
	return p, err
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
		b.pos, b.end = 0, copy(b.buf, b.unread())
	default:
		b.buf = grown(b.buf, b.buf)
	}
	return b.buf[b.end:]
}

// drop gives the buffer back to the pools, unless something in it is unread.
func (b *incoming) drop() {
	if b.pos == b.end {
		release(b.buf)
		b.buf, b.pos, b.end = nil, 0, 0
	}
}

// reset gives the buffer back, whatever is in it, and forgets the body.
func (b *incoming) reset() {
	release(b.buf)
	b.buf, b.pos, b.end, b.large = nil, 0, 0, false
	b.body.Stop()
}
