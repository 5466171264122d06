package http1

import (
	"context"
	"errors"
	"sync"
	"time"

	"pace/proxy/transport"
	"pace/proxy/transport/dial"
	"pace/proxy/transport/http1/parse"
)

// exchange is the state of one request and its response, behind a [transport.Response]. The package comment draws its
// states, and says which goroutine may touch which field. One exchange value serves many requests, one after
// the other: begin resets it.
type exchange struct {
	ctx  context.Context
	pool *Pool // nil: no exchange
	req  *transport.Request

	head   parse.Head // the last header that was read
	in     incoming   // the response's bytes, and how far its body was cut out of them
	out    outgoing   // the request's bytes, and how far they were sent
	polled polled
	onTLS  func() // enters the phase TLS; made once
	progress

	timed    bool  // the wait of Next before had a limit
	hijacked *conn // given away by Hijack; nil: none

	running sync.WaitGroup // the sender, its timer, and the end of ctx
	watched watched

	transport.Course // its Mu guards shared, too
	shared
}

// progress is what only Do's goroutine uses.
type progress struct {
	unclear  bool  // the connection must not be used again
	interims int64 // bytes of all interim responses so far
	headSize int   // bytes of the last header
}

// shared is what the sender, the watcher and Do's goroutine share.
type shared struct {
	c         *conn
	reused    bool      // c came from the pool
	responded bool      // a byte of a response was read
	closing   bool      // Close waits for the last bytes to be sent
	until     time.Time // when the time for the response header is up; zero: it does not run
	sent      int64     // bytes of the request that the kernel took
}

// Do sends req and reads the response up to the end of its header. The body is then read through resp. The
// error is always a [*transport.Error], and resp then needs no Close. ctx is watched until Close: its end is
// noticed at once, but not in an exchange's first 10 ms. One Do puts at most one request on the wire: a
// pooled connection is replaced by another only while not a byte was written.
func (p *Pool) Do(ctx context.Context, req *transport.Request, resp *transport.Response) error {
	x, ok := resp.Exchange.(*exchange)
	if !ok {
		x = new(exchange)
		resp.Exchange = x
	}
	x.begin(ctx, p, req)
	if err := x.run(); err != nil {
		// A response may have been read before the sender counted the write that it answers. Close waits for
		// the sender. Only then is BytesSent right, and the caller may decide by it whether to repeat the request.
		defer func() {
			resp.Close()
			x.Cause.BytesSent = resp.BytesSent
		}()
		return x.Raise(err)
	}
	x.take(resp)
	return nil
}

// begin resets x for a request.
func (x *exchange) begin(ctx context.Context, p *Pool, req *transport.Request) {
	if x.pool != nil {
		panic("pace: BUG: transport.Response used again before Close")
	}
	x.ctx, x.pool, x.req = ctx, p, req
	x.progress, x.shared = progress{}, shared{}
	x.Course.Begin(req)
	x.out.begin(req)
	if x.watched.onEnd == nil { // made once, for a method value is an allocation
		x.watched.onEnd, x.polled.read, x.polled.first = x.end, x.readOnce, x.writeThenRead
		x.onTLS = func() { x.Enter(transport.TLS) }
	}
	p.watcher.add(x)
}

// run makes the exchange up to its final header.
func (x *exchange) run() error {
	if !fit(x.req) {
		return x.fail(transport.RequestBody, errUnfit)
	}
	if x.ctx.Err() != nil { // the watcher notices it only later
		return x.fail(transport.Canceled, context.Cause(x.ctx))
	}
	bare := canPoll && !x.req.HasBody()
	if err := x.connect(bare); err != nil { // writeThenWait finds out whether the connection is alive
		return err
	}
	x.out.render(x.req)
	var err error
	switch {
	case x.req.HasBody():
		x.startSending()
	case bare && x.reused && x.c.tcp != nil:
		err = x.writeThenWait()
	default:
		err = x.sendHead()
	}
	if err != nil {
		return err
	}
	return x.awaitFinal()
}

var errUnfit = transport.NewFault("request line or field with a byte that would break the header")

// connect takes the client's pinned connection, or one from the pool, or else dials. The connection replaces the
// exchange's present one. A kept connection may have ended meanwhile, so connect asks whether it is alive. If
// unseen is set, connect does not ask a plain TCP connection: the caller is about to find out.
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
	return x.dial()
}

// dial opens a new connection, if there may be one more, and replaces the exchange's present one by it.
func (x *exchange) dial() error {
	if dead := x.conn(); dead != nil {
		dead.leave() // the backend has ended it; use closes it
	}
	for {
		idle, ok := x.pool.admit()
		switch {
		case !ok:
			return x.fail(transport.Full, errFull)
		case idle == nil:
			return x.dialAdmitted()
		case !x.req.NewConnection && idle.alive():
			return x.use(idle, true)
		}
		idle.Close() // dead, or in the way of a new one
	}
}

// dialAdmitted opens a connection that is counted already.
func (x *exchange) dialAdmitted() error {
	x.Enter(transport.Connect)
	nc, kind, err := x.pool.dialer.Dial(x.ctx, x.onTLS)
	if err == nil {
		c := newConn(nc)
		c.pool = x.pool
		return x.use(c, false)
	}
	x.pool.open.Add(-1)
	if x.ctx.Err() != nil {
		return x.fail(transport.Canceled, context.Cause(x.ctx))
	}
	return x.failDial(kind, err)
}

// failDial ends the exchange because no connection could be made.
func (x *exchange) failDial(kind transport.Kind, err error) error {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	failed := x.failLocked(kind, err)
	if handshake, ok := errors.AsType[*dial.HandshakeError](err); ok {
		x.Cause.Remote = handshake.Remote
	}
	return failed
}

// use makes c the exchange's connection, and closes the one before.
func (x *exchange) use(c *conn, reused bool) error {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	if x.c != nil {
		x.c.Close()
	}
	x.c, x.reused = c, reused && !c.fresh
	c.fresh = false
	c.x = x
	c.login = c.login || x.req.Login
	if x.Cause != nil { // it ended while we were dialing
		return x.Cause
	}
	x.EnterLocked(transport.Send)
	return nil
}

// conn returns the connection in use. The sender may replace it.
func (x *exchange) conn() *conn {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	return x.c
}

// fail ends the exchange for this reason, unless it has ended already. It returns the reason that came first.
// Whoever is blocked on the connection wakes.
func (x *exchange) fail(k transport.Kind, err error) error {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	return x.failLocked(k, err)
}

func (x *exchange) failLocked(k transport.Kind, err error) error {
	if x.Cause != nil {
		return x.Cause
	}
	x.Cause = &transport.Error{Kind: k, Phase: x.Phase, BytesSent: x.sent, Reused: x.reused, Responded: x.responded, Err: err}
	if x.c != nil {
		x.Cause.Remote = x.c.remote
		x.c.readBy(longAgo)
		x.c.writeBy(longAgo)
	}
	x.out.cancel()
	return x.Cause
}
