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

// reportFailed reports an attempt that got no response.
func (q *request) reportFailed(s upstream.Step, f *failure) {
	at := q.rec.Present().Since
	noteEjected(q.rec, s, at, q.upstream.Ended(s, at, resultOf(f.outcome, 0, phases[f.Phase])))
}

// reportStream reports the attempt whose response has become a stream.
func (q *request) reportStream() {
	at := q.rec.Present().Since
	noteEjected(q.rec, q.step, at, q.upstream.BecameStream(q.step, at, q.result()))
}

// reportResponded reports the attempt that got a response, at its end.
func (q *request) reportResponded() {
	if q.rec.Stream != telemetry.NoStream {
		q.upstream.Ended(q.step, q.rec.Present().Since, upstream.Result{})
		return
	}
	at := q.rec.Present().Since
	noteEjected(q.rec, q.step, at, q.upstream.Ended(q.step, at, q.result()))
}

// result returns what the attempt that got a response says about its backend.
func (q *request) result() upstream.Result {
	a := &q.rec.Attempts[len(q.rec.Attempts)-1]
	return resultOf(cmp.Or(a.Failure, q.rec.Outcome), a.Status, q.rec.LeftIn)
}

// noteEjected notes that an attempt has ejected its backend, if there is a reason.
func noteEjected(rec *telemetry.Record, s upstream.Step, at time.Time, why string) {
	if why != "" {
		rec.Ejected = append(rec.Ejected, telemetry.Ejected{At: at, Backend: s.Backend.Addr, Reason: why})
	}
}
