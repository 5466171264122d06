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

	timer   *time.Timer // nil before the first time that something was due
	onTimer func()

	wrote sync.Cond  // that headerOut is set
	mu    sync.Mutex // guards what follows
	fires time.Time  // when the timer does, if that is to come
	shared
}

// shared is what several goroutines use.
type shared struct {
	c         *conn
	reused    bool // c was there before
	responded bool // a header has come
	headerOut bool // the header of the request was written, and its stream is known
	phase     transport.Phase
	final     bool             // the final header has come
	over      bool             // the caller is done with it: nothing of the caller's may be touched
	cause     *transport.Error // why it ended: the first reason in time
	passedOn  bool             // cause is a panic, and Do, Next or Close has passed it on
	until     time.Time        // when the backend's time is up; zero: it does not run
	seen      int64            // bytes sent when the time began
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
			x.cause.BytesSent = resp.BytesSent
		}()
		return x.raise(err)
	}
	return nil
}

func newExchange() *exchange {
	x := &exchange{header: http.Header{}}
	x.upload.x, x.hints.x = x, x
	x.wrote.L = &x.mu
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
	x.id, x.wire, x.shared = 0, wire{}, shared{}
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
			x.mu.Lock()
			x.upload.begin() // net/http has closed it
			x.headerOut = false
			x.mu.Unlock()
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
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.reused && x.cause == nil && x.ctx.Err() == nil && x.id == 0
}

// use makes c the exchange's connection.
func (x *exchange) use(c *conn, reused bool) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.c, x.reused = c, reused
	if x.cause != nil {
		return x.cause
	}
	x.enterLocked(transport.Send)
	x.startLocked(x.responseTimeout())
	return nil
}

// letGo gives the connection back.
func (x *exchange) letGo() {
	x.mu.Lock()
	c := x.c
	if c != nil {
		c.forget(x)
		x.c = nil
	}
	x.mu.Unlock()
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
	x.mu.Lock()
	if x.cause != nil {
		defer x.mu.Unlock()
		return x.cause
	}
	for !x.headerOut { // the response is there before the callback has run
		x.wrote.Wait()
	}
	x.final, x.phase = true, transport.Receive
	x.stopLocked()
	h.Reused, h.Remote, h.BytesSent = x.reused, x.c.remote, x.sentBytes()
	x.mu.Unlock()
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
	bug := x.bug()
	if x.unbind != nil && !x.unbind() {
		clean = false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.over = true
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
	x.mu.Lock()
	whole := x.cause == nil && x.final && x.upload.isSentLocked()
	x.mu.Unlock()
	if whole && x.body.isWhole() {
		// This returns when net/http's goroutine for the stream has ended, unless the context ends before, or the response
		// has no body. Then RoundTrip has waited for the goroutine, unless the request has one.
		x.body.closes.close()
		return x.ctx.Err() == nil && (!x.req.HasBody() || x.upload.isDone())
	}
	x.cancel()
	x.mu.Lock()
	x.body.wake()
	x.mu.Unlock()
	x.upload.stop()
	return false
}

// Interrupt implements [transport.Exchange].
func (x *exchange) Interrupt() { x.fail(transport.Canceled, errInterrupted) }

var errInterrupted = transport.NewFault("interrupted by the caller")

// fail ends the exchange for this reason, unless it has ended already. It returns the reason that came first.
func (x *exchange) fail(k transport.Kind, err error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.failLocked(k, err)
}

// failOn is fail where the connection was not x's yet.
func (x *exchange) failOn(c *conn, k transport.Kind, err error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	failed := x.failLocked(k, err)
	x.cause.Remote, x.cause.Version = c.remote, version
	return failed
}

func (x *exchange) failLocked(k transport.Kind, err error) error {
	if x.cause != nil {
		return x.cause
	}
	x.cause = &transport.Error{Kind: k, Phase: x.phase, Reused: x.reused, Responded: x.responded, Err: err}
	if x.c != nil {
		x.cause.Remote, x.cause.Version, x.cause.BytesSent = x.c.remote, version, x.sentBytes()
	}
	if x.over {
		return x.cause
	}
	x.stopLocked()
	x.cancel()
	x.upload.wakeLocked()
	x.body.wake()
	return x.cause
}

// sentBytes returns how many bytes of the request were written. x.mu is held.
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
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.sentBytes()
}

// raise returns err, which ended the exchange. If that was a panic on another goroutine, raise panics with it.
func (x *exchange) raise(err error) error {
	if bug := x.bug(); bug != nil {
		panic(bug)
	}
	return err
}

// bug returns the panic that ended the exchange, once.
func (x *exchange) bug() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cause == nil || x.cause.Kind != transport.Panicked || x.passedOn {
		return nil
	}
	x.passedOn = true
	return x.cause.Err
}

// enter begins a phase. OnPhase runs under the lock, so that two goroutines cannot call it at once.
func (x *exchange) enter(p transport.Phase) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.enterLocked(p)
}

func (x *exchange) enterLocked(p transport.Phase) {
	if x.final || x.over || x.phase == p {
		return
	}
	x.phase = p
	if x.req.OnPhase != nil {
		x.req.OnPhase(p)
	}
}

// repeatPhase reports the present phase to OnPhase again, since On1xx may have entered another one.
func (x *exchange) repeatPhase() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.req.OnPhase != nil && !x.final && !x.over {
		x.req.OnPhase(x.phase)
	}
}

func (x *exchange) responseTimeout() time.Duration {
	return cmp.Or(x.req.ResponseTimeout, x.pool.o.ResponseTimeout)
}
