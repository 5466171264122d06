package proxy

import (
	"net/http"
	"slices"
	"strconv"

	"pace/proxy/message"
	"pace/proxy/transport"
	"pace/telemetry"
)

// A gRPC call is a request whose status is 200 whatever becomes of it: how it ended stands in the trailer, or, if
// there is nothing else to send, in a header after which nothing follows (trailers-only). So a call is measured to
// its end, but has the timeouts of a stream, because it may be one and nobody can see that from its header.

// describeCall notes that the request is a gRPC call, if it is, and until when its client waits.
func (q *request) describeCall() {
	if !message.IsGRPC(q.r.Header) {
		return
	}
	q.rec.GRPC = true
	if d, ok := message.GRPCTimeout(q.r.Header); ok {
		q.rec.GRPCTimeout = d
		q.client.deadline, q.client.early = q.rec.Start.Add(d), min(d/10, earlyLeave)
	}
}

// grpcCodeOf returns the code of a response to a gRPC call that has come whole: that of its grpc-status, in the
// trailer, or in the header if there was nothing else. Where it is missing, clients take the HTTP status for one;
// where it is malformed or unknown, they take it for UNKNOWN.
func grpcCodeOf(r *transport.Response) telemetry.GRPCCode {
	for _, fields := range [][]transport.Field{r.Trailer, r.Fields} {
		value, n := lastField(fields, message.GRPCStatusField)
		if n == 0 {
			continue
		}
		if number, ok := message.GRPCStatus(value); ok && n == 1 {
			return telemetry.GRPCCodeOf(number)
		}
		return telemetry.GRPCUnknown
	}
	return telemetry.GRPCCodeOf(message.GRPCStatusOf(r.Status))
}

// grpcMessageOf returns what the response says about its code, as text that may hold any bytes.
func grpcMessageOf(r *transport.Response) string {
	value, n := lastField(r.Trailer, message.GRPCMessageField)
	if n == 0 {
		value, _ = lastField(r.Fields, message.GRPCMessageField)
	}
	return message.GRPCMessageText(value)
}

// lastField returns the value of the last field with this name, and how many there are.
func lastField(fields []transport.Field, name string) (value string, n int) {
	for _, f := range fields {
		if f.Name == name {
			value = f.Value
			n++
		}
	}
	return value, n
}

// noteCode notes the code with which an attempt's response ended the call. What a backend says about its own
// failure is the error of the attempt; what it says to a client that is at fault may be personal, and is not noted.
func noteCode(a *telemetry.Attempt, r *transport.Response) {
	a.GRPCCode = grpcCodeOf(r)
	if a.GRPCCode.Faulty() && a.Error == "" {
		a.Error = telemetry.Printable(grpcMessageOf(r))
	}
}

// mayBeStream reports whether the request may be a stream of gRPC, as far as the client's side shows. Over HTTP/1.1 it is
// none, whatever its content type says: no library sends it, and a stream would hold a connection of the client.
func (q *request) mayBeStream() bool { return q.rec.GRPC && q.r.ProtoMajor > 1 }

// asStream gives the call what a stream has, now that its response begins: no timeout but the deadline of its client,
// and an end if its backend is drained. closed must be called when the response has ended.
func (q *request) asStream() (closed func()) {
	q.timeout.onlyDeadline()
	q.resp.BodyTimeout = 0
	if q.step.Backend == nil { // the response was kept, and is whole
		return func() {}
	}
	return q.step.Backend.OpenStream(q.endDrainedCall)
}

// endDrainedCall ends the call, because its backend is drained and the time of its streams is up. It runs on another
// goroutine, and wakes the handler wherever that waits; if it waits for the backend, the client still gets a trailer.
func (q *request) endDrainedCall() {
	q.drained.Store(true)
	q.resp.Interrupt()
	if q.rec.Phase() == telemetry.Deliver {
		q.living.Interrupt()
	}
}

// isTrailersOnly reports whether the response has its grpc-status in the header.
func (q *request) isTrailersOnly() bool {
	return q.rec.GRPC && slices.ContainsFunc(q.resp.Fields, func(f transport.Field) bool { return f.Name == message.GRPCStatusField })
}

// deliverCall sends a response that has its grpc-status in the header. Nothing should follow, and then the header
// must go out together with the end of the stream: to clients of gRPC it would otherwise be a header without a
// status. So nothing is flushed before it is known.
func (q *request) deliverCall() ending {
	q.rec.Enter(telemetry.Receive)
	if end, over := q.deliverPiece(); over {
		return end
	}
	return q.deliver()
}

// asCall makes a response of pace itself one to a gRPC call: the header alone, with the code and the sentence. A
// response that the configuration names has the code that clients take its status for.
func (q *request) asCall(r ownResponse, h http.Header) ownResponse {
	q.rec.GRPCCode = r.outcome.GRPC()
	if configured(r.outcome) {
		q.rec.GRPCCode = telemetry.GRPCCodeOf(message.GRPCStatusOf(r.status))
	}
	setCode(h, "", q.rec.GRPCCode, r.outcome)
	h["Content-Type"] = []string{message.GRPCType}
	r.status, r.body = http.StatusOK, ""
	return r
}

// setCode adds the fields of a code, whose names begin with prefix.
func setCode(h http.Header, prefix string, c telemetry.GRPCCode, o telemetry.Outcome) {
	h[prefix+message.GRPCStatusField] = []string{strconv.Itoa(c.Number())}
	h[prefix+message.GRPCMessageField] = []string{message.GRPCMessage(sentence(o))}
}

// sentence is what a client of gRPC reads about an outcome.
func sentence(o telemetry.Outcome) string {
	s := o.Info().Sentence
	if s == "" {
		s = o.Info().Cause + "."
	}
	return s + " Outcome: " + o.String()
}

// endCall ends the response to a call that is not whole by a trailer with the code, if the client can still get
// one. It reports whether it can: otherwise the stream must be reset.
func (q *request) endCall(o telemetry.Outcome) bool {
	h := q.client.Header()
	if !q.rec.GRPC || h["Content-Length"] != nil || q.r.Method == http.MethodHead || q.r.ProtoMajor == 1 && q.r.ProtoMinor == 0 ||
		q.r.Context().Err() != nil && !q.client.aborted() || q.living.Stalled() || q.conn.GivenUp() {
		return false
	}
	if q.client.flush() != nil {
		return false
	}
	q.rec.GRPCCode = o.GRPC()
	setCode(h, http.TrailerPrefix, q.rec.GRPCCode, o)
	return true
}
