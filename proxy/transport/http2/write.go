package http2

import (
	"encoding/binary"
	"runtime"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// outgoing are the frames that wait to be written. conn.mu guards it. Whoever has something to send puts it here, and
// waits for nothing. The connection's own goroutine writes what is there in one go. So requests that begin at the same
// time, and a request with the body that is there already, are one write and, over TLS, one record.
type outgoing struct {
	bytes   []byte
	due     bool      // somebody wants them written; else more follows at once
	waits   bool      // the goroutine that writes waits for more
	more    sync.Cond // that due is set
	queued  int64     // bytes so far, with those that were written
	taken   int64     // bytes that were given to the kernel, or are being
	blocked []*upload // bodies that wait for room here, or for a larger window
	until   time.Time // the deadline of writes
}

const (
	// maxWaiting is how many bytes of bodies wait to be written. Then they wait where they come from.
	maxWaiting = 128 << 10

	// maxAcks is how many bytes wait in all. A backend that has pace acknowledge frames, and does not read that, loses its
	// connection.
	maxAcks = 1 << 20
)

// outs are used by one connection after another, since most have nothing to write most of the time.
var outs = sync.Pool{New: func() any { return new([outBytes]byte) }}

// outBytes has room for the bodies that may wait, and a few other frames.
const outBytes = maxWaiting + 1<<10

// begin queues what a connection begins with. c.mu need not be held yet.
func (c *conn) begin() {
	o := &c.out
	o.bytes = append(outs.Get().(*[outBytes]byte)[:0], http2.ClientPreface...)
	o.queued = int64(len(o.bytes))
	settings := []http2.Setting{
		{ID: http2.SettingEnablePush, Val: 0},
		{ID: http2.SettingInitialWindowSize, Val: streamWindow},
		{ID: http2.SettingMaxHeaderListSize, Val: uint32(min(c.pool.o.MaxHeaderBytes, 1<<31-1))},
	}
	c.queueHead(6*len(settings), http2.FrameSettings, 0, 0)
	for _, s := range settings {
		o.bytes = binary.BigEndian.AppendUint16(o.bytes, uint16(s.ID))
		o.bytes = binary.BigEndian.AppendUint32(o.bytes, s.Val)
	}
	c.queueWindow(0, connWindow-usualWindow)
	o.due = true
}

// queueHead queues the head of a frame with so many bytes. c.mu is held, as for all that follow.
func (c *conn) queueHead(length int, kind http2.FrameType, flags http2.Flags, stream uint32) {
	if c.out.bytes == nil {
		c.out.bytes = outs.Get().(*[outBytes]byte)[:0]
	}
	b := append(c.out.bytes, byte(length>>16), byte(length>>8), byte(length), byte(kind), byte(flags))
	c.out.bytes = binary.BigEndian.AppendUint32(b, stream)
	c.out.queued += int64(9 + length)
}

// queueNumber queues a frame whose payload is one number.
func (c *conn) queueNumber(kind http2.FrameType, stream, n uint32) {
	c.queueHead(4, kind, 0, stream)
	c.out.bytes = binary.BigEndian.AppendUint32(c.out.bytes, n)
}

func (c *conn) queueReset(stream uint32, code http2.ErrCode) {
	c.queueNumber(http2.FrameRSTStream, stream, uint32(code))
}
func (c *conn) queueWindow(stream, more uint32) { c.queueNumber(http2.FrameWindowUpdate, stream, more) }

func (c *conn) queuePing(ack bool, data [8]byte) {
	var flags http2.Flags
	if ack {
		flags = http2.FlagPingAck
	}
	c.queueHead(len(data), http2.FramePing, flags, 0)
	c.out.bytes = append(c.out.bytes, data[:]...)
}

// queueHeader queues the header of x, or its trailer.
func (c *conn) queueHeader(x *exchange, block []byte, end bool) {
	kind, flags := http2.FrameHeaders, http2.Flags(0)
	if end {
		flags = http2.FlagHeadersEndStream
	}
	x.sent += int64(len(block))
	for {
		piece := block[:min(len(block), c.limits.frame)]
		if block = block[len(piece):]; len(block) == 0 {
			flags |= http2.FlagHeadersEndHeaders
		}
		c.queueHead(len(piece), kind, flags, x.id)
		c.out.bytes = append(c.out.bytes, piece...)
		if len(block) == 0 {
			x.to = c.out.queued
			return
		}
		kind, flags = http2.FrameContinuation, 0
	}
}

// queueBody queues as much of b as there is room for, and returns how much that is. end says that b ends the stream.
func (c *conn) queueBody(x *exchange, b []byte, end bool) (n int) {
	for {
		size := min(int64(len(b)), x.window, c.window, int64(maxWaiting-len(c.out.bytes)), int64(c.limits.frame))
		if len(b) == 0 {
			size = 0
		} else if size <= 0 {
			return n
		}
		var flags http2.Flags
		if end && size == int64(len(b)) {
			flags = http2.FlagDataEndStream
		}
		c.queueHead(int(size), http2.FrameData, flags, x.id)
		c.out.bytes = append(c.out.bytes, b[:size]...)
		x.window -= size
		x.sent += size
		x.to = c.out.queued
		c.window -= size
		n += int(size)
		if b = b[size:]; len(b) == 0 {
			return n
		}
	}
}

// queueLast has nothing written any more but a GOAWAY, as far as the backend takes it in time.
func (c *conn) queueLast(code http2.ErrCode) {
	c.out.bytes = c.out.bytes[:0]
	if c.lost == nil {
		c.queueHead(8, http2.FrameGoAway, 0, 0)
		c.out.bytes = binary.BigEndian.AppendUint64(c.out.bytes, uint64(code))
	}
	c.flushLocked()
}

// flush has all that waits written.
func (c *conn) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flushLocked()
}

// flushLocked is flush. c.mu is held.
func (c *conn) flushLocked() {
	o := &c.out
	o.due = len(o.bytes) > 0 || c.over
	if o.due && o.waits {
		o.waits = false
		o.more.Signal()
	}
}

// unblockLocked wakes those that wait for room. c.mu is held.
func (c *conn) unblockLocked() {
	for i, u := range c.out.blocked {
		u.signal()
		c.out.blocked[i] = nil
	}
	c.out.blocked = c.out.blocked[:0]
}

// write is the goroutine that writes. It closes the connection in the end.
func (c *conn) write() {
	defer c.finish()
	defer c.catch()
	for c.writeSome() {
	}
}

// writeSome waits until something is due, and writes it. It returns false if that was the last.
func (c *conn) writeSome() bool {
	b, last := c.due()
	err := c.writeAll(b)
	if cap(b) == outBytes {
		outs.Put((*[outBytes]byte)(b[:outBytes]))
	}
	if last {
		return false
	}
	if err != nil {
		c.cannotWrite(err)
	}
	return true
}

// due waits until something is due, and returns it. last says that nothing will follow.
func (c *conn) due() (b []byte, last bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.awaitDue()
	if len(c.streams) > 1 && !c.over {
		// Most likely others are about to queue requests, too.
		c.mu.Unlock()
		runtime.Gosched()
		c.mu.Lock()
	}
	o := &c.out
	b = o.bytes
	o.bytes, o.due = nil, false
	return b, c.over
}

// awaitDue waits until something is due. c.mu is held, but not while it waits.
func (c *conn) awaitDue() {
	for o := &c.out; !o.due; {
		o.waits = true
		o.more.Wait()
	}
}

// writeBytes is how much one system call writes at most. What it has written counts as progress of those whose bytes are
// queued.
const writeBytes = 32 << 10

// writeAll writes b.
func (c *conn) writeAll(b []byte) error {
	for len(b) > 0 {
		piece := b[:min(len(b), writeBytes)]
		b = b[len(piece):]
		c.take(len(piece)) // before it is written, for the response may come at once
		if n, err := c.writeNow(piece); err != nil {
			c.take(n - len(piece))
			return err
		}
	}
	return nil
}

// take notes that the kernel takes n more bytes, so that there is room for others.
func (c *conn) take(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.taken += int64(n)
	c.unblockLocked()
}

// writeNow writes b. The backend must take something of it again and again.
func (c *conn) writeNow(b []byte) (n int, err error) {
	for n < len(b) {
		c.extendDeadline()
		var some int
		some, err = c.Conn.Write(b[n:])
		n += some
		if err != nil && (c.secure || !c.goesOn(some, err)) {
			return n, err
		}
	}
	return n, nil
}

// goesOn reports whether a write goes on that has failed after n bytes, since its deadline has passed and the backend has
// taken something. Over TLS it is asked below TLS, where a record can be written in two parts.
func (c *conn) goesOn(n int, err error) bool {
	c.pool.retire(c)
	if n == 0 || !isTimeout(err) {
		return false
	}
	c.extendDeadline()
	return true
}

// extendDeadline gives a write at least as long as the backend has to take something. To move the deadline costs more
// than to look at it, so it is only moved when it comes too near.
func (c *conn) extendDeadline() {
	limit := c.pool.o.ResponseTimeout
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out.until.Before(now.Add(limit)) && !c.over { // end has set its own
		c.out.until = now.Add(limit + limit/2)
		c.SetWriteDeadline(c.out.until)
	}
}

// lastWords is how long the responses that are there already are read, after a write has failed.
const lastWords = 100 * time.Millisecond

// cannotWrite notes that a write has failed. A backend may respond and close the connection while it is still sent a
// request, so what has come is read first, unless the backend is stuck.
func (c *conn) cannotWrite(err error) {
	if isTimeout(err) {
		c.lose(err)
		return
	}
	if _, isFirst := c.lostBy(err); isFirst {
		c.SetReadDeadline(time.Now().Add(lastWords))
	}
}
