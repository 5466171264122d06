package http2

import (
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"golang.org/x/net/http/httpguts"

	"pace/proxy/frames"
	"pace/proxy/transport"
)

// expectDelay is how long a body that Expect holds back waits for 100.
const expectDelay = time.Second

// upload is the request's body, as net/http's goroutine that sends it reads it. It is a wrapper around the caller's,
// which nobody touches any more when Close of the response has returned.
//
// exchange.mu guards its fields.
type upload struct {
	x       *exchange
	left    int64         // bytes that are to come; -1: unknown
	begun   bool          // net/http asked for the body: the header was written
	reading bool          // Body.Read is in progress
	sent    bool          // the whole request was written
	closed  bool          // net/http needs no more of it
	done    bool          // net/http has closed it, and touches it no more
	proceed bool          // a 100 has come
	changed chan struct{} // closed when closed or proceed is set, or the exchange has ended; nil: nobody waits
	read    chan struct{} // closed when reading ends; nil: nobody waits
}

func (u *upload) begin() {
	*u = upload{x: u.x, left: u.x.req.ContentLength}
}

// isSentLocked reports whether the whole request was written, and nobody reads the body. x.Mu is held.
func (u *upload) isSentLocked() bool { return u.sent && !u.reading }

// hasBegun reports whether the backend has the header, and something of the body is due. x.Mu is held.
func (u *upload) hasBegun() bool { return u.begun }

var (
	errBodyLong  = transport.NewFault("body is longer than its content length")
	errBodyShort = transport.NewFault("body is shorter than its content length")
	errNotNeeded = transport.NewFault("no more of the body is needed")
)

// Read implements io.Reader. That net/http asks for more means that all before was written.
func (u *upload) Read(b []byte) (n int, err error) {
	x := u.x
	defer func() {
		if p := recover(); p != nil {
			n, err = 0, x.fail(transport.Panicked, fmt.Errorf("%v\n%s", p, debug.Stack()))
		}
	}()
	u.expect()
	if err := u.beginRead(); err != nil {
		return 0, err
	}
	defer u.endRead()
	n, err = x.req.Body.Read(b)
	for err == nil && n < min(len(b), frames.MaxHeld) && u.isThere() {
		var more int
		more, err = x.req.Body.Read(b[n:])
		n += more
	}
	return n, u.took(n, err)
}

// isThere reports whether more of the body can be read without waiting for the client.
func (u *upload) isThere() bool { return u.x.req.BodyReady != nil && u.x.req.BodyReady() }

// isThereLocked reports whether net/http sends more of the body without waiting for anything but the backend's window.
// x.Mu is held.
func (u *upload) isThereLocked() bool {
	x := u.x
	return !x.over && x.req.HasBody() && (u.proceed || !x.req.Expect) && u.isThere()
}

// expect sends what was written before, unless more of the body is there.
func (u *upload) expect() {
	x := u.x
	x.Mu.Lock()
	c, more := x.c, u.isThereLocked()
	if c != nil {
		c.expect(x, more)
	}
	x.Mu.Unlock()
	if c != nil && !more {
		c.sendUnlessMore()
	}
}

// expectEnd notes that the end of the stream follows at once.
func (u *upload) expectEnd() {
	x := u.x
	x.Mu.Lock()
	defer x.Mu.Unlock()
	if x.c != nil {
		x.c.expect(x, true)
	}
}

// beginRead waits until the body may be read. It returns why it must not be.
func (u *upload) beginRead() error {
	x := u.x
	x.Mu.Lock()
	defer x.Mu.Unlock()
	if !u.begun && x.req != nil && x.req.Expect {
		u.awaitLocked()
	}
	if x.over || u.closed || x.Cause != nil {
		return errNotNeeded
	}
	u.begun, u.reading = true, true
	x.EnterLocked(transport.ReadRequest)
	if !x.Final {
		x.stopLocked()
	}
	return nil
}

// awaitLocked holds the body back until a 100 has come, as long as Expect asks for, or for ever if the final response
// came first. x.Mu is held, but not while it waits.
func (u *upload) awaitLocked() {
	x := u.x
	x.EnterLocked(transport.Wait)
	x.stopLocked()
	late := time.NewTimer(expectDelay)
	defer late.Stop()
	isLate := false
	for !u.proceed && !u.closed && !x.over && x.Cause == nil && (!isLate || x.Final) {
		changed := make(chan struct{})
		u.changed = changed
		x.Mu.Unlock()
		select {
		case <-changed:
		case <-late.C:
			isLate = true
		}
		x.Mu.Lock()
	}
}

// endRead notes that nobody reads the body any more.
func (u *upload) endRead() {
	x := u.x
	x.Mu.Lock()
	defer x.Mu.Unlock()
	u.reading = false
	if u.read != nil {
		close(u.read)
		u.read = nil
	}
	x.EnterLocked(transport.Send)
	if !x.Final {
		x.startLocked(x.responseTimeout())
	}
}

// took notes what was read. It returns the error for net/http.
func (u *upload) took(n int, err error) error {
	x := u.x
	if u.left >= 0 {
		if u.left -= int64(n); u.left < 0 {
			return x.fail(transport.RequestBody, errBodyLong)
		}
	}
	switch {
	case err == nil:
		return nil
	case err != io.EOF:
		if !u.isClosed() {
			x.fail(transport.RequestBody, err)
		}
		return err
	case u.left > 0:
		return x.fail(transport.RequestBody, errBodyShort)
	}
	u.expectEnd()
	if x.req.Trailer != nil {
		setTrailer(x.trailer, x.req.Trailer())
	}
	return io.EOF
}

// isClosed reports whether a Read that fails may have been made to.
func (u *upload) isClosed() bool {
	u.x.Mu.Lock()
	defer u.x.Mu.Unlock()
	return u.closed
}

// setTrailer sets the fields of h in the trailer of a request, without those that may not stand in one. net/http reads it
// on this goroutine when the body has ended, and does not look at what is in it.
func setTrailer(trailer, h map[string][]string) {
	for name, values := range h {
		if !mayTrail(name) {
			continue
		}
		kept := make([]string, 0, len(values))
		for _, v := range values {
			if httpguts.ValidHeaderFieldValue(v) {
				kept = append(kept, v)
			}
		}
		trailer[name] = kept
	}
}

// Close implements io.Closer: net/http needs no more of the body.
func (u *upload) Close() error {
	u.interrupt()
	u.x.Mu.Lock()
	defer u.x.Mu.Unlock()
	u.done = true
	return nil
}

func (u *upload) isDone() bool {
	u.x.Mu.Lock()
	defer u.x.Mu.Unlock()
	return u.done
}

// interrupt ends the upload, because the stream or its context has ended. net/http notices both only once a Read in
// progress has returned, and the client may have nothing to send for hours. It may be called late, when the exchange is
// over.
func (u *upload) interrupt() {
	x := u.x
	x.Mu.Lock()
	defer x.Mu.Unlock()
	u.closed = true
	u.wakeLocked()
	if u.reading && !x.over && x.req.StopBody != nil {
		x.req.StopBody()
	}
}

// wakeLocked wakes who holds the body back. x.Mu is held.
func (u *upload) wakeLocked() {
	if u.changed != nil {
		close(u.changed)
		u.changed = nil
	}
}

// goAhead lets a body be sent that Expect holds back.
func (u *upload) goAhead() {
	u.x.Mu.Lock()
	defer u.x.Mu.Unlock()
	u.proceed = true
	u.wakeLocked()
}

// stop returns when nobody reads the caller's body any more, nor will.
func (u *upload) stop() {
	x := u.x
	x.Mu.Lock()
	u.closed = true
	u.wakeLocked()
	var read chan struct{}
	if u.reading {
		read = make(chan struct{})
		u.read = read
	}
	x.Mu.Unlock()
	if read != nil {
		if x.req.StopBody != nil {
			x.req.StopBody()
		}
		<-read
	}
}
