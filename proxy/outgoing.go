package proxy

import (
	"maps"
	"net/http"
	"strconv"

	"pace/proxy/front"
	"pace/proxy/message"
	"pace/proxy/transport"
	"pace/proxy/transport/http1"
	"pace/proxy/upstream"
	"pace/telemetry"
)

// outgoing is the request as it goes to a backend. Its fields are rendered once; each attempt adds
// the lines that name it as the parent of what the backend does.
type outgoing struct {
	transport.Request
	lines  []byte
	common int // bytes of lines that all attempts share
}

// prepare makes the request ready for its attempts.
func (q *request) prepare() {
	o, r := &q.out, q.r
	o.Method = r.Method
	o.Upgrade, o.TrailersOK = message.Upgrade(r.ProtoMajor, r.ProtoMinor, r.Header), message.Lists(r.Header["Te"], "trailers")
	if q.body != nil {
		q.body.goesOut()
		o.Body, o.ContentLength, o.StopBody = q.body, r.ContentLength, q.body.stop
		o.Expect = q.body.expects
		o.AnnouncedTrailer = message.Announcement(q.trailer())
		o.Trailer = q.trailer
	}
	o.Repeatable = q.body == nil && upstream.Idempotent(r.Method)
	o.Login, o.Pin, o.Client = message.BindsConnection(r.Header["Authorization"]), pinOf(front.ConnOf(q.ctx)), q.asked.Client
	o.lines = o.lines[:0]
	q.appendEndToEnd()
	o.lines = q.asked.AppendFields(o.lines, q.peer)
	o.line("Via", message.Via(r.Header["Via"], message.Version(r.ProtoMajor, r.ProtoMinor)))
	o.line(message.RequestIDField, q.rec.RequestID)
	o.lines = append(o.lines, q.plan.proxyLine...)
	o.common = len(o.lines)
}

// mostKept is the largest buffer of field lines that is kept for another request.
const mostKept = 16 << 10

// reset forgets the request, but for its buffer and its callbacks.
func (o *outgoing) reset() {
	if cap(o.lines) > mostKept {
		o.lines = nil
	}
	o.Request = transport.Request{OnPhase: o.OnPhase, On1xx: o.On1xx}
}

// render completes the fields for the attempt.
func (o *outgoing) render(q *request, a *telemetry.Attempt) {
	o.lines = q.h.Telemetry.AppendPropagation(q.ctx, o.lines[:o.common], q.rec, a)
	o.Fields = o.lines
}

func (o *outgoing) add(words ...string) {
	for _, w := range words {
		o.lines = append(o.lines, w...)
	}
}

func (o *outgoing) line(name, value string) { o.add(name, ": ", value, "\r\n") }

// appendEndToEnd appends the client's fields that go on as they are.
func (q *request) appendEndToEnd() {
	hops, counted := message.MaxForwards(q.r.Method, q.r.Header[message.MaxForwardsField])
	connection := q.r.Header["Connection"]
	for name, values := range q.r.Header {
		if !q.plan.filter.Passes(name, connection, q.peer.Trusted) || counted && name == message.MaxForwardsField {
			continue
		}
		for _, v := range values {
			q.out.line(name, v)
		}
	}
	if counted { // also where the client's Connection field names it: it is for every proxy on the way
		q.out.line(message.MaxForwardsField, strconv.FormatUint(hops-1, 10)) // a request that allows none was answered before
	}
}

// trailer returns the fields of the client's trailer that go on. Until the body has been read to its
// end they are the names announced.
func (q *request) trailer() http.Header {
	kept := maps.Clone(q.r.Trailer)
	maps.DeleteFunc(kept, func(name string, _ []string) bool {
		return !q.plan.filter.PassesLate(name, q.r.Header["Connection"])
	})
	return kept
}

// backendVersion returns the HTTP version that a backend answered with.
func backendVersion(r *http1.Response) string {
	if r.HTTP10 {
		return "1.0"
	}
	return "1.1"
}

var phases = [...]telemetry.Phase{
	transport.DNS:         telemetry.DNS,
	transport.Connect:     telemetry.Connect,
	transport.Send:        telemetry.Send,
	transport.ReadRequest: telemetry.ReadRequest,
	transport.Wait:        telemetry.Wait,
	transport.Receive:     telemetry.Receive,
}

func (q *request) phase(p transport.Phase) {
	q.h.at(inPhase)
	q.rec.Enter(phases[p])
}
