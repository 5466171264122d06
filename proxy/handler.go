package proxy

import (
	"context"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"

	"pace/limiter"
	"pace/proxy/front"
	"pace/proxy/message"
	"pace/proxy/route"
	"pace/proxy/transport"
	"pace/proxy/transport/http1"
	"pace/proxy/upstream"
	"pace/telemetry"
)

// ServeHTTP walks one request through pace. What reads the request runs after the record was opened
// and its end deferred, so that a panic in it is a request that ended as internal_error. Only who asked
// is read before, because the record needs the scheme; of that panic, guard makes such a request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	plan := h.plan.Load()
	q := h.open(plan, w, r, h.whoAsked(plan, r))
	defer q.leave()
	defer q.end()
	q.describe()
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
	plan  *Plan
	w     http.ResponseWriter // net/http's own, without otelhttp's wrapper: the record counts
	r     *http.Request
	ctx   context.Context
	peer  *message.Peer
	asked message.Forwarding
	rec   *telemetry.Record
	body  *requestBody // nil: none
	out   outgoing
	resp  http1.Response

	backend    *upstream.Backend // that answered
	proxyError string            // of the Proxy-Status field, if it is not the outcome's
	answered   bool              // a final status has been handed to net/http
	broken     bool              // the client's connection must be broken off: its answer is not whole
	spoiled    bool              // a bug has left it in any state, and no other exchange must get it

	living front.Exchange
}

var requests = sync.Pool{New: func() any {
	q := &request{}
	q.out.Request.OnPhase, q.out.Request.On1xx = q.phase, q.interim
	return q
}}

// open opens the record. It must not read what the client wrote.
func (h *Handler) open(p *Plan, w http.ResponseWriter, r *http.Request, a message.Forwarding) *request {
	if u, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok {
		w = u.Unwrap()
	}
	q := requests.Get().(*request)
	q.h, q.plan, q.w, q.r, q.ctx, q.asked = h, p, w, r, r.Context(), a
	c := front.ConnOf(q.ctx)
	q.peer = &c.Peer
	q.rec = h.Telemetry.Begin(q.ctx, r.Method, a.Scheme())
	q.rec.Route = route.All // until describe has asked
	q.rec.Peer, q.rec.PeerPort = q.peer.Text, q.peer.Port
	h.InFlight.Begin(&q.living, c, w)
	return q
}

// leave lets draining know that the request is over, and breaks off the client's connection if its response
// is not whole. A panic that comes this far came from closing the record: the request cannot be counted any
// more, and its client's connection ends.
func (q *request) leave() {
	p := recover()
	broken := q.broken || q.living.Stalled()
	q.living.End()
	if p != nil {
		q.h.tellPanic(context.Background(), p, "")
		panic(http.ErrAbortHandler)
	}
	if !q.spoiled {
		q.release()
	}
	if broken {
		panic(http.ErrAbortHandler)
	}
}

// whoAsked reads who asked.
func (h *Handler) whoAsked(p *Plan, r *http.Request) message.Forwarding {
	h.at(inForwarding)
	return p.trust.Forwarding(r.Header, r.Host, &front.ConnOf(r.Context()).Peer)
}

// describe notes what the request says of itself, and lists it among those in flight.
func (q *request) describe() {
	q.h.at(inDescribe)
	rec, r := q.rec, q.r
	q.out.Target = message.Target(r.Method, r.RequestURI, r.URL)
	rec.Path, _, _ = strings.Cut(q.out.Target, "?")
	if m := q.plan.routes.Match(route.Request{Method: r.Method, Host: r.Host, Path: rec.Path, Header: r.Header}); m.Route != nil {
		rec.Route = m.Route.Pattern.Path
	}
	rec.Host, rec.Query = r.Host, r.URL.RawQuery
	rec.UserAgent = r.UserAgent()
	rec.Protocol = message.Version(r.ProtoMajor, r.ProtoMinor)
	rec.Client = q.peer.Text
	if q.asked.Client != q.peer.Addr {
		rec.Client = q.asked.Client.String()
	}
	rec.RequestID = message.RequestID(r.Header, q.peer.Trusted)
	if r.ContentLength != 0 || front.MaybeEmpty(r) { // HTTP/2 has a Body for every request
		q.body = newRequestBody(q.w, r, front.ConnOf(q.ctx), q.plan.MaxBodyBytes, q.plan.BodyTimeout)
	}
	q.living.Show(rec, q)
}

// Received implements [front.Body]. It is asked only while a response is being delivered.
func (q *request) Received() int64 {
	q.h.at(inOverdue)
	if q.body == nil {
		return 0
	}
	return q.body.read()
}

// release gives the request back to the pool, with nothing of this exchange in it.
func (q *request) release() {
	q.out.reset()
	q.h, q.plan, q.w, q.r, q.ctx, q.peer, q.rec, q.body, q.backend = nil, nil, nil, nil, nil, nil, nil, nil, nil
	q.asked, q.proxyError, q.answered, q.broken = message.Forwarding{}, "", false, false
	requests.Put(q)
}

// refused answers what cannot be proxied at all.
func (q *request) refused() bool {
	q.h.at(inRefused)
	switch {
	case q.h.InFlight.Draining() && !front.ConnOf(q.ctx).Welcome():
		q.w.Header().Set("Connection", "close")
		q.answer(telemetry.Draining)
	case q.r.Method == http.MethodConnect, q.r.URL.Opaque != "", // "GET mailto:x": no origin server has such a thing
		q.out.Target == message.Asterisk && q.r.Method != http.MethodOptions,
		front.Malformed(q.r), q.looped(), q.otherHost(),
		q.r.ProtoMajor == 1 && front.ConnOf(q.ctx).Misframed():
		q.answer(telemetry.BadRequest)
	case q.plan.MaxBodyBytes > 0 && q.r.ContentLength > q.plan.MaxBodyBytes:
		q.answer(telemetry.TooLarge)
	default:
		return false
	}
	return true
}

// limited asks the limiter and answers its no.
func (q *request) limited() bool {
	q.h.at(inLimited)
	l := q.plan.Limit
	if l == nil {
		return false
	}
	now := q.rec.Enter(telemetry.Limit)
	d := l.Window.Allow(limiter.ClientIP(q.asked.Client), now)
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
	if hops, limited := message.MaxForwards(q.r.Method, q.r.Header[message.MaxForwardsField]); !limited || hops > 0 {
		return false
	}
	q.answer(telemetry.Responded)
	return true
}

// rejectIfBodyFails waits for the body's first byte where only that tells whether there is a body: a
// request without one must reach the backend without. It answers if the client does not send the byte.
func (q *request) rejectIfBodyFails() bool {
	if q.body == nil || !front.MaybeEmpty(q.r) {
		return false
	}
	q.rec.Enter(telemetry.ReadRequest)
	empty, err := q.body.peek()
	q.rec.Enter(telemetry.Own)
	if err != nil {
		e := &transport.Error{Kind: transport.RequestBody, Phase: transport.ReadRequest, Err: err}
		q.giveUp(&failure{e, q.outcome(e)})
		return true
	}
	if empty {
		q.body = nil
	}
	return false
}

// end lets go of the request's and the response's body, whatever happened, and then closes the record.
func (q *request) end() {
	defer q.close()
	if p := recover(); p != nil {
		q.failed(p, string(debug.Stack()))
	}
	q.h.at(inEnd)
	if q.body != nil {
		q.rec.Enter(telemetry.ReadRequest) // what is left of it may keep us a moment
	}
	if bug := q.resp.Close(); bug != nil {
		q.failed(bug, string(debug.Stack()))
	}
	if q.body != nil {
		q.rec.Enter(telemetry.Own)
		q.body.hand(q.broken)
		q.rec.BytesIn += q.body.read() // beside a stream's own
	}
}

// close closes the record, also after a panic of end.
func (q *request) close() {
	if bug := recover(); bug != nil {
		q.spoiled = true
		q.failedTwice(bug)
	}
	q.living.Hide() // from here on nobody looks at the record, nor interrupts
	if q.body != nil {
		q.body.rest()
	}
	q.h.at(inRecord)
	q.h.Telemetry.End(q.rec)
}
