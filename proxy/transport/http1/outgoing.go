package http1

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"pace/proxy/transport"
)

const (
	headDelay   = time.Millisecond // how long the head waits for the body's first piece
	expectDelay = time.Second      // how long the body waits for 100
	lastGrace   = 50 * time.Millisecond
	leastPiece  = 512 // room for a piece beside the head; with less, the head goes first

	sizeRoom  = 6                  // a chunk's size line: "8000\r\n"
	lastChunk = "\r\n0\r\n"        // ends the last chunk's data and the body; the trailer follows
	tailRoom  = len(lastChunk) + 2 // after a chunk's data, if the trailer is empty
)

// outgoing is the sending side: buf[from:to] is due. With a body it belongs to the sender's
// goroutine, but the head may be flushed by a timer, so mu guards buf, from and to while that
// may run.
type outgoing struct {
	mu       sync.Mutex
	buf      []byte // from the pools; nil before and after
	from, to int
	left     int64 // of the body; -1: chunked
	ended    bool  // Body has returned io.EOF, or all that it should
	full     bool  // the last piece filled the buffer
	reading  bool  // Body.Read is in progress

	// The first read is to write the request (writeOnce): there is no body, and the connection is a
	// pooled one of plain TCP. Only Do's goroutine knows.
	atOnce bool
	looked bool // it has seen whether the connection is alive

	begun   atomic.Bool   // a write was attempted
	first   chan struct{} // closed when the first write is over; nil without a body
	done    chan struct{} // closed when the sender is done; nil unless a switch of protocols may wait for it
	verdict chan bool     // whether to send a body held back by Expect; nil without

	sending atomic.Bool // the sender runs
	last    atomic.Bool // it is in the write of the last bytes
	sent    atomic.Bool // the whole request was written
}

func (o *outgoing) begin(req *transport.Request) {
	o.from, o.to, o.left, o.ended, o.full, o.reading = 0, 0, req.ContentLength, false, false, false
	o.atOnce, o.looked, o.first, o.done, o.verdict = false, false, nil, nil, nil
	o.begun.Store(false)
	o.last.Store(false)
	o.sent.Store(false)
	if req.HasBody() {
		o.first = make(chan struct{})
		if asksUpgrade(req) {
			o.done = make(chan struct{})
		}
		if req.Expect {
			o.verdict = make(chan bool, 1)
		}
	}
}

func (o *outgoing) render(req *transport.Request) {
	b := appendHead(getSmall()[:0], req)
	o.buf, o.to = b[:cap(b)], len(b)
}

// cancel tells a sender that holds its body back that there is no use for it.
func (o *outgoing) cancel() { o.decide(false) }

// proceed tells it that 100 has come.
func (o *outgoing) proceed() { o.decide(true) }

func (o *outgoing) decide(send bool) {
	select {
	case o.verdict <- send: // never, if it is nil
	default:
	}
}

// attempted waits until the first write is over, after which the connection stays the same.
func (o *outgoing) attempted() {
	if o.first != nil {
		<-o.first
	}
}

// drop gives the buffer back, for the answer may be long in coming. A timer that is late finds
// nothing due.
func (o *outgoing) drop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	release(o.buf)
	o.buf, o.from, o.to = nil, 0, 0
}

// isDue reports whether something waits to be written.
func (o *outgoing) isDue() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.from < o.to
}

func (o *outgoing) isSent() bool { return o.sent.Load() }

// sendAfterAll sends a request that was not written at once, or not wholly, in the ordinary way.
func (x *exchange) sendAfterAll(c *conn) error {
	x.out.atOnce = false
	if !x.out.looked { // a deadline left standing had passed, and the poller did not even begin
		c.dead = !c.alive()
	}
	if c.dead {
		if err := x.connect(false); err != nil {
			return err
		}
	}
	return x.sendHead()
}

// sendHead sends a request without a body, and starts the clock for the response. That the
// connection breaks is no error yet: a response may have come before.
func (x *exchange) sendHead() error {
	err := x.flush()
	if _, ended := errors.AsType[*transport.Error](err); ended {
		return err
	}
	// The same buffer takes the response.
	x.in.buf, x.out.buf = x.out.buf, nil
	x.in.pos, x.in.end = 0, 0
	x.sentAll(err == nil)
	return nil
}

// startSending lets another goroutine send head and body.
func (x *exchange) startSending() {
	x.out.sending.Store(true)
	x.running.Go(func() {
		if x.out.done != nil {
			defer close(x.out.done)
		}
		defer x.out.sending.Store(false)
		defer x.catch()
		x.send()
	})
}

// catch ends the exchange if a goroutine beside Do's panics. Nobody recovers there, so Do, Next or
// Close tells: a bug costs one request, not the process.
func (x *exchange) catch() {
	if p := recover(); p != nil {
		x.firstOver()
		x.fail(transport.Panicked, fmt.Errorf("%v\n%s", p, debug.Stack()))
	}
}

func (x *exchange) send() {
	o := &x.out
	defer o.drop()
	var head *time.Timer
	if o.verdict != nil || len(o.buf)-o.to < leastPiece {
		if !x.flushed() || !x.held() {
			return
		}
	} else {
		head = x.flushLater()
	}
	for !o.ended {
		if b, p := x.pipe(); p != nil {
			if !x.sendPiped(b, p) {
				return
			}
			continue
		}
		if err := x.readPiece(); err != nil {
			x.forget(head)
			x.firstOver()
			x.fail(transport.RequestBody, err)
			return
		}
		x.forget(head)
		head = nil
		o.last.Store(o.ended)
		if !x.flushed() {
			return
		}
	}
	x.sentAll(true)
}

// flushLater sends the head alone if the body's first piece does not come soon: a backend may
// answer without it. Together they are one write and one wake-up of the backend.
func (x *exchange) flushLater() *time.Timer {
	x.running.Add(1)
	return time.AfterFunc(headDelay, func() {
		defer x.running.Done()
		defer x.catch()
		x.flushed()
		x.out.mu.Lock() // keeps the sender, if it is still reading, from the next phase
		defer x.out.mu.Unlock()
		if x.out.reading {
			x.enter(transport.ReadRequest)
		}
	})
}

func (x *exchange) forget(head *time.Timer) {
	if head != nil && head.Stop() {
		x.running.Done()
	}
}

// held waits as long as Expect asks for, and reports whether to send the body.
func (x *exchange) held() bool {
	if x.out.verdict == nil {
		return true
	}
	x.enter(transport.Wait)
	late := time.NewTimer(expectDelay)
	defer late.Stop()
	select {
	case send := <-x.out.verdict:
		return send
	case <-late.C:
		return true
	}
}

// flushed flushes for the sender and reports whether it should go on. If the connection broke,
// the reader finds out what the backend had to say before.
func (x *exchange) flushed() bool {
	err := x.flushLocked()
	x.firstOver()
	if err == nil {
		return true
	}
	x.sentAll(false)
	return false
}

func (x *exchange) flushLocked() error {
	x.out.mu.Lock()
	defer x.out.mu.Unlock()
	return x.flush()
}

// firstOver notes that the first write is over, or will never be.
func (x *exchange) firstOver() {
	x.mu.Lock()
	defer x.mu.Unlock()
	select {
	case <-x.out.first:
	default:
		if x.out.first != nil {
			close(x.out.first)
		}
	}
}

// readPiece reads the next piece of the body, and frames it after what is due.
func (x *exchange) readPiece() error {
	o := &x.out
	x.enter(transport.ReadRequest)
	o.mu.Lock()
	o.makeRoom()
	at, end := o.to, len(o.buf)
	o.reading = true
	o.mu.Unlock()
	if o.left < 0 {
		at += sizeRoom
		end = min(end-tailRoom, at+largeBuffer) // a large head has a larger buffer
	} else if int64(end-at) > o.left { // room for one byte more than is due shows whether there is more
		end = at + int(o.left) + 1 // o.left comes from the wire, so only here it is known not to overflow
	}
	n, err := x.req.Body.Read(o.buf[at:end])
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reading, o.full = false, at+n == end
	if err != nil && err != io.EOF {
		return err
	}
	if o.left < 0 {
		o.frameChunk(at, n)
		if err == io.EOF {
			o.endChunks(x.req)
		}
		return nil
	}
	o.to += n
	return o.countDown(n, err == io.EOF)
}

// makeRoom prepares a buffer for another piece: a larger one if the last piece filled it.
func (o *outgoing) makeRoom() {
	if o.from < o.to {
		return
	}
	o.from, o.to = 0, 0
	if o.buf == nil {
		o.buf = getSmall()
	}
	if o.full && len(o.buf) < largeBuffer {
		o.buf = grown(o.buf, nil)
	}
}

// countDown notes that n bytes of a body of known length were read.
func (o *outgoing) countDown(n int, eof bool) error {
	o.left -= int64(n)
	switch {
	case o.left < 0:
		o.left = 0
		return errBodyLong
	case eof && o.left > 0:
		return errBodyShort
	}
	o.ended = o.left == 0
	return nil
}

var (
	errBodyLong  = transport.NewFault("body is longer than its content length")
	errBodyShort = transport.NewFault("body is shorter than its content length")
)

// frameChunk puts the size line right before the n bytes at at, moving an unsent head up to it.
func (o *outgoing) frameChunk(at, n int) {
	if n == 0 {
		return
	}
	var size [sizeRoom]byte
	line := append(strconv.AppendInt(size[:0], int64(n), 16), '\r', '\n')
	start := at - len(line)
	copy(o.buf[start:], line)
	shift := start - o.to
	copy(o.buf[o.from+shift:], o.buf[o.from:o.to])
	o.from += shift
	o.to = at + n + copy(o.buf[at+n:], "\r\n")
}

func (o *outgoing) endChunks(req *transport.Request) {
	o.ended = true
	b := append(o.buf[:o.to], lastChunk[2:]...)
	if req.Trailer != nil {
		b = appendTrailer(b, req.Trailer())
	}
	b = append(b, '\r', '\n')
	o.buf, o.to = b[:cap(b)], len(b)
}

// appendTrailer appends the fields of h that are fit for a trailer.
func appendTrailer(b []byte, h map[string][]string) []byte {
	for name, values := range h {
		if !isToken(name) || framing(name) {
			continue
		}
		for _, v := range values {
			if validText(v) {
				b = append(append(append(append(b, name...), ": "...), v...), '\r', '\n')
			}
		}
	}
	return b
}

// flush writes what is due. A pooled connection that takes nothing of a request is dead, and
// replaced. An *Error has ended the exchange, any other error is the connection's.
func (x *exchange) flush() error {
	o := &x.out
	for o.from < o.to {
		n, err := x.write(o.buf[o.from:o.to])
		o.from += n
		if err == nil {
			break
		}
		if _, ended := errors.AsType[*transport.Error](err); ended || !x.untouched() {
			return err
		}
		if err := x.connect(false); err != nil {
			return err
		}
	}
	return nil
}

// untouched reports whether the connection is a pooled one that has taken no byte.
func (x *exchange) untouched() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.reused && x.sent == 0 && x.cause == nil
}

// write writes all of b.
func (x *exchange) write(b []byte) (written int, err error) {
	err = x.writing(x.pool.o.ResponseTimeout, func(c *conn) (int, error) {
		n, err := c.Write(b[written:])
		written += n
		return n, err
	})
	return written, err
}

// writing makes once write all that is due, called again if only its deadline fired early: each call
// waits for no longer than look. It gives up after a response's time without progress; after up to
// two, if there was some: a write tells how far it came, not when.
func (x *exchange) writing(look time.Duration, once func(*conn) (int, error)) error {
	x.enter(transport.Send)
	x.out.begun.Store(true)
	c, moved := x.conn(), time.Now()
	for {
		if err := x.armWrite(c, moved, look); err != nil {
			return err
		}
		n, err := once(c)
		x.took(n)
		if err == nil {
			return nil
		}
		if n > 0 || errors.Is(err, os.ErrDeadlineExceeded) && x.stirs(c, moved) {
			moved = time.Now()
		}
		if err := x.unsent(moved, err); err != nil {
			return err
		}
	}
}

// stirs reports whether a write that is overdue could go on by now, or the backend has answered. The
// process may have been stopped meanwhile.
func (x *exchange) stirs(c *conn, moved time.Time) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.cause == nil && !x.final && c.raw != nil && time.Since(moved) >= x.pool.o.ResponseTimeout && stirs(c.raw)
}

// armWrite makes writing to c fail after look, or a response's time since it moved. A deadline that is
// left standing will do if it is no later and still to come: it fires early, and is moved then.
func (x *exchange) armWrite(c *conn, moved time.Time, look time.Duration) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cause != nil {
		return x.cause
	}
	now, until := time.Now(), moved.Add(x.pool.o.ResponseTimeout)
	if next := now.Add(look); next.Before(until) {
		until = next
	}
	if x.closing || c.writeUntil.After(now) && !c.writeUntil.After(until) { // Close has said how long the last bytes may take
		return nil
	}
	c.writeUntil = until
	return c.SetWriteDeadline(until)
}

func (x *exchange) took(n int) {
	x.mu.Lock()
	x.sent += int64(n)
	x.mu.Unlock()
}

// unsent returns why writing failed, or nil if it was only a deadline that fired early.
func (x *exchange) unsent(moved time.Time, err error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.cause != nil:
		return x.cause
	case !errors.Is(err, os.ErrDeadlineExceeded), x.closing:
		return err
	case time.Since(moved) < x.pool.o.ResponseTimeout:
		return nil
	case x.final: // a backend that has answered need not read the rest
		return err
	}
	return x.failLocked(transport.ResponseTimeout, err)
}

// sentAll notes the end of sending, complete or not, and gives the backend its time to answer.
func (x *exchange) sentAll(complete bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.out.sent.Store(complete)
	if x.final || x.cause != nil {
		return
	}
	x.enterLocked(transport.Wait)
	now := time.Now()
	x.until = now.Add(x.pool.o.ResponseTimeout)
	if c := x.c; !c.readUntil.After(now) {
		c.readUntil = x.until
		c.SetReadDeadline(x.until)
	}
}
