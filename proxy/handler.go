package proxy

import (
	"context"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"pace/limiter"
	"pace/proxy/exchange"
	"pace/telemetry"
)

// ServeHTTP walks one request through pace.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := h.begin(w, r)
	defer q.end()
	if q.refused() || q.limited() {
		return
	}
	if q.ask() {
		q.deliver()
	}
}

// request is one exchange under way. The handler's goroutine owns it.
type request struct {
	h    *Handler
	w    http.ResponseWriter // net/http's own, without otelhttp's wrapper: the record counts
	r    *http.Request
	ctx  context.Context
	rec  *telemetry.Record
	body *requestBody // nil: none
	out  *outgoing    // nil: no backend was asked
	resp exchange.Response

	backend  *backend // that answered
	answered bool     // a final status has been handed to net/http
	broken   bool     // the client's connection must be broken off: its answer is not whole
}

// begin opens the record.
func (h *Handler) begin(w http.ResponseWriter, r *http.Request) *request {
	if u, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok {
		w = u.Unwrap()
	}
	q := &request{h: h, w: w, r: r, ctx: r.Context()}
	connOf(q.ctx).handling()
	q.rec = h.Telemetry.Begin(q.ctx, r.Method, "http")
	q.describe()
	if r.Body != nil && r.Body != http.NoBody {
		q.body = newRequestBody(w, r, h.MaxBodyBytes, h.BodyTimeout)
	}
	return q
}

// describe notes what the request says of itself.
func (q *request) describe() {
	rec, r := q.rec, q.r
	rec.Route = Route
	rec.Host, rec.Path, rec.Query = r.Host, r.URL.EscapedPath(), r.URL.RawQuery
	rec.UserAgent = r.UserAgent()
	rec.Protocol = protocolVersion(r)
	rec.Peer = peerOf(r)
	trusted := q.h.trust.of(rec.Peer.Addr())
	rec.Client = q.h.trust.client(r, rec.Peer, trusted)
	rec.RequestID = requestID(r, trusted)
}

// refused answers what cannot be proxied at all.
func (q *request) refused() bool {
	switch {
	case q.h.draining.Load():
		q.w.Header().Set("Connection", "close")
		q.answer(telemetry.Draining)
	case q.r.Method == http.MethodConnect:
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
	q.rec.Enter(telemetry.Limit)
	now := time.Now()
	d := l.Window.Allow(limiter.ClientIP(q.rec.Client), now)
	q.rec.Enter(telemetry.Own)
	if !d.Denied {
		return false
	}
	wait := wholeSeconds(d.Reset)
	q.rec.Limited = append(q.rec.Limited, telemetry.Limited{
		At: now, Policy: l.Policy, KeyKind: clientIP,
		Limit: d.Limit, Window: l.Per, RetryAfter: d.Reset,
	})
	q.answerLimited(d.Limit, wait)
	return true
}

// end closes the record, whatever happened, and breaks off the client's connection if its answer is not whole.
func (q *request) end() {
	if p := recover(); p != nil {
		q.failed(p)
	}
	q.resp.Close()
	if q.out != nil {
		q.out.release()
	}
	if q.body != nil {
		q.body.hand()
		q.rec.BytesIn = q.body.read()
	}
	broken := q.broken
	q.rec.End()
	if broken {
		panic(http.ErrAbortHandler)
	}
}

// failed answers a bug of ours.
func (q *request) failed(p any) {
	q.h.Log.LogAttrs(q.ctx, slog.LevelError, "panic in the handler: a bug of pace",
		slog.Any("panic", p), slog.String("trace_id", q.rec.TraceID()), slog.String("stack", string(debug.Stack())))
	if q.answered {
		q.rec.Outcome, q.broken = telemetry.InternalError, true
		return
	}
	clear(q.w.Header())
	q.answer(telemetry.InternalError)
}
