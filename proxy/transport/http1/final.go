package http1

import (
	"context"
	"errors"
	"time"

	"pace/proxy/transport"
	"pace/proxy/transport/http1/parse"
)

// awaitFinal reads responses until one is not interim.
func (x *exchange) awaitFinal() error {
	for {
		if err := x.readHead(); err != nil {
			return err
		}
		switch {
		case x.head.Status == 101:
			return x.switched()
		case x.isIdleTimeout():
			return x.failIdleTimeout()
		case x.head.Status >= 200:
			return x.finish()
		}
		if err := x.interim(); err != nil {
			return err
		}
	}
}

// readHead reads one response header into x.head. It notices as early as it can that what comes is not HTTP, or
// too large.
func (x *exchange) readHead() error {
	in, scanned := &x.in, 0
	for {
		p := in.buf[in.pos:in.end]
		if !parse.Plausible(p) {
			return x.fail(transport.Invalid, parse.Malformed("not HTTP/1"))
		}
		n := parse.HeadEnd(p, max(0, scanned-2)) // the read before may have ended within the blank line
		size := n
		if n == 0 { // the header is longer than what has come so far
			size = len(p)
		}
		if size > x.pool.o.MaxHeaderBytes {
			return x.fail(transport.HeaderTooLarge, parse.Malformed("header is too large"))
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

// parseHead parses the block of a response header.
func (x *exchange) parseHead(block []byte) error {
	switch err := x.head.Parse(block); {
	case err == nil:
		return nil
	case errors.Is(err, parse.ErrManyFields):
		return x.fail(transport.HeaderTooLarge, err)
	default:
		return x.fail(transport.Invalid, err)
	}
}

// interim handles a 1xx response other than 101. Framing fields in it mean nothing (RFC 9110 §15.2). But a
// backend that sends them may mean something by them, so the connection is not used again.
func (x *exchange) interim() error {
	if x.interims += int64(x.headSize); x.interims > x.maxInterim() {
		return x.fail(transport.HeaderTooLarge, parse.Malformed("interim responses are too large in sum"))
	}
	x.unclear = x.unclear || x.head.Close || x.head.Chunked || x.head.Length >= 0
	if x.req.On1xx != nil {
		x.req.On1xx(x.head.Status, x.head.Fields)
		x.RepeatPhase()
	}
	if x.head.Status == 100 {
		x.out.proceed()
	}
	return nil
}

// maxInterim returns how many bytes of interim responses may come in all: as many as sixteen of the largest
// headers have, and one more for each byte of the request that was sent. For a resumable upload, the backend
// reports each part that has arrived (104), however many there are, and a part is larger than its report. The
// time for all of them is limited by ResponseTimeout, which they do not extend.
func (x *exchange) maxInterim() int64 {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	return 16*int64(x.pool.o.MaxHeaderBytes) + x.sent
}

// finish begins the body of the final response. It notes what makes the connection unfit for another exchange.
func (x *exchange) finish() error {
	x.in.body.Start(&x.head, x.req.Method, x.pool.o.MaxHeaderBytes)
	if x.head.Status == 204 && (x.head.Chunked || x.head.Length > 0) || x.in.body.EndsWithInput() || !x.head.Lasts() {
		x.unclear = true
	}
	return x.settle()
}

// isIdleTimeout reports whether the response is a 408 about the idle connection: the backend says that no
// request came in time, and sent that before it saw our request. A 408 is about our request instead if the
// backend may have waited for the rest of our body. It may be too if the backend keeps the connection, since an
// application may have chosen this status; so then it is taken for the response unless the request is repeatable.
func (x *exchange) isIdleTimeout() bool {
	if x.head.Status != 408 || x.interims > 0 {
		return false
	}
	x.Mu.Lock()
	defer x.Mu.Unlock()
	mayWait := x.req.HasBody() && x.out.isMidway() // for the rest of the body
	return x.reused && !mayWait && (x.req.Repeatable || !x.head.Lasts())
}

var errIdleTimeout = errors.New("status 408 on a reused connection: the backend gave the idle connection up")

// failIdleTimeout ends the exchange as if the backend had closed the idle connection without a 408.
func (x *exchange) failIdleTimeout() error {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	x.responded = false
	return x.failLocked(transport.Reset, errIdleTimeout)
}

// switched accepts a 101, if the request asked for its protocol, and waits until the whole request is sent. The
// response need not have "Connection: Upgrade", since many backends leave it out. The protocol decides.
func (x *exchange) switched() error {
	x.unclear = true
	x.in.body.Start(&x.head, x.req.Method, x.pool.o.MaxHeaderBytes)
	if !accepts(x.req, x.head.Upgrade) {
		return x.fail(transport.Invalid, parse.Malformed("switch to a protocol that was not asked for"))
	}
	if err := x.awaitSent(); err != nil {
		return err
	}
	return x.settle()
}

// awaitSent waits until the sender is done, if the request has a body and asks for an upgrade. A backend may send
// 101 before it has read the body, or in the moment before we know that the body was sent. Nothing of the new
// protocol may be sent before the body's end (RFC 9110 §7.8). The wait ends when the sending does, and that is
// limited by the body's own timeout and by writes that make no progress.
func (x *exchange) awaitSent() error {
	if x.out.done == nil {
		return nil
	}
	x.out.proceed() // the backend has left out its 100, and still wants the body
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

// settle notes that the final header was read. A response to a request of which no byte was written is not ours:
// the backend sent it for an earlier request.
func (x *exchange) settle() error {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	if x.Cause != nil {
		return x.Cause
	}
	if !x.out.hasBegun() {
		return x.failLocked(transport.Invalid, parse.Malformed("response before the request"))
	}
	x.Final, x.Phase, x.until = true, transport.Receive, time.Time{}
	x.out.cancel()
	return nil
}
