package http1

import (
	"context"
	"errors"
	"time"

	"pace/proxy/transport"
)

// awaitFinal reads responses until one is not interim.
func (x *exchange) awaitFinal() error {
	for {
		if err := x.readHead(); err != nil {
			return err
		}
		switch {
		case x.head.status == 101:
			return x.switched()
		case x.isIdleTimeout():
			return x.failIdleTimeout()
		case x.head.status >= 200:
			return x.finish()
		}
		if err := x.interim(); err != nil {
			return err
		}
	}
}

// readHead reads one response header into x.head.
func (x *exchange) readHead() error {
	in, scanned := &x.in, 0
	for {
		p := in.buf[in.pos:in.end]
		if !plausible(p) {
			return x.fail(transport.Invalid, malformed("not HTTP/1"))
		}
		n := headEnd(p, max(0, scanned-2)) // a blank line may have been cut in two
		size := n
		if n == 0 { // the header is not whole: it is at least as long as what has come
			size = len(p)
		}
		if size > x.pool.o.MaxHeaderBytes {
			return x.fail(transport.HeaderTooLarge, malformed("header is too large"))
		}
		if n > 0 {
			x.headSize = n
			in.pos += n
			return x.parseHead(p[:n])
		}
		scanned = len(p)
		if err := x.fill(); err != nil {
			return x.fail(transport.Reset, err)
		}
	}
}

func (x *exchange) parseHead(block []byte) error {
	switch err := x.head.parse(block); {
	case err == nil:
		return nil
	case errors.Is(err, errManyFields):
		return x.fail(transport.HeaderTooLarge, err)
	default:
		return x.fail(transport.Invalid, err)
	}
}

// interim handles a 1xx response other than 101. Its framing fields mean nothing (RFC 9110 §15.2),
// but whoever sends them is not trusted with another request.
func (x *exchange) interim() error {
	if x.interims += int64(x.headSize); x.interims > x.mostInterim() {
		return x.fail(transport.HeaderTooLarge, malformed("interim responses are too large in sum"))
	}
	x.unclear = x.unclear || x.head.close || x.head.chunked || x.head.length >= 0
	if x.req.On1xx != nil {
		x.req.On1xx(x.head.status, x.head.fields)
		x.repeatPhase()
	}
	if x.head.status == 100 {
		x.out.proceed()
	}
	return nil
}

// mostInterim is how many bytes of interim responses may come: as many as sixteen of the largest headers,
// and one more for each byte of the request that the backend took. A resumable upload is told of each
// part that has arrived (104), however many there are, and a part is larger than its response. In time
// they are bounded by ResponseTimeout, which they do not extend.
func (x *exchange) mostInterim() int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return 16*int64(x.pool.o.MaxHeaderBytes) + x.sent
}

// finish begins the body of the final response.
func (x *exchange) finish() error {
	x.in.start(&x.head, x.req.Method, x.pool.o.MaxHeaderBytes)
	if x.head.status == 204 && (x.head.chunked || x.head.length > 0) || x.in.step == untilEOF || !x.head.lasts() {
		x.unclear = true
	}
	return x.settle()
}

// isIdleTimeout reports whether the response is a 408 that says "no request came in time" about a
// connection that had been idle: the backend sent it before it saw our request. It is not, if the backend
// may have waited for the rest of our body, or if it keeps the connection and the request cannot be
// repeated: then an application may have chosen this status.
func (x *exchange) isIdleTimeout() bool {
	if x.head.status != 408 || x.interims > 0 {
		return false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	mayWait := x.req.HasBody() && x.out.isMidway() // for the rest of the body
	return x.reused && !mayWait && (x.req.Repeatable || !x.head.lasts())
}

var errIdleTimeout = errors.New("status 408 on a reused connection: the backend gave the idle connection up")

// failIdleTimeout ends the exchange as if the backend had closed the idle connection without a word.
func (x *exchange) failIdleTimeout() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.answered = false
	return x.failLocked(transport.Reset, errIdleTimeout)
}

// switched accepts a 101 that was asked for, after the whole request was sent. It need not say
// "Connection: Upgrade", which many a backend forgets; the protocol is what matters.
func (x *exchange) switched() error {
	x.unclear = true
	x.in.start(&x.head, x.req.Method, x.pool.o.MaxHeaderBytes)
	if !accepts(x.req, x.head.upgrade) {
		return x.fail(transport.Invalid, malformed("switch to a protocol that was not asked for"))
	}
	if err := x.awaitSent(); err != nil {
		return err
	}
	return x.settle()
}

// awaitSent waits until the sender is done, when the request has a body and asks for an upgrade. A backend
// may say 101 before it has read the body, or in the moment before we know that it was sent: nothing of
// the new protocol may go out before the body's end (RFC 9110 §7.8). The wait is bounded as the sending is:
// by the client's body and by the backend taking it.
func (x *exchange) awaitSent() error {
	if x.out.done == nil {
		return nil
	}
	x.out.proceed() // it has skipped its 100, and wants the body all the same
	select {
	case <-x.out.done:
	case <-x.ctx.Done():
		return x.fail(transport.Canceled, context.Cause(x.ctx))
	}
	if x.out.now() != sent {
		return x.fail(transport.Reset, errBeforeSwitch)
	}
	return nil
}

var errBeforeSwitch = errors.New("connection lost between the 101 and the end of the request's body")

// settle marks the final header. An answer to a request of which no byte was written is
// somebody else's.
func (x *exchange) settle() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cause != nil {
		return x.cause
	}
	if !x.out.hasBegun() {
		return x.failLocked(transport.Invalid, malformed("response before the request"))
	}
	x.final, x.phase, x.until = true, transport.Receive, time.Time{}
	x.out.cancel()
	return nil
}
