package proxy

import (
	"cmp"
	"time"

	"pace/proxy/upstream"
	"pace/telemetry"
)

// How an attempt ended is reported to its upstream once, so that the upstream knows which backends work: an attempt
// that gets no response is reported when it has failed, and another one when its response has ended. A stream is
// reported when it begins, too; its end says nothing about its backend.

// leaveBackend notes that the request is in flight at no backend any more, and reports what the attempt there says.
// It does nothing if there is none.
func (q *request) leaveBackend(said upstream.Result) {
	s := q.step
	if s.Backend == nil {
		return
	}
	q.step = upstream.Step{}
	s.Backend.End()
	at := q.rec.Present().Since
	noteEjected(q.rec, s, at, q.upstream.Ended(s, at, said))
}

// reportStream reports the attempt whose response has become a stream.
func (q *request) reportStream() {
	at := q.rec.Present().Since
	noteEjected(q.rec, q.step, at, q.upstream.BecameStream(q.step, at, q.result()))
}

// said returns what the attempt that got a response says in the end. A stream has been reported; and of an attempt
// that a bug has ended, nothing is known.
func (q *request) said() upstream.Result {
	if n := len(q.rec.Attempts); n == 0 || q.rec.Attempts[n-1].Responded.IsZero() || q.rec.Stream != telemetry.NoStream {
		return upstream.Result{}
	}
	return q.result()
}

// result returns what the attempt that got a response says about its backend. If the response is kept, the exchange
// has no outcome yet.
func (q *request) result() upstream.Result {
	a := &q.rec.Attempts[len(q.rec.Attempts)-1]
	o := cmp.Or(a.Failure, q.rec.Outcome, ofStatus(a.Status))
	if q.client.isDeadlines(o, a.GRPCCode) {
		return upstream.Result{}
	}
	return resultOf(o, a.Status, a.GRPCCode, q.rec.LeftIn)
}

// noteEjected notes that an attempt has ejected its backend, if there is a reason.
func noteEjected(rec *telemetry.Record, s upstream.Step, at time.Time, why string) {
	if why != "" {
		rec.Ejected = append(rec.Ejected, telemetry.Ejected{At: at, Backend: s.Backend.Addr, Reason: why})
	}
}
