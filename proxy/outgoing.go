package proxy

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"pace/proxy/exchange"
	"pace/telemetry"
)

// outgoing is the request as it goes to a backend. Its fields are rendered once; each attempt adds
// the lines that name it as the parent of what the backend does.
type outgoing struct {
	exchange.Request
	q      *request
	lines  []byte
	common int // bytes of lines that all attempts share
}

var outgoings = sync.Pool{New: func() any { return new(outgoing) }}

// outgoing prepares the request for its attempts. A body may be sent beside the answer: it is
// released when the answer is closed.
func (q *request) outgoing() *outgoing {
	o := outgoings.Get().(*outgoing)
	o.q, o.lines = q, o.lines[:0]
	r := q.r
	o.Request = exchange.Request{
		Method: r.Method, Target: target(r),
		Upgrade:    upgradeOf(r),
		TrailersOK: namedIn(r.Header["Te"], "trailers"),
		On1xx:      q.interim,
		OnPhase:    q.phase,
	}
	if q.body != nil {
		o.Body, o.ContentLength, o.StopBody = q.body, r.ContentLength, q.body.stop
		o.Expect = namedIn(r.Header["Expect"], "100-continue")
		o.AnnouncedTrailer = announced(r.Trailer)
		o.Trailer = func() http.Header { return r.Trailer }
		o.Upgrade = "" // a switch of protocols in mid-body has no meaning
	}
	o.appendEndToEnd()
	o.appendForwarding()
	o.appendLine("Via", via(r.Header["Via"], protocolVersion(r)))
	o.appendLine(requestIDField, q.rec.RequestID)
	o.lines = append(o.lines, q.h.proxyLine...)
	o.common = len(o.lines)
	return o
}

func (o *outgoing) release() {
	*o = outgoing{lines: o.lines[:0]}
	outgoings.Put(o)
}

// render completes the fields for the attempt.
func (o *outgoing) render(a *telemetry.Attempt) {
	o.lines = o.q.rec.AppendPropagation(o.q.ctx, o.lines[:o.common], a)
	o.Fields = o.lines
}

func (o *outgoing) appendLine(name, value string) {
	o.lines = append(append(append(append(o.lines, name...), ": "...), value...), "\r\n"...)
}

// appendEndToEnd appends the client's fields that go on as they are.
func (o *outgoing) appendEndToEnd() {
	header, connection := o.q.r.Header, o.q.r.Header["Connection"]
	for name, values := range header {
		if hopByHop[name] || o.q.h.strip[name] || name == "Expect" || name == "Via" || name == "Content-Length" ||
			slices.Contains(forwarding, name) || (len(connection) > 0 && namedIn(connection, name)) {
			continue
		}
		for _, v := range values {
			o.appendLine(name, v)
		}
	}
}

// appendForwarding appends what pace saw. What a trusted proxy saw is continued, what anyone else
// claims is replaced.
func (o *outgoing) appendForwarding() {
	q, h := o.q, o.q.r.Header
	peer := q.rec.Peer.Addr().WithZone("").String()
	element := "for=" + forwardedNode(q.rec.Peer.Addr()) + ";host=" + quoted(q.r.Host) + ";proto=" + q.rec.Scheme
	seen, host, proto := peer, q.r.Host, q.rec.Scheme
	if q.h.trust.of(q.rec.Peer.Addr()) {
		seen = continued(h["X-Forwarded-For"], peer)
		element = continued(h["Forwarded"], element)
		host = firstOr(h["X-Forwarded-Host"], host)
		proto = firstOr(h["X-Forwarded-Proto"], proto)
		for _, v := range h["X-Real-Ip"] {
			o.appendLine("X-Real-Ip", v)
		}
	}
	o.appendLine("X-Forwarded-For", seen)
	o.appendLine("X-Forwarded-Host", host)
	o.appendLine("X-Forwarded-Proto", proto)
	o.appendLine("Forwarded", element)
}

func continued(list []string, last string) string {
	if len(list) == 0 {
		return last
	}
	return strings.Join(list, ", ") + ", " + last
}

func firstOr(list []string, otherwise string) string {
	if len(list) == 0 {
		return otherwise
	}
	return list[0]
}

// forwardedNode renders an address as RFC 7239 §6 wants it.
func forwardedNode(a netip.Addr) string {
	if a = a.WithZone(""); a.Is6() {
		return `"[` + a.String() + `]"`
	}
	return a.String()
}

// quoted renders s as a quoted-string, or as it is if it is a token (RFC 9110 §5.6).
func quoted(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c)
	}) {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// via appends pace to a list of intermediaries; version is of the message as pace received it (RFC 9110 §7.6.3).
func via(list []string, version string) string {
	return continued(list, version+" pace")
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

// target is the request's target in the form that an origin server expects. What the client wrote
// is kept to the letter where that cannot be misread.
func target(r *http.Request) string {
	if raw := r.RequestURI; raw == "*" || (strings.HasPrefix(raw, "/") && plain(raw)) {
		return raw
	}
	return r.URL.RequestURI()
}

func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '#' {
			return false
		}
	}
	return true
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
	exchange.Connect:     telemetry.Connect,
	exchange.Send:        telemetry.Send,
	exchange.ReadRequest: telemetry.ReadRequest,
	exchange.Wait:        telemetry.Wait,
}

func (q *request) phase(p exchange.Phase) { q.rec.Enter(phases[p]) }
