package proxy

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"pace/proxy/body"
	"pace/proxy/front"
	"pace/proxy/message"
	"pace/proxy/mirror"
	"pace/proxy/route"
	"pace/proxy/transport"
	"pace/proxy/upstream"
	"pace/telemetry"
)

// request is one exchange in flight. The handler's goroutine owns it. Requests are pooled.
type request struct {
	h       *Handler
	plan    *Plan
	route   *plannedRoute // the plan's for no route, until describe has asked
	miss    route.Result  // why no route takes it, if none does
	r       *http.Request
	ctx     context.Context // of the exchange: ends when the client has left, or when its time is up
	timeout *timeout        // nil: none
	conn    *front.Conn
	client  client
	asked   message.Forwarding
	rec     *telemetry.Record
	body    *body.Body // nil: none

	out      transport.Request  // as it goes to a backend
	fields   []byte             // of out; each attempt adds its own to those that all of them share
	upstream *upstream.Upstream // that the route's action has named
	backend  *upstream.Backend  // that responded
	step     upstream.Step      // the attempt in progress, or the one that got the response; its Backend is nil: there is none
	resp     transport.Response // the backend's response

	delivering int          // index of the attempt whose response it is
	kept       keptResponse // a response that is delivered if there is no other
	copy       *mirror.Copy // of the request, until it is sent; nil: none

	proxyError string // of the Proxy-Status field, if it is not the outcome's
	spoiled    bool   // a bug has left it in any state, and no other exchange must get it

	living  front.Exchange
	drained atomic.Bool // its backend is drained, and it has been a stream for too long since
}

var requests = sync.Pool{New: func() any {
	q := &request{}
	q.out.OnPhase, q.out.On1xx, q.out.TakeBack = q.phase, q.interim, q.takeBack
	return q
}}

// open opens the record. It must not read what the client wrote.
func (h *Handler) open(p *Plan, w http.ResponseWriter, r *http.Request, a message.Forwarding) *request {
	if u, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok {
		w = u.Unwrap()
	}
	q := requests.Get().(*request)
	q.h, q.plan, q.route, q.r, q.conn, q.asked = h, p, &p.none, r, front.ConnOf(r.Context()), a
	q.rec = h.Telemetry.Begin(r.Context(), r.Method, a.Scheme())
	q.ctx = r.Context()
	q.client = client{w: w, r: r, ctx: q.ctx, conn: q.conn, living: &q.living, rec: q.rec}
	q.rec.Peer, q.rec.PeerPort = q.conn.Peer.Text, q.conn.Peer.Port
	h.InFlight.Begin(&q.living, q.conn, w)
	return q
}

// whoAsked reads who asked.
func (h *Handler) whoAsked(p *Plan, r *http.Request) message.Forwarding {
	h.at(inForwarding)
	return p.trust.Forwarding(r.Header, r.Host, &front.ConnOf(r.Context()).Peer)
}

// describe notes what the request says of itself, and lets those who look at what is in flight see it.
func (q *request) describe() {
	q.h.at(inDescribe)
	rec, r, peer := q.rec, q.r, &q.conn.Peer
	q.out.Target = message.Target(r.Method, r.RequestURI, r.URL)
	rec.Path, _, _ = strings.Cut(q.out.Target, "?")
	q.route, q.miss = q.plan.match(route.Request{Method: r.Method, Host: r.Host, Path: rec.Path, Header: r.Header})
	if q.route.observed != nil {
		q.h.Telemetry.TakenBy(rec, q.route.observed)
	}
	rec.Host, rec.Query = r.Host, r.URL.RawQuery
	rec.UserAgent = r.UserAgent()
	rec.Slow = q.route.slow
	rec.Protocol = message.Version(r.ProtoMajor, r.ProtoMinor)
	rec.TLS, rec.Cipher = q.conn.TLS()
	if cert := q.conn.ClientCert(); cert != nil {
		rec.TLSClient = cert.Subject
	}
	rec.Client = peer.Text
	if q.asked.Client != peer.Addr {
		rec.Client = q.asked.Client.String()
	}
	rec.RequestID = message.RequestID(r.Header, q.trusted())
	q.describeCall()
	if r.ContentLength != 0 || front.MaybeEmpty(r) { // HTTP/2 has a Body for every request
		q.body = body.New(q.client.w, r, q.conn, q.route.maxBody, q.route.bodyTimeout)
	}
	q.living.Show(rec, q)
}

// Received implements [front.Body]. It is asked only while a response is being delivered.
func (q *request) Received() int64 {
	q.h.at(inOverdue)
	if q.body == nil {
		return 0
	}
	return q.body.Received()
}

// phase notes that the attempt has come to another phase; it may be called on the goroutine that sends.
func (q *request) phase(p transport.Phase) {
	q.h.at(inPhase)
	q.rec.Enter(phases[p])
}

var phases = [...]telemetry.Phase{
	transport.DNS:         telemetry.DNS,
	transport.Connect:     telemetry.Connect,
	transport.TLS:         telemetry.TLS,
	transport.Send:        telemetry.Send,
	transport.ReadRequest: telemetry.ReadRequest,
	transport.Wait:        telemetry.Wait,
	transport.Receive:     telemetry.Receive,
}

// release gives the request back to the pool, with nothing of this exchange in it.
func (q *request) release() {
	q.fields = kept(q.fields)
	q.out = transport.Request{OnPhase: q.out.OnPhase, On1xx: q.out.On1xx, TakeBack: q.out.TakeBack}
	q.drained.Store(false)
	q.h, q.plan, q.route, q.r, q.ctx, q.timeout, q.conn, q.rec, q.body, q.upstream, q.backend = nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil
	q.miss, q.client, q.asked, q.step, q.proxyError, q.kept = route.Result{}, client{}, message.Forwarding{}, upstream.Step{}, "", keptResponse{}
	requests.Put(q)
}

// largestKept is the largest buffer of fields that is kept for another request.
const largestKept = 16 << 10

// kept returns the buffer, or nil if it is too large to be kept.
func kept(fields []byte) []byte {
	if cap(fields) > largestKept {
		return nil
	}
	return fields
}

// trusted reports whether the request comes from a proxy whose forwarding fields are believed. It may become one
// while its connection is open.
func (q *request) trusted() bool { return q.plan.trust.Trusts(q.conn.Peer.Addr) }
