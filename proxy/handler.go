package proxy

import (
	"context"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pace/limiter"
	"pace/proxy/exchange"
	"pace/telemetry"
)

// ServeHTTP walks one request through pace.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := h.begin(w, r)
	defer q.end()
	if q.refused() || q.limited() || q.lastHop() || q.rejectIfBodyFails() {
		return
	}
	if q.ask() {
		q.deliver()
	}
}

// request is one exchange under way. The handler's goroutine owns it. Requests are pooled.
type request struct {
	h     *Handler
	w     http.ResponseWriter // net/http's own, without otelhttp's wrapper: the record counts
	r     *http.Request
	ctx   context.Context
	peer  *peer
	asked asked
	rec   *telemetry.Record
	body  *requestBody // nil: none
	out   outgoing
	resp  exchange.Response

	backend    *backend // that answered
	proxyError string   // of the Proxy-Status field, if it is not the outcome's
	answered   bool     // a final status has been handed to net/http
	broken     bool     // the client's connection must be broken off: its answer is not whole

	onOverdue func(time.Time) // overdue, made once
	progress  progress        // overdue's own
	stalled   atomic.Bool     // the client took nothing of its answer for too long
}

var requests = sync.Pool{New: func() any {
	q := &request{}
	q.out.Request.OnPhase, q.out.Request.On1xx = q.phase, q.interim
	q.onOverdue = q.overdue
	return q
}}

// begin opens the record.
func (h *Handler) begin(w http.ResponseWriter, r *http.Request) *request {
	if u, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok {
		w = u.Unwrap()
	}
	h.running.Add(1)
	q := requests.Get().(*request)
	q.h, q.w, q.r, q.ctx = h, w, r, r.Context()
	c := connOf(q.ctx)
	q.peer = &c.peer
	q.asked = h.trust.asked(r, q.peer)
	q.rec = h.Telemetry.Begin(q.ctx, r.Method, q.asked.scheme())
	q.describe()
	q.rec.OnOverdue = q.onOverdue
	q.rec.TakeOff()
	if r.ContentLength != 0 || maybeEmpty(r) { // HTTP/2 has a Body for every request
		q.body = newRequestBody(w, r, c, h.MaxBodyBytes, h.BodyTimeout)
	}
	return q
}

// describe notes what the request says of itself.
func (q *request) describe() {
	rec, r := q.rec, q.r
	rec.Route = Route
	q.out.Target = target(r)
	rec.Path, _, _ = strings.Cut(q.out.Target, "?")
	rec.Host, rec.Query = r.Host, r.URL.RawQuery
	rec.UserAgent = r.UserAgent()
	rec.Protocol = protocolVersion(r)
	rec.Peer, rec.PeerPort = q.peer.text, q.peer.port
	rec.Client = q.peer.text
	if q.asked.client != q.peer.addr {
		rec.Client = q.asked.client.String()
	}
	rec.RequestID = requestID(r, q.peer.trusted)
}

// release gives the request back to the pool, with nothing of this exchange in it.
func (q *request) release() {
	q.out.reset()
	q.h, q.w, q.r, q.ctx, q.peer, q.rec, q.body, q.backend = nil, nil, nil, nil, nil, nil, nil, nil
	q.asked, q.proxyError, q.answered, q.broken = asked{}, "", false, false
	q.progress = progress{}
	q.stalled.Store(false)
	requests.Put(q)
}

// refused answers what cannot be proxied at all.
func (q *request) refused() bool {
	switch {
	case q.h.draining.Load() && !connOf(q.ctx).welcome.Load():
		q.w.Header().Set("Connection", "close")
		q.answer(telemetry.Draining)
	case q.r.Method == http.MethodConnect, q.r.URL.Opaque != "", // "GET mailto:x": no origin server has such a thing
		q.out.Target == asterisk && q.r.Method != http.MethodOptions,
		malformed(q.r), q.looped(), q.otherHost():
		q.answer(telemetry.BadRequest)
	case q.h.MaxBodyBytes > 0 && q.r.ContentLength > q.h.MaxBodyBytes:
		q.answer(telemetry.TooLarge)
	default:
		return false
	}
	return true
}

// limited asks the limiter and answers its no.
func (q *request) limited() bool {
	l := q.h.Limit
	if l == nil {
		return false
	}
	now := q.rec.Enter(telemetry.Limit)
	d := l.Window.Allow(limiter.ClientIP(q.asked.client), now)
	if !d.Denied {
		return false
	}
	q.rec.Enter(telemetry.Own)
	wait := wholeSeconds(d.Reset)
	q.rec.Limited = append(q.rec.Limited, telemetry.Limited{
		At: now, Policy: l.Policy, KeyKind: clientIP,
		Limit: d.Limit, Window: l.Per, RetryAfter: d.Reset,
	})
	q.answerLimited(d.Limit, wait)
	return true
}

// lastHop answers a request that may reach no server after pace. The answer to TRACE does not repeat
// the request, as RFC 9110 §9.3.8 suggests: a proxy in front may have added what its client must not see.
func (q *request) lastHop() bool {
	if hops, limited := maxForwards(q.r); !limited || hops > 0 {
		return false
	}
	q.answer(telemetry.Responded)
	return true
}

// rejectIfBodyFails waits for the body's first byte where only that tells whether there is a body: a
// request without one must reach the backend without. It answers if the client does not send the byte.
func (q *request) rejectIfBodyFails() bool {
	if q.body == nil || !maybeEmpty(q.r) {
		return false
	}
	q.rec.Enter(telemetry.ReadRequest)
	empty, err := q.body.peek()
	q.rec.Enter(telemetry.Own)
	if err != nil {
		e := &exchange.Error{Kind: exchange.RequestBody, Phase: exchange.ReadRequest, Err: err}
		q.giveUp(&failure{e, q.outcome(e)})
		return true
	}
	if empty {
		q.body = nil
	}
	return false
}

// end closes the record, whatever happened, and breaks off the client's connection if its answer is not whole.
func (q *request) end() {
	if p := recover(); p != nil {
		q.failed(p)
	}
	if q.body != nil {
		q.rec.Enter(telemetry.ReadRequest) // what is left of it may keep us a moment
	}
	if bug := q.resp.Close(); bug != nil {
		q.failed(bug)
	}
	if q.body != nil {
		q.rec.Enter(telemetry.Own)
		q.body.hand(q.broken)
		q.rec.BytesIn += q.body.read() // beside a stream's own
	}
	q.rec.End() // from here on nobody interrupts
	broken, h := q.broken || q.stalled.Load(), q.h
	q.release()
	h.running.Add(-1)
	if broken {
		panic(http.ErrAbortHandler)
	}
}

// failed answers a bug of ours.
func (q *request) failed(p any) {
	if q.h.panics.pass() { // a stack has some 4 KiB, and whoever found the bug can provoke it as often as they like
		q.h.Log.LogAttrs(q.ctx, slog.LevelError, "panic in the handler: a bug of pace",
			slog.Any("panic", p), slog.String("trace_id", q.rec.TraceID()), slog.String("stack", string(debug.Stack())))
	}
	if n := len(q.rec.Attempts); n > 0 && q.rec.Attempts[n-1].Failure == telemetry.Unset {
		q.rec.Attempts[n-1].Failure = telemetry.InternalError
	}
	if q.answered {
		q.rec.Outcome, q.broken = telemetry.InternalError, true
		return
	}
	clear(q.w.Header())
	q.answer(telemetry.InternalError)
}
