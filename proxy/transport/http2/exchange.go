package http2

import (
	"cmp"
	"context"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"

	"pace/proxy/transport"
)

// exchange is the state of one request and its response, behind a [transport.Response]. The package comment says which
// goroutines use it. One exchange value serves many requests, one after the other, as long as each ends so that nobody
// can touch it any more.
type exchange struct {
	pool   *Pool // nil: no exchange
	req    *transport.Request
	ctx    context.Context // of the stream: ends with the caller's, or when the exchange fails
	cancel context.CancelFunc
	unbind func() bool // has the end of ctx not interrupt the upload any more; nil: there is none
	trace  httptrace.ClientTrace

	url     url.URL
	header  http.Header
	trailer http.Header // of the request
	upload  upload
	hints   hints
	body    incoming

	id    uint32 // of the stream; 0: its header was never written
	wire         // guarded by conn.mu, once the stream is open
	heard int64  // frames that had come on the connection when the stream was opened

	follows int64 // the conn.round in which a frame of it follows at once; 0: none does. Guarded by conn.mu.

	timer   *time.Timer // nil before the first time that something was due
	onTimer func()

	wrote            sync.Cond // that headerOut is set
	transport.Course           // its Mu guards what follows, too
	fires            time.Time // when the timer does, if that is to come
	shared
}

// shared is what several goroutines use.
type shared struct {
	c         *conn
	reused    bool      // c was there before
	renewed   bool      // a connection that it has waited for ended at once, and it waits for another one
	responded bool      // a header has come
	headerOut bool      // the header of the request was written, and its stream is known
	over      bool      // the caller is done with it: nothing of the caller's may be touched
	until     time.Time // when the backend's time is up; zero: it does not run
	seen      int64     // bytes sent when the time began
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
	res, err := x.run()
	if err == nil {
		err = x.respond(res, resp)
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
	x := &exchange{header: http.Header{}}
	x.upload.x, x.hints.x = x, x
	x.wrote.L = &x.Mu
	x.onTimer = x.timeUp
	x.trace = httptrace.ClientTrace{
		WroteHeaders: x.wroteHeader, WroteRequest: x.wroteRequest, GotFirstResponseByte: x.gotHeader, Got1xxResponse: x.gotInterim,
	}
	return x
}

// begin resets x for a request.
func (x *exchange) begin(ctx context.Context, p *Pool, req *transport.Request) {
	if x.pool != nil {
		panic("pace: BUG: transport.Response used again before Close")
	}
	x.pool, x.req = p, req
	x.id, x.wire, x.follows, x.shared = 0, wire{}, 0, shared{}
	x.Course.Begin(req)
	x.upload.begin()
	x.hints.begin()
	x.body.begin()
	ctx, x.cancel = context.WithCancel(ctx)
	x.ctx = httptrace.WithClientTrace(ctx, &x.trace)
	x.unbind = nil
	if req.HasBody() {
		x.unbind = context.AfterFunc(ctx, x.upload.interrupt)
	}
}

// run makes the exchange up to its final header.
func (x *exchange) run() (*http.Response, error) {
	if !fit(x.req) {
		return nil, x.fail(transport.RequestBody, transport.ErrUnfit)
	}
	if x.ctx.Err() != nil {
		return nil, x.fail(transport.Canceled, context.Cause(x.ctx))
	}
	for tries := 1; ; tries++ {
		c, reused, err := x.pool.acquire(x)
		if err != nil {
			return nil, err
		}
		if err := x.use(c, reused); err != nil {
			c.http.Release()
			return nil, err
		}
		res, err := c.http.RoundTrip(x.request())
		if err == nil {
			x.hints.wait()
			return res, nil
		}
		if tries < maxTries && x.isUnsent() {
			x.letGo()
			x.Mu.Lock()
			x.upload.begin() // net/http has closed it
			x.headerOut = false
			x.Mu.Unlock()
			continue
		}
		err = x.failed(c, err)
		x.hints.wait()
		return nil, err
	}
}

// maxTries is how many connections that end at that moment a request may meet.
const maxTries = 3

// isUnsent reports whether the request was not written although the connection was good before. Most likely it ended at
// that moment. Then the request goes on another one.
func (x *exchange) isUnsent() bool {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	return x.reused && x.Cause == nil && x.ctx.Err() == nil && x.id == 0
}

// use makes c the exchange's connection.
func (x *exchange) use(c *conn, reused bool) error {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	x.c, x.reused = c, reused
	if x.Cause != nil {
		return x.Cause
	}
	c.expect(x, true)
	x.EnterLocked(transport.Send)
	x.startLocked(x.responseTimeout())
	return nil
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

// respond notes the final header, and copies it into resp.
func (x *exchange) respond(res *http.Response, resp *transport.Response) error {
	x.body.open(x, res)
	h, err := x.head(res)
	if err != nil {
		return err
	}
	x.Mu.Lock()
	if x.Cause != nil {
		defer x.Mu.Unlock()
		return x.Cause
	}
	for !x.headerOut { // the response is there before the callback has run
		x.wrote.Wait()
	}
	x.Final, x.Phase = true, transport.Receive
	x.stopLocked()
	h.Reused, h.Remote, h.BytesSent = x.reused, x.c.remote, x.sentBytes()
	x.Mu.Unlock()
	resp.Begin(h, x.pool.o.BodyTimeout)
	return nil
}

// Close implements [transport.Exchange].
func (x *exchange) Close(r *transport.Response) error {
	if x.pool == nil {
		return nil
	}
	clean := x.endStream()
	r.BytesSent = x.bytesSent()
	x.letGo()
	bug := x.Bug()
	if x.unbind != nil && !x.unbind() {
		clean = false
	}
	x.Mu.Lock()
	defer x.Mu.Unlock()
	x.over = true
	x.EndLocked()
	x.body.end()
	x.stopLocked()
	x.cancel()
	x.pool, x.req, x.ctx = nil, nil, nil
	if clean {
		clear(x.header)
		x.trailer = nil
	} else { // net/http may still use it
		r.Exchange = nil
		if x.timer != nil {
			x.timer.Stop()
		}
	}
	return bug
}

// endStream ends the stream, unless it has ended, and waits until nobody reads the request's body any more. It reports
// whether nobody else can touch x any more.
func (x *exchange) endStream() (clean bool) {
	x.Mu.Lock()
	whole := x.Cause == nil && x.Final && x.upload.isSentLocked()
	x.Mu.Unlock()
	if whole && x.body.isWhole() {
		// This returns when net/http's goroutine for the stream has ended, unless the context ends before, or the response
		// has no body. Then RoundTrip has waited for the goroutine, unless the request has one.
		x.body.closes.close()
		return x.ctx.Err() == nil && (!x.req.HasBody() || x.upload.isDone())
	}
	x.cancel()
	x.Mu.Lock()
	x.body.wake()
	x.Mu.Unlock()
	x.upload.stop()
	return false
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
	if x.over {
		return x.Cause
	}
	x.stopLocked()
	x.cancel()
	x.upload.wakeLocked()
	x.body.wake()
	return x.Cause
}

// sentBytes returns how many bytes of the request were written. x.Mu is held.
func (x *exchange) sentBytes() int64 {
	if x.c == nil {
		return x.sent
	}
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	if n := &x.c.newest; !x.headerOut && n.id != 0 && !n.taken {
		return n.sent // most likely it is the header of x that is being written
	}
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
