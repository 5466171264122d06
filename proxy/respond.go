package proxy

import (
	"net/http"
	"strings"

	"pace/proxy/message"
	"pace/proxy/transport"
)

// respond sends the backend's response to the client, as it comes: its header here, and then what follows.
func (q *request) respond() {
	q.h.at(inDeliver)
	if q.conn.GivenUp() {
		q.respondFor(q.client.undelivered())
		return
	}
	q.rec.Status = q.resp.Status
	if q.route.BodyTimeout != nil {
		q.resp.BodyTimeout = *q.route.BodyTimeout
	}
	if q.resp.Status == http.StatusSwitchingProtocols {
		q.upgrade()
		return
	}
	if q.body != nil {
		q.body.Responding()
	}
	h := q.client.Header()
	q.copyFields(h)
	q.body.AnnounceClose(h)
	if q.resp.Status == http.StatusUpgradeRequired && q.r.ProtoMajor == 1 {
		if q.r.Close {
			h["Connection"] = []string{"close"} // or net/http would replace the field
		}
		copyUpgrade(h, q.resp.Fields)
	}
	if q.mayBeStream() && message.IsGRPC(h) {
		defer q.asStream()()
	}
	q.client.begin(q.resp.Status)
	events := q.resp.ContentLength != 0 && isEventStream(h) && q.step.Backend != nil // one that was kept is whole
	if h["Trailer"] != nil {
		if q.r.ProtoMajor == 3 {
			q.client.pass() // quic-go reads the fields only when it sends them. If that fails, so does what follows.
		}
		clear(h) // or net/http would send from it, as a trailer, each field that is announced as one
	}
	switch {
	case events:
		q.streamEvents()
	case q.isTrailersOnly():
		q.delivered(q.deliverCall())
	default:
		e := q.deliver()
		if e.whole() {
			e = q.deliverTrailer(h)
		}
		q.delivered(e)
	}
}

func isEventStream(h http.Header) bool {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), "text/event-stream")
}

// copyFields copies the end-to-end fields of the response, and adds pace's.
func (q *request) copyFields(h http.Header) {
	values := make([]string, 0, len(q.resp.Fields)+4) // one array for the values of all names
	set := func(name, value string) {
		values = append(values, value)
		h[name] = values[len(values)-1 : len(values) : len(values)]
	}
	connection := connectionFields(q.resp.Fields)
	for _, f := range q.resp.Fields {
		switch {
		case f.Name == "Trailer": // hop-by-hop, but net/http makes it anew
			h[f.Name] = append(h[f.Name], f.Value)
		case message.StaysBehind(f.Name, connection):
		case f.Name == "Content-Length" && len(h[f.Name]) > 0: // once more the same: two that differ are refused
		case f.Name == "Content-Length" && q.resp.Status == http.StatusNoContent: // must not have one (RFC 9110 §8.6)
		case len(h[f.Name]) > 0:
			h[f.Name] = append(h[f.Name], f.Value)
		default:
			set(f.Name, f.Value)
		}
	}
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // the backend named none; net/http would guess one
	}
	set("Via", message.Via(h["Via"], q.resp.Version))
	if cookie := q.upstream.StickyCookie(q.backend, q.r.Header, q.asked.Scheme() == "https"); cookie != "" {
		h["Set-Cookie"] = append(h["Set-Cookie"], cookie) // beside the backend's
	}
	if name := q.plan.BackendName; name != "" {
		set(name, q.backend.Label)
	}
	set(message.RequestIDField, q.rec.RequestID)
	if q.plan.TraceName != "" {
		set(q.plan.TraceName, q.rec.TraceID())
	}
	q.conn.Advertise(h)
	if message.Contains(q.plan.TimingAllow, q.asked.Client) {
		h["Server-Timing"] = append(h["Server-Timing"], q.rec.ServerTiming()) // beside the backend's
	}
	q.route.responses.Apply(h)
}

func connectionFields(fields []transport.Field) (list []string) {
	for _, f := range fields {
		if f.Name == "Connection" {
			list = append(list, f.Value)
		}
	}
	return list
}

// copyUpgrade keeps the protocols that the backend names, which are hop-by-hop fields, in a response over
// HTTP/1: of a 101, and of a 426, which would mean nothing without them (RFC 9110 §15.5.22).
func copyUpgrade(h http.Header, fields []transport.Field) {
	for _, f := range fields {
		if f.Name == "Upgrade" {
			h["Upgrade"] = append(h["Upgrade"], f.Value)
		}
	}
	if h["Upgrade"] != nil {
		h["Connection"] = append(h["Connection"], "Upgrade")
	}
}
