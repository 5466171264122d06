package proxy

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"pace/proxy/exchange"
	"pace/telemetry"
)

// outgoing is the request as it goes to a backend. Its fields are rendered once; each attempt adds
// the lines that name it as the parent of what the backend does.
type outgoing struct {
	exchange.Request
	lines  []byte
	common int // bytes of lines that all attempts share
}

// prepare makes the request ready for its attempts.
func (q *request) prepare() {
	o, r := &q.out, q.r
	o.Method = r.Method
	o.Upgrade, o.TrailersOK = upgradeOf(r), namedIn(r.Header["Te"], "trailers")
	if q.body != nil {
		q.body.goesOut()
		o.Body, o.ContentLength, o.StopBody = q.body, r.ContentLength, q.body.stop
		o.Expect = q.body.expects
		o.AnnouncedTrailer = announced(q.trailer())
		o.Trailer = q.trailer
	}
	o.Repeatable = q.body == nil && slices.Contains(idempotent, r.Method)
	o.lines = o.lines[:0]
	q.appendEndToEnd()
	o.lines = q.asked.appendFields(o.lines, q.peer)
	o.line("Via", via(r.Header["Via"], protocolVersion(r)))
	o.line(requestIDField, q.rec.RequestID)
	o.lines = append(o.lines, q.h.proxyLine...)
	o.common = len(o.lines)
}

// mostKept is the largest buffer of field lines that is kept for another request.
const mostKept = 16 << 10

// reset forgets the request, but for its buffer and its callbacks.
func (o *outgoing) reset() {
	if cap(o.lines) > mostKept {
		o.lines = nil
	}
	o.Request = exchange.Request{OnPhase: o.OnPhase, On1xx: o.On1xx}
}

// render completes the fields for the attempt.
func (o *outgoing) render(q *request, a *telemetry.Attempt) {
	o.lines = q.rec.AppendPropagation(q.ctx, o.lines[:o.common], a)
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
	for name, values := range q.r.Header {
		if !q.passes(name) {
			continue
		}
		for _, v := range values {
			q.out.line(name, v)
		}
	}
}

// trailer returns the fields of the client's trailer that go on. Until the body has been read to its
// end they are the names announced.
func (q *request) trailer() http.Header {
	kept := maps.Clone(q.r.Trailer)
	maps.DeleteFunc(kept, func(name string, _ []string) bool {
		return !q.passes(name) || inHeaderOnly[asRead(name)] || isProxyField(asRead(name))
	})
	return kept
}

// via appends pace to a list of intermediaries; version is of the message as pace received it (RFC 9110 §7.6.3).
func via(list []string, version string) string {
	if len(list) > 0 {
		return strings.Join(list, ", ") + ", " + version + " pace"
	}
	if version == "1.1" {
		return "1.1 pace"
	}
	return version + " pace"
}

func protocolVersion(r *http.Request) string {
	switch {
	case r.ProtoMajor == 2:
		return "2"
	case r.ProtoMinor == 0:
		return "1.0"
	}
	return "1.1"
}

// backendVersion returns the HTTP version that a backend answered with.
func backendVersion(r *exchange.Response) string {
	if r.HTTP10 {
		return "1.0"
	}
	return "1.1"
}

// target is the request's target in the form that an origin server expects. What the client wrote
// is kept to the letter where that cannot be misread.
func target(r *http.Request) string {
	if raw := r.RequestURI; raw == "*" || (strings.HasPrefix(raw, "/") && plain(raw)) {
		return raw
	}
	return escaped(r.URL.RequestURI())
}

func plain(s string) bool {
	for i := range len(s) {
		if misleading(s[i]) {
			return false
		}
	}
	return true
}

// misleading says whether c ends a target early, or is read in more than one way.
func misleading(c byte) bool { return c <= ' ' || c >= 0x7f || c == '#' }

// escaped percent-encodes what is misleading; in a query that HTTP/2 brought it may be anything.
func escaped(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if misleading(s[i]) {
			fmt.Fprintf(&b, "%%%02X", s[i])
		} else {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func announced(trailer http.Header) string {
	if len(trailer) == 0 {
		return ""
	}
	names := make([]string, 0, len(trailer))
	for name := range trailer {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

var phases = [...]telemetry.Phase{
	exchange.DNS:         telemetry.DNS,
	exchange.Connect:     telemetry.Connect,
	exchange.Send:        telemetry.Send,
	exchange.ReadRequest: telemetry.ReadRequest,
	exchange.Wait:        telemetry.Wait,
	exchange.Receive:     telemetry.Receive,
}

func (q *request) phase(p exchange.Phase) { q.rec.Enter(phases[p]) }
