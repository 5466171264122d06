package h3

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"pace/proxy/front/flood"
	"pace/proxy/front/handshake"
	"pace/telemetry"
)

// Conn is a client's connection over HTTP/3. quic-go serves it by an http3.Server of its own, so that it keeps the
// settings with which it began, and can be ended alone:
//
//	serving ─ Goodbye, or it was idle for long: GOAWAY ─▶ leaving ─ no request for a while ─▶ closed
//
// The client may close it at any time.
type Conn struct {
	Agreed handshake.Agreement // in the handshake

	watch    *Watch
	handler  http.Handler
	quic     *quic.Conn
	server   *http3.Server
	settings Settings

	began   time.Time
	flooded atomic.Bool     // the client has sent a flood, and the connection ends because of it
	leaving context.Context // ends when the connection is to be closed
	close   context.CancelFunc

	mu      sync.Mutex // guards what follows
	streams map[uint32]*stream
	active  int         // streams that a handler has
	waiting int         // streams that none has yet
	idle    *time.Timer // runs while no handler has one
	rested  time.Time   // when a handler last ended
	goodbye bool        // GOAWAY is sent, or about to be
	resets  flood.Window
	sweep   *time.Timer // looks for refused requests; nil: it does not run
}

// stream is a request whose header has come, until its handler ends.
type stream struct {
	id      uint32
	came    time.Time   // its header
	early   bool        // that was before it was late
	reached bool        // a handler has it
	broke   atomic.Bool // its client broke a rule
	reset   atomic.Bool // its client gave its body up
}

const (
	// lingering is how long a connection lasts after GOAWAY and the end of its last handler. quic-go sends the end of the
	// response only then, and a client behind a slow path needs time to get it. Clients close the connection themselves
	// as soon as they have.
	lingering = 5 * time.Second

	// leavingIdle is how long one lasts after GOAWAY that has been idle for longer than lingering.
	leavingIdle = time.Second
)

// serve serves the connection to its end.
func (a *attempt) serve(conn *quic.Conn) {
	c := &Conn{
		Agreed: handshake.AgreementOf(conn.ConnectionState().TLS), watch: a.watch, handler: a.l.Handler, quic: conn,
		settings: a.l.Settings(), streams: map[uint32]*stream{}, began: time.Now(),
	}
	c.server = &http3.Server{
		Handler:        c,
		MaxHeaderBytes: c.settings.MaxHeaderBytes,
		ConnContext:    func(ctx context.Context, _ *quic.Conn) context.Context { return a.watch.Context(ctx) },
		Logger:         slog.New(serious{a.l.Log.Handler()}),
	}
	c.leaving, c.close = context.WithCancel(context.Background())
	defer c.close()
	c.begin(c.settings.ReadHeaderTimeout)
	a.conn.Store(c)
	defer a.watch.Over()
	if a.watch.Done(c) {
		c.server.ServeQUICConn(conn)
		conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "") // it may have been told to leave before
	} else {
		conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeExcessiveLoad), "")
	}
	c.end()
}

// begin starts the time for the first request.
func (c *Conn) begin(timeout time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = time.AfterFunc(time.Hour, c.rest)
	c.restart(timeout)
}

// end counts what was refused last. All handlers have ended.
func (c *Conn) end() {
	c.mu.Lock()
	c.idle.Stop()
	if c.sweep != nil {
		c.sweep.Stop()
	}
	refused := c.waiting
	c.mu.Unlock()
	if c.flooded.Load() {
		return // that is counted
	}
	for range refused {
		c.watch.Refuse(telemetry.RefusedH3Error)
	}
	if c.clientBroke() {
		c.watch.Refuse(telemetry.RefusedH3Error)
	}
}

// restart sets the time after which an idle connection ends; 0: never. c.mu is held.
func (c *Conn) restart(timeout time.Duration) {
	if c.idle.Stop(); timeout > 0 {
		c.idle.Reset(timeout)
	}
}

// rest ends a connection that has been idle for long.
func (c *Conn) rest() {
	c.mu.Lock()
	busy, over := c.active > 0, c.goodbye
	c.mu.Unlock()
	switch {
	case busy:
	case over:
		c.close()
	default:
		c.Goodbye()
	}
}

// Goodbye sends GOAWAY, after which no request is taken any more, and closes the connection after its last response.
func (c *Conn) Goodbye() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.goodbye {
		return
	}
	c.goodbye = true
	go c.server.Shutdown(c.leaving)
	if c.active == 0 {
		c.restart(max(leavingIdle, lingering-time.Since(c.rested)))
	}
}

// Close closes the connection at once.
func (c *Conn) Close() {
	c.quic.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
}

// ServeHTTP implements http.Handler, for quic-go.
func (c *Conn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := c.reach(numberOf(r))
	defer c.leave(s, r)
	out := &writer{w, s.id}
	c.handler.ServeHTTP(out, withTrailer(r, s))
	if r.Method == http.MethodHead {
		out.FlushError() // or quic-go would say of a response without Content-Length that its length is 0
	}
}

// reach notes that a request has come to its handler.
func (c *Conn) reach(id uint32) *stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[id]
	if s == nil { // it has taken so long that it counts as refused
		s = &stream{id: id}
		c.streams[id] = s
		c.waiting++
	}
	s.reached = true
	c.waiting--
	c.active++
	c.idle.Stop()
	if c.active == 1 {
		c.watch.Busy(true)
	}
	return s
}

// leave notes that the handler of a request has ended.
func (c *Conn) leave(s *stream, r *http.Request) {
	c.forgetHandled(s)
	if s.cancelledBy(r.Context()) {
		c.cancelled(1)
	}
}

// forgetHandled drops a request whose handler has ended.
func (c *Conn) forgetHandled(s *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.streams, s.id)
	c.active--
	c.rested = time.Now()
	if c.active > 0 {
		return
	}
	timeout := c.settings.IdleTimeout
	if c.goodbye {
		timeout = lingering
	}
	c.restart(timeout)
	c.watch.Busy(false)
}

// Early reports whether the header of a request came before it was late.
func (c *Conn) Early(id uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[id]
	return s != nil && s.early
}

// closing is how long the end of a connection may take to follow that of its streams.
const closing = time.Millisecond

// ClientLeft reports whether a request ended because its client left. If not, quic-go ended it, because the client
// broke a rule.
func (c *Conn) ClientLeft(id uint32) bool {
	c.mu.Lock()
	s := c.streams[id]
	c.mu.Unlock()
	if s != nil && s.broke.Load() {
		return false
	}
	c.hasEnded()
	return !c.clientBroke() && !c.flooded.Load()
}

// hasEnded reports whether the connection has ended. It waits a moment for that, because quic-go ends the streams first.
func (c *Conn) hasEnded() bool {
	select {
	case <-c.quic.Context().Done():
		return true
	case <-time.After(closing):
		return false
	}
}

// clientBroke reports whether the connection has ended because its client broke a rule.
func (c *Conn) clientBroke() bool { return brokeRules(context.Cause(c.quic.Context())) }

// brokeRules reports whether something ended with err because the client broke a rule of QUIC or HTTP/3.
func brokeRules(err error) bool {
	if e, ok := errors.AsType[*quic.ApplicationError](err); ok {
		return !e.Remote && isBreach(http3.ErrCode(e.ErrorCode))
	}
	if e, ok := errors.AsType[*quic.StreamError](err); ok {
		return !e.Remote && isBreach(http3.ErrCode(e.ErrorCode))
	}
	e, ok := errors.AsType[*quic.TransportError](err)
	return ok && !e.Remote && e.ErrorCode != quic.InternalError && e.ErrorCode != quic.NoError && e.ErrorCode != quic.ConnectionRefused
}

// isBreach reports whether an error code of ours says that the client broke a rule.
func isBreach(code http3.ErrCode) bool {
	switch code {
	case http3.ErrCodeNoError, http3.ErrCodeInternalError, http3.ErrCodeRequestCanceled, http3.ErrCodeRequestRejected, http3.ErrCodeExcessiveLoad:
		return false
	}
	return true
}

// serious is a log without what quic-go has to say of each request.
type serious struct{ slog.Handler }

// Enabled implements slog.Handler.
func (h serious) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.Handler.Enabled(ctx, l)
}
