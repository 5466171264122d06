package proxy

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"pace/proxy/front"
	"pace/proxy/message"
	"pace/proxy/transport"
	"pace/telemetry"
)

// deliver sends the backend's answer to the client, as it comes.
func (q *request) deliver() {
	q.h.at(inDeliver)
	if front.ConnOf(q.ctx).GivenUp() {
		q.answer(q.undelivered())
		return
	}
	q.rec.Status = q.resp.Status
	if q.resp.Status == http.StatusSwitchingProtocols {
		q.upgrade()
		return
	}
	if q.body != nil {
		q.body.answering()
	}
	h := q.w.Header()
	q.copyFields(h)
	q.closeUnfinished(h)
	if q.resp.Status == http.StatusUpgradeRequired && q.r.ProtoMajor == 1 {
		if q.r.Close {
			h["Connection"] = []string{"close"} // or net/http would replace the field
		}
		sayUpgrade(h, q.resp.Fields)
	}
	q.answered = true
	q.w.WriteHeader(q.resp.Status)
	events := q.resp.ContentLength != 0 && isEventStream(h)
	if h["Trailer"] != nil {
		clear(h) // or net/http would send from it, as a trailer, each field that is announced as one
	}
	if events {
		q.deliverEvents()
		return
	}
	if !q.stream() {
		return
	}
	if q.body != nil && !q.body.ended.Load() && !q.flush() { // it need not wait until we have let go of its body
		return
	}
	switch {
	case q.living.Stalled(): // already of an interim answer; net/http swallowed the error
		q.breakOff(q.undelivered())
		q.rec.LeftIn = telemetry.Deliver
	case front.ConnOf(q.ctx).GivenUp():
		q.breakOff(q.undelivered())
	case q.copyTrailer(h):
		q.rec.Outcome = delivered(q.resp.Status)
	}
}

func isEventStream(h http.Header) bool {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), "text/event-stream")
}

// deliverEvents sends server-sent events. They may go on for hours, so the request is measured by
// its header; that a client leaves is how most such streams end.
func (q *request) deliverEvents() {
	if !q.flush() {
		return
	}
	q.rec.Outcome = delivered(q.resp.Status)
	header := q.rec.Outcome
	q.h.Telemetry.BecomeStream(q.rec, telemetry.EventStream)
	if q.stream() {
		q.rec.Closed = telemetry.ClosedByBackend
		return
	}
	switch q.rec.Outcome {
	case telemetry.UpstreamTruncated:
		q.rec.Closed = telemetry.LostBackend
	case telemetry.ClientAborted:
		q.rec.Closed = telemetry.ClosedByClient
	default: // its body went wrong
		q.rec.Closed = telemetry.LostClient
	}
	if q.living.Stalled() {
		q.rec.Closed = telemetry.LostClient
	}
	if q.aborted() {
		q.rec.Closed = telemetry.ClosedByDrain
	}
	q.rec.Outcome = header
	a := &q.rec.Attempts[len(q.rec.Attempts)-1]
	a.Failure, a.Error = telemetry.Unset, ""
}

// copyFields copies the end-to-end fields of the answer, and adds pace's.
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
	set("Via", message.Via(h["Via"], backendVersion(&q.resp)))
	if name := q.plan.BackendName; name != "" {
		set(name, q.backend.Label)
	}
	set(message.RequestIDField, q.rec.RequestID)
	if q.plan.TraceName != "" {
		set(q.plan.TraceName, q.rec.TraceID())
	}
	if message.Contains(q.plan.TimingAllow, q.asked.Client) {
		h["Server-Timing"] = append(h["Server-Timing"], q.rec.ServerTiming()) // beside the backend's
	}
}

func connectionFields(fields []transport.Field) (list []string) {
	for _, f := range fields {
		if f.Name == "Connection" {
			list = append(list, f.Value)
		}
	}
	return list
}

// copyTrailer sends the trailer fields, announced or not, without those that are pace's own or
// belong into the header. It returns false if the client has left.
func (q *request) copyTrailer(h http.Header) bool {
	if len(q.resp.Trailer) == 0 {
		return true
	}
	own := []string{"Via", message.RequestIDField, q.plan.BackendName, q.plan.TraceName}
	for _, f := range q.resp.Trailer {
		if !message.HopByHop(f.Name) && !message.TooLate(f.Name) && !slices.Contains(own, f.Name) {
			h.Add(http.TrailerPrefix+f.Name, f.Value)
		}
	}
	return q.flush() // the header: of a short answer net/http would tell the length, and send no trailer
}

// stream copies the body piece by piece, straight from the buffer it was read into, and flushes
// whenever the next piece is not at hand yet. It returns false if the answer is not whole.
func (q *request) stream() bool {
	q.h.at(inStream)
	for {
		if !q.resp.Buffered() {
			if done, whole := q.splice(); done && !whole {
				return false
			} else if !done {
				if !q.flush() {
					return false
				}
				q.rec.Enter(telemetry.Receive)
			}
		}
		piece, err := q.resp.Next()
		if err == io.EOF {
			q.rec.Enter(telemetry.Own)
			return true
		}
		if err != nil {
			q.fallShort(err)
			q.rec.Enter(telemetry.Deliver)
			q.w.(interface{ FlushError() error }).FlushError() // the status that the record tells of
			return false
		}
		q.rec.Enter(telemetry.Deliver)
		if !q.write(piece) {
			return false
		}
	}
}

func (q *request) write(piece []byte) bool {
	n, err := q.w.Write(piece)
	q.rec.BytesOut += int64(n)
	if q.rec.Stream != telemetry.NoStream {
		q.rec.Moved(0, int64(n))
	}
	if err != nil {
		q.breakOff(q.undelivered())
		return false
	}
	return true
}

// flush sends what net/http holds back.
func (q *request) flush() bool {
	q.rec.Enter(telemetry.Deliver)
	if err := q.w.(interface{ FlushError() error }).FlushError(); err != nil {
		q.breakOff(q.undelivered())
		return false
	}
	return true
}

// cutShort names whose doing it is that a body came to no end. When the client leaves, its
// request's context ends first, and only that makes the read from the backend fail; net/http ends
// it, too, when the client is late with its own body.
func (q *request) cutShort(err error) telemetry.Outcome {
	if q.aborted() {
		return telemetry.DrainTimeout
	}
	e, _ := errors.AsType[*transport.Error](err)
	if q.body != nil && e != nil && (e.Kind == transport.RequestBody || e.Kind == transport.Canceled) {
		q.resp.Close() // nobody reads the request's body any more: what was wrong with it is known
		if o := q.body.verdict(); o != telemetry.ClientGone {
			return o
		}
		return q.undelivered()
	}
	if q.ctx.Err() != nil {
		return q.undelivered()
	}
	return telemetry.UpstreamTruncated
}

// fallShort ends an answer whose body came to no end because of err.
func (q *request) fallShort(err error) {
	o := q.cutShort(err)
	q.breakOff(o)
	if e, ok := errors.AsType[*transport.Error](err); ok && o != telemetry.ClientAborted {
		q.rec.Attempts[len(q.rec.Attempts)-1].Error = e.Words()
	}
}

// breakOff ends an answer that is not whole; the client must be able to see that. To HTTP/1.0 the
// end of the connection is the end of the answer, unless it is a reset; and for whom took nothing, the
// kernel would keep what it holds.
func (q *request) breakOff(o telemetry.Outcome) {
	q.rec.Outcome, q.rec.LeftIn, q.broken = o, q.rec.Phase(), true
	if q.rec.Protocol == "1.0" || q.r.ProtoMajor == 1 && q.living.Stalled() {
		front.ConnOf(q.ctx).SetLinger(0)
	}
	q.rec.Attempts[len(q.rec.Attempts)-1].Failure = o
}

// interim hands on each 1xx response, also a 100 that nobody asked for, but none to HTTP/1.0, which does not
// know them (RFC 9110 §15.2).
func (q *request) interim(status int, fields []transport.Field) {
	q.h.at(inInterim)
	switch {
	case !q.r.ProtoAtLeast(1, 1):
	case q.body != nil:
		q.body.interim(status, func() { q.writeInterim(status, fields) })
	default:
		q.writeInterim(status, fields)
	}
}

// writeInterim writes a 1xx answer. Its hop-by-hop fields stay behind, as those of the final one.
func (q *request) writeInterim(status int, fields []transport.Field) {
	h := q.w.Header()
	connection := connectionFields(fields)
	for _, f := range fields {
		if !message.StaysBehind(f.Name, connection) {
			h[f.Name] = append(h[f.Name], f.Value)
		}
	}
	q.rec.Enter(telemetry.Deliver)
	q.w.WriteHeader(status)
	clear(h)
}
