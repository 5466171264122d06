package http2

import (
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"time"

	"pace/proxy/transport"
	"pace/proxy/transport/http2/header"
)

// expectDelay is how long a body that Expect holds back waits for 100.
const expectDelay = time.Second

// upload sends the request's body. It takes these steps as long as there is more:
//
//	read ──▶ put ──▶ read ──▶ … ──▶ put, with the end of the stream
//	          │ ▲
//	  no room │ │ wake
//	          └─┘
//
// Do's goroutine takes those for which nothing has to be waited for. So the message of a unary call goes out with its
// header. If there are more, a goroutine of its own takes them. What was put is written when it is much, or before a step
// that may have to wait.
type upload struct {
	x    *exchange
	wake chan struct{} // that something has happened for which the goroutine that sends may wait

	// These are used by the goroutine that sends.
	left     int64  // bytes that are to be read; -1: unknown
	buf      []byte // nil: none
	from, to int    // what of it was read, and not put yet
	last     int    // bytes of the last piece that was read
	holds    bool   // buf[:to] is all that was read so far
	ended    bool   // there is no more to read
	trailer  header.Rendered

	// exchange.Mu guards these.
	begun   bool // the first Body.Read has begun: nothing holds the body back any more
	reading bool // Body.Read is in progress
	sent    bool // the whole request was queued
	closed  bool // no more of it is needed
	proceed bool // a 100 has come
}

// A body is read into a small array, so that a stream that sends little holds no large one, and into a large one after it
// has filled a small one.
const (
	smallUpload = 4 << 10
	largeUpload = 64 << 10
)

var (
	smallUploads = sync.Pool{New: func() any { return new([smallUpload]byte) }}
	largeUploads = sync.Pool{New: func() any { return new([largeUpload]byte) }}
)

func (u *upload) begin() {
	u.left, u.from, u.to, u.last, u.holds, u.ended, u.trailer.Size = u.x.req.ContentLength, 0, 0, 0, true, false, 0
	u.begun, u.reading, u.sent, u.closed, u.proceed = false, false, false, false, false
}

// end gives back what is held.
func (u *upload) end() {
	switch len(u.buf) {
	case smallUpload:
		smallUploads.Put((*[smallUpload]byte)(u.buf))
	case largeUpload:
		largeUploads.Put((*[largeUpload]byte)(u.buf))
	}
	u.buf = nil
}

// fit prepares an array for the next piece, of a size that goes by the last one. As long as all that was read fits into
// it, the next piece comes behind that, so that it can be given back.
func (u *upload) fit() {
	if u.buf != nil && u.to == len(u.buf) && !u.mayGrow() {
		u.holds = false
	}
	if !u.holds {
		u.from, u.to = 0, 0
	}
	switch {
	case u.buf == nil:
		u.buf = smallUploads.Get().(*[smallUpload]byte)[:]
	case len(u.buf) == smallUpload && (u.last == smallUpload || u.to == smallUpload):
		large := largeUploads.Get().(*[largeUpload]byte)[:]
		copy(large, u.buf[:u.to])
		u.end()
		u.buf = large
	case len(u.buf) == largeUpload && !u.holds && u.last <= smallUpload:
		u.end()
		u.buf = smallUploads.Get().(*[smallUpload]byte)[:]
	}
}

// mayGrow reports whether what has filled an array goes on in a large one. A stream that sends little at a time holds none.
func (u *upload) mayGrow() bool {
	length := u.x.req.ContentLength
	return len(u.buf) == smallUpload && (u.last == smallUpload || 0 <= length && length <= largeUpload)
}

// giveBack gives back what was read, if the backend has not processed the request and all of that is still here. Nobody
// sends the body any more.
func (u *upload) giveBack() {
	x := u.x
	x.Mu.Lock()
	defer x.Mu.Unlock()
	if x.Cause != nil && x.Cause.Kind.NotProcessed() && u.holds && u.to > 0 && x.req.TakeBack != nil {
		x.req.TakeBack(u.buf[:u.to])
	}
}

// start sends the body as far as nothing has to be waited for, and begins to send the rest.
func (u *upload) start() {
	x := u.x
	if !x.req.HasBody() {
		x.Mu.Lock()
		u.sentLocked()
		x.Mu.Unlock()
		x.c.flush()
		return
	}
	over := !x.req.Expect && u.isThere() && u.send(false)
	x.c.flush()
	if !over {
		x.bind()
		x.running.Go(func() {
			defer x.c.flush()
			if u.mayProceed() {
				u.send(true)
			}
		})
	}
}

// send takes the steps. It returns false if it would have to wait for the next one, and may not.
func (u *upload) send(mayWait bool) (over bool) {
	x := u.x
	defer func() {
		if p := recover(); p != nil {
			x.fail(transport.Panicked, fmt.Errorf("%v\n%s", p, debug.Stack()))
			over = true
		}
	}()
	for u.read() {
		for !u.put() {
			if !mayWait {
				return false
			}
			<-u.wake
		}
		if u.isOver() {
			return true
		}
		if !u.isThere() {
			if !mayWait {
				return false
			}
			x.c.flush()
		}
	}
	return true
}

// isThere reports whether more of the body can be read without waiting for the client.
func (u *upload) isThere() bool { return u.x.req.BodyReady != nil && u.x.req.BodyReady() }

var (
	errBodyLong  = transport.NewFault("body is longer than its content length")
	errBodyShort = transport.NewFault("body is shorter than its content length")
)

// read reads a piece of the body, unless one is still to be put. It returns false if no more of it is needed.
func (u *upload) read() bool {
	if u.from < u.to || u.ended {
		return true
	}
	if !u.beginRead() {
		return false
	}
	n, err := u.fill()
	u.endRead()
	return u.took(n, err)
}

// beginRead notes that Body.Read begins, unless no more of the body is needed.
func (u *upload) beginRead() bool {
	x := u.x
	x.Mu.Lock()
	defer x.Mu.Unlock()
	if u.closed {
		return false
	}
	u.begun, u.reading = true, true
	u.holds = u.holds && !x.Final // once there is a response, the backend has processed the request
	x.enterIdleLocked(transport.ReadRequest)
	return true
}

// fill reads until the buffer is full, or more would have to be waited for. There is room for one byte more than is due,
// so that a body that is too long shows.
func (u *upload) fill() (n int, err error) {
	u.fit()
	b := u.buf[u.to:]
	if 0 <= u.left && u.left < int64(len(b)) { // it comes from the wire, so the sum could overflow
		b = b[:u.left+1]
	}
	body := u.x.req.Body
	for n, err = body.Read(b); err == nil && n < len(b) && int64(n) != u.left && u.isThere(); {
		var more int
		more, err = body.Read(b[n:])
		n += more
	}
	return n, err
}

// endRead notes that nobody reads the body any more.
func (u *upload) endRead() {
	x := u.x
	x.Mu.Lock()
	defer x.Mu.Unlock()
	u.reading = false
	x.enterDueLocked(transport.Send)
}

// took notes what was read. It returns false if that ends the exchange.
func (u *upload) took(n int, err error) bool {
	x := u.x
	u.from, u.to, u.last = u.to, u.to+n, n
	if u.left >= 0 {
		if u.left -= int64(n); u.left < 0 {
			u.fail(errBodyLong)
			return false
		}
	}
	switch {
	case err == nil:
		u.ended = u.left == 0 && x.req.Trailer == nil
		return true
	case err != io.EOF:
		u.fail(err)
		return false
	case u.left > 0:
		u.fail(errBodyShort)
		return false
	}
	u.ended = true
	if x.req.Trailer != nil {
		u.trailer.RenderTrailer(x.req.Trailer())
	}
	return true
}

// fail ends the exchange because of its body, unless Body.Read was made to fail. A response that is whole is one all the
// same.
func (u *upload) fail(err error) {
	x := u.x
	x.Mu.Lock()
	defer x.Mu.Unlock()
	if x.body.ended {
		u.closeLocked()
	} else if !u.closed {
		x.failLocked(transport.RequestBody, err)
	}
}

// put queues what was read. It returns false if there is no room for all of it: then wake says when there may be.
func (u *upload) put() bool {
	x := u.x
	x.Mu.Lock()
	defer x.Mu.Unlock()
	if u.closed {
		return true
	}
	if !x.c.put(u) {
		return false
	}
	if u.ended {
		u.sentLocked()
	}
	return true
}

// sentLocked notes that the whole request was queued. x.Mu is held.
func (u *upload) sentLocked() {
	u.sent = true
	u.x.enterDueLocked(transport.Wait)
}

// put queues what u has read. It returns false if there is no room for all of it, or the connection has ended: then the
// exchange is about to learn of it.
func (c *conn) put(u *upload) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return false
	}
	hasTrailer := u.ended && u.trailer.Size > 0
	if u.from < u.to || u.ended && !hasTrailer {
		u.from += c.queueBody(u.x, u.buf[u.from:u.to], u.ended && !hasTrailer)
	}
	switch {
	case u.from < u.to:
		c.out.blocked = append(c.out.blocked, u)
		c.flushLocked()
		return false
	case hasTrailer:
		c.queueHeader(u.x, u.trailer.Bytes, true)
	case len(c.out.bytes) >= maxWaiting/4:
		c.flushLocked()
	}
	return true
}

// isOver reports whether no more is to be sent.
func (u *upload) isOver() bool {
	u.x.Mu.Lock()
	defer u.x.Mu.Unlock()
	return u.sent || u.closed
}

// mayProceed holds the body back until a 100 has come, as long as Expect asks for, or for ever if the final response came
// first. It returns whether the body is to be sent.
func (u *upload) mayProceed() bool {
	x := u.x
	x.Mu.Lock()
	defer x.Mu.Unlock()
	if !x.req.Expect {
		return true
	}
	x.enterIdleLocked(transport.Wait)
	late := time.NewTimer(expectDelay)
	defer late.Stop()
	isLate := false
	for !u.proceed && !u.closed && (!isLate || x.Final) {
		x.Mu.Unlock()
		select {
		case <-u.wake:
		case <-late.C:
			isLate = true
		}
		x.Mu.Lock()
	}
	return !u.closed
}

// goAhead lets a body be sent that Expect holds back.
func (u *upload) goAhead() {
	u.x.Mu.Lock()
	defer u.x.Mu.Unlock()
	u.proceed = true
	u.signal()
}

// signal wakes the goroutine that sends, or keeps it from waiting the next time.
func (u *upload) signal() {
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// closeLocked has no more of the body sent. x.Mu is held.
func (u *upload) closeLocked() {
	if u.closed {
		return
	}
	u.closed = true
	u.signal()
	u.interruptLocked()
}

// interruptLocked makes a Body.Read in progress return. x.Mu is held.
func (u *upload) interruptLocked() {
	if u.reading && u.x.req.StopBody != nil {
		u.x.req.StopBody()
	}
}
