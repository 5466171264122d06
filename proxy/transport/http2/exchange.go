package http2

import (
	"cmp"
	"context"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"pace/proxy/transport"
	"pace/proxy/transport/http2/header"
)

// exchange is the state of one request and its response, behind a [transport.Response]. The package comment says which
// goroutines use it. One exchange value serves many requests, one after the other.
type exchange struct {
	pool   *Pool // nil: no exchange
	req    *transport.Request
	ctx    context.Context
	serial int         // of the request
	unbind func() bool // has the end of ctx not looked after any more; nil: it is not
	header header.Rendered
	wake   chan struct{} // that something has happened for which Do's goroutine may wait
	upload upload

	running sync.WaitGroup // the goroutine that sends the body, if there is one
	timer   *time.Timer    // nil before the first time that something was due

	transport.Course           // its Mu guards what follows, too
	fires            time.Time // when the timer does, if that is to come
	body             incoming
	interims         interims
	shared
	sending
}

// shared is what several goroutines use. exchange.Mu guards it.
type shared struct {
	c         *conn
	id        uint32        // of the stream; 0: it was not opened
	code      http2.ErrCode // what the stream is reset with; NO_ERROR: what the way it ends asks for
	reused    bool          // c was there before
	renewed   bool          // a connection that it has waited for ended at once, and it waits for another one
	responded bool          // a header has come
	over      bool          // the caller is done with it: nothing of the caller's may be touched
	isReset   bool          // the backend has reset the stream, or ended the connection
	until     time.Time     // when the backend's time is up; zero: it does not run
}

// sending is how far the request was sent. conn.mu guards it while the stream is open.
type sending struct {
	window int64 // how much of the body may still be sent
	sent   int64 // bytes of the request
	from   int64 // bytes that were queued on the connection before the request
	to     int64 // and up to the last one of it so far
	heard  int64 // frames that had come on the connection before the request
	seen   seen
}

// Do sends req and reads the response up to the end of its header. The body is then read through resp. The error is
// always a [*transport.Error], and resp then needs no Close. One Do puts at most one request on the wire: another
// connection is used only while not a byte was written.
func (p *Pool) Do(ctx context.Context, req *transport.Request, resp *transport.Response) error {
	x, ok := resp.Exchange.(*exchange)
	if !ok {
		x = newExchange()
		resp.Exchange = x
	}
	x.begin(ctx, p, req)
	err := x.run()
	if err == nil {
		err = x.awaitFinal(resp)
	}
	if err != nil {
		defer func() {
			resp.Close()
			x.Cause.BytesSent = resp.BytesSent
		}()
		return x.Raise(err)
	}
	return nil
}

func newExchange() *exchange {
	x := &exchange{wake: make(chan struct{}, 1)}
	x.upload.x, x.upload.wake = x, make(chan struct{}, 1)
	return x
}

// begin resets x for a request. Somebody who has found x by a stream that has ended may still look at it.
func (x *exchange) begin(ctx context.Context, p *Pool, req *transport.Request) {
	if x.pool != nil {
		panic("pace: BUG: transport.Response used again before Close")
	}
	x.Mu.Lock()
	defer x.Mu.Unlock()
	x.pool, x.req, x.ctx, x.unbind = p, req, ctx, nil
	x.serial++
	x.shared, x.sending = shared{}, sending{}
	x.Course.Begin(req)
	x.upload.begin()
	x.body.begin()
	x.interims.begin()
}

// run sends the request, as far as it need not wait for that.
func (x *exchange) run() error {
	if !header.Fits(x.req) {
		return x.fail(transport.RequestBody, transport.ErrUnfit)
	}
	if x.ctx.Err() != nil {
		return x.fail(transport.Canceled, context.Cause(x.ctx))
	}
	if x.header.Render(x.req, x.pool.scheme); x.header.Unfit {
		return x.fail(transport.RequestBody, transport.ErrUnfit)
	}
	for tries := 1; ; tries++ {
		c, reused, err := x.pool.acquire(x)
		if err != nil {
			return err
		}
		switch opened, err := x.open(c, reused); {
		case err != nil:
			return err
		case opened:
			x.upload.start()
			return nil
		case tries == maxTries:
			return x.failOn(c, transport.Reset, cmp.Or(c.why(), errGone))
		}
		x.letGo()
	}
}

// maxTries is how many connections that end at that moment a request may meet.
const maxTries = 3

// open opens a stream on c. It returns false if c takes no more of them.
func (x *exchange) open(c *conn, reused bool) (bool, error) {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	x.c, x.reused = c, reused
	if x.Cause != nil {
		return false, x.Cause
	}
	if !c.takes(x.header.Size) {
		return false, x.failLocked(transport.RequestBody, transport.ErrUnfit)
	}
	if !c.open(x, x.header.Bytes, !x.req.HasBody()) {
		return false, nil
	}
	x.enterDueLocked(transport.Send)
	return true, nil
}

// awaitFinal waits for the final header, and copies it into resp. Interim responses are passed on meanwhile.
func (x *exchange) awaitFinal(resp *transport.Response) error {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	for {
		switch {
		case x.interims.areThere():
			x.passOnLocked()
		case x.Cause != nil && (!x.Final || x.Cause.Kind != transport.Truncated):
			return x.Cause
		case x.Final:
			h := &x.body.head
			h.Reused, h.Remote, h.BytesSent = x.reused, x.c.remote, x.sentBytes()
			resp.Begin(h, x.pool.o.BodyTimeout)
			return nil
		default:
			x.waitLocked()
		}
	}
}

// waitLocked waits until something happens. x.Mu is held, but not while it waits.
func (x *exchange) waitLocked() {
	x.Mu.Unlock()
	select {
	case <-x.wake:
		x.Mu.Lock()
	case <-x.ctx.Done():
		x.Mu.Lock()
		x.failLocked(transport.Canceled, context.Cause(x.ctx))
	}
}

// bind has the end of ctx end the exchange also while nobody waits for it: a goroutine sends the body, and Do's may be
// waiting for a client that takes the response slowly.
func (x *exchange) bind() {
	serial := x.serial
	x.unbind = context.AfterFunc(x.ctx, func() {
		x.Mu.Lock()
		defer x.Mu.Unlock()
		if x.serial == serial && !x.over {
			x.failLocked(transport.Canceled, context.Cause(x.ctx))
		}
	})
}

// signal wakes Do's goroutine, or keeps it from waiting the next time.
func (x *exchange) signal() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// letGo gives the connection back.
func (x *exchange) letGo() {
	x.Mu.Lock()
	c := x.c
	if c != nil {
		c.forget(x)
		x.c = nil
	}
	x.Mu.Unlock()
	if c != nil {
		x.pool.leave(c)
	}
}

// Close implements [transport.Exchange].
func (x *exchange) Close(r *transport.Response) error {
	if x.pool == nil {
		return nil
	}
	x.stop()
	x.running.Wait()
	x.upload.giveBack()
	r.BytesSent = x.bytesSent()
	x.letGo()
	bug := x.Bug()
	x.Mu.Lock()
	defer x.Mu.Unlock()
	x.upload.end()
	x.body.end()
	x.pool, x.req, x.ctx = nil, nil, nil
	return bug
}

// stop ends the stream, unless both sides have, and has nobody read the request's body any more.
func (x *exchange) stop() {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	if x.unbind != nil {
		x.unbind()
	}
	if x.upload.closed { // the caller may be in more of a hurry than when the body was stopped
		x.upload.interruptLocked()
	}
	x.upload.closeLocked()
	x.over = true
	x.EndLocked()
	x.stopLocked()
	if x.id == 0 || x.isReset || x.body.ended && x.upload.sent {
		return
	}
	x.c.reset(x, x.resetCode())
}

// resetCode returns what the stream is reset with.
func (x *exchange) resetCode() http2.ErrCode {
	switch {
	case x.code != http2.ErrCodeNo:
		return x.code
	case x.body.ended: // the backend does not want the rest of the request
		return http2.ErrCodeNo
	}
	return http2.ErrCodeCancel
}

// Interrupt implements [transport.Exchange].
func (x *exchange) Interrupt() { x.fail(transport.Canceled, errInterrupted) }

var errInterrupted = transport.NewFault("interrupted by the caller")

// fail ends the exchange for this reason, unless it has ended already. It returns the reason that came first.
func (x *exchange) fail(k transport.Kind, err error) error {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	return x.failLocked(k, err)
}

// failOn is fail where the connection was not x's yet.
func (x *exchange) failOn(c *conn, k transport.Kind, err error) error {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	failed := x.failLocked(k, err)
	x.Cause.Remote, x.Cause.Version = c.remote, version
	return failed
}

func (x *exchange) failLocked(k transport.Kind, err error) error {
	if x.Cause != nil {
		return x.Cause
	}
	x.Cause = &transport.Error{Kind: k, Phase: x.Phase, Reused: x.reused, Responded: x.responded, Err: err}
	if x.c != nil {
		x.Cause.Remote, x.Cause.Version, x.Cause.BytesSent = x.c.remote, version, x.sentBytes()
	}
	x.stopLocked()
	x.upload.closeLocked()
	x.signal()
	return x.Cause
}

// sentBytes returns how many bytes of the request were sent. x.Mu is held.
func (x *exchange) sentBytes() int64 {
	if x.c == nil {
		return x.sent
	}
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	return x.sent
}

func (x *exchange) bytesSent() int64 {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	return x.sentBytes()
}

func (x *exchange) responseTimeout() time.Duration {
	return cmp.Or(x.req.ResponseTimeout, x.pool.o.ResponseTimeout)
}
