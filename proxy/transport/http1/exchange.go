package http1

import (
	"context"
	"errors"
	"sync"
	"time"

	"pace/proxy/transport"
)

// longAgo is a deadline that wakes whoever is blocked.
var longAgo = time.Unix(1, 0)

// exchange is what stands behind a [Response]. Do's goroutine owns it; with a body the sender
// runs beside it, and shares state and what out.mu guards.
type exchange struct {
	ctx  context.Context
	pool *Pool // nil: no exchange
	req  *transport.Request

	head head
	in   body
	got  received
	out  outgoing
	progress

	running sync.WaitGroup // sender, its timer, the end of ctx
	watched watched

	mu sync.Mutex // guards state
	state
}

// progress is what only Do's goroutine knows.
type progress struct {
	unclear  bool  // the connection must not be used again
	interims int64 // bytes of all interim responses so far
	headSize int   // bytes of the last header
}

// state is what the sender, the watcher and Do's goroutine share.
type state struct {
	c        *conn
	reused   bool // c came from the pool
	answered bool // a byte of a response was read
	phase    transport.Phase
	final    bool             // the final header was parsed
	closing  bool             // Close waits for the last bytes to be sent
	until    time.Time        // deadline of the response header; zero: none
	cause    *transport.Error // what ended the exchange: the first in time
	told     bool             // somebody has heard of it, a panic
	sent     int64            // bytes the kernel took
}

// Do sends req and reads the response up to the end of its header; the body is then read through
// resp. The error is always an *[Error], and resp then needs no Close. ctx is watched until Close;
// that it ended is noticed at once, but not in an exchange's first 10 ms. One Do puts at most one
// request on the wire: a pooled connection is replaced by another only while not a byte was
// written.
func (p *Pool) Do(ctx context.Context, req *transport.Request, resp *Response) error {
	x := &resp.x
	x.begin(ctx, p, req)
	if err := x.run(); err != nil {
		defer resp.Close()
		return x.raise(err)
	}
	resp.take()
	return nil
}

func (x *exchange) begin(ctx context.Context, p *Pool, req *transport.Request) {
	if x.pool != nil {
		panic("pace: BUG: http1.Response used again before Close")
	}
	x.ctx, x.pool, x.req = ctx, p, req
	x.progress, x.state = progress{}, state{}
	x.out.begin(req)
	if x.watched.onEnd == nil { // once, for a method value is an allocation
		x.watched.onEnd, x.got.once = x.end, x.readOnce
	}
	p.watcher.add(x)
}

// run is the story of an exchange up to the final header.
func (x *exchange) run() error {
	if !fit(x.req) {
		return x.fail(transport.RequestBody, errUnfit)
	}
	if x.ctx.Err() != nil { // the watcher would be late
		return x.fail(transport.Canceled, context.Cause(x.ctx))
	}
	atOnce := canReadOnce && !x.req.HasBody() // with a look at whether the connection is alive
	if err := x.connect(atOnce); err != nil {
		return err
	}
	x.out.render(x.req)
	x.out.atOnce = atOnce && x.reused && x.c.tcp != nil
	switch {
	case x.req.HasBody():
		x.startSending()
	case !x.out.atOnce:
		if err := x.sendHead(); err != nil {
			return err
		}
	}
	return x.awaitFinal()
}

var (
	errUnfit  = transport.NewFault("request line or field with a byte that would break the header")
	errClosed = errors.New("response closed before the request was sent")
)

// fail ends the exchange for this reason, unless it has ended already; it returns the reason that
// came first. Whoever is blocked on the connection wakes.
func (x *exchange) fail(k transport.Kind, err error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.failLocked(k, err)
}

func (x *exchange) failLocked(k transport.Kind, err error) error {
	if x.cause != nil {
		return x.cause
	}
	x.cause = &transport.Error{Kind: k, Phase: x.phase, BytesSent: x.sent, Reused: x.reused, Answered: x.answered, Err: err}
	if x.c != nil {
		x.cause.Remote = x.c.remote
		x.c.SetDeadline(longAgo)
	}
	x.out.cancel()
	return x.cause
}

// raise returns err, the end of the exchange, unless that is a panic.
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
	if x.cause == nil || x.cause.Kind != transport.Panicked || x.told {
		return nil
	}
	x.told = true
	return x.cause.Err
}

// enter begins a phase. The callback runs under the lock, which is what makes it one at a time.
func (x *exchange) enter(p transport.Phase) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.enterLocked(p)
}

// again tells the phase again, for On1xx may have taken time of another.
func (x *exchange) again() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.req.OnPhase != nil {
		x.req.OnPhase(x.phase)
	}
}

func (x *exchange) enterLocked(p transport.Phase) {
	if x.final || x.phase == p {
		return
	}
	x.phase = p
	if x.req.OnPhase != nil {
		x.req.OnPhase(p)
	}
}

// connect takes the client's pinned connection, or a pooled connection that is alive, or, of plain TCP, unseen; or dials. It replaces
// the one in use.
func (x *exchange) connect(unseen bool) error {
	if !x.req.NewConnection {
		c := x.pool.pinned(x.req, unseen)
		if c == nil {
			c = x.pool.get(unseen)
		}
		if c != nil {
			return x.use(c, true)
		}
	}
	nc, kind, err := x.pool.dialer.Dial(x.ctx, x.enter)
	switch {
	case err == nil:
		return x.use(newConn(nc), false)
	case x.ctx.Err() != nil:
		return x.fail(transport.Canceled, context.Cause(x.ctx))
	}
	return x.fail(kind, err)
}

func (x *exchange) use(c *conn, reused bool) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.c != nil {
		x.c.Close()
	}
	x.c, x.reused = c, reused
	c.login = c.login || x.req.Login
	if x.cause != nil { // ended while dialing
		return x.cause
	}
	x.enterLocked(transport.Send)
	return nil
}

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
		if max(n, len(p)*btoi(n == 0)) > x.pool.o.MaxHeaderBytes {
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
	err := x.head.parse(block)
	switch err {
	case nil:
		return nil
	case errManyFields:
		return x.fail(transport.HeaderTooLarge, err)
	}
	return x.fail(transport.Invalid, err)
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
		x.again()
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
	whole := !x.req.HasBody() || x.out.isSent() || x.out.last.Load() || !x.out.begun.Load()
	return x.reused && whole && (x.req.Repeatable || !x.head.lasts())
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
	if !x.out.isSent() {
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
	if !x.out.begun.Load() {
		return x.failLocked(transport.Invalid, malformed("response before the request"))
	}
	x.final, x.phase, x.until = true, transport.Receive, time.Time{}
	x.out.cancel()
	return nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
