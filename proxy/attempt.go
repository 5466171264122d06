package proxy

import (
	"cmp"
	"errors"
	"slices"
	"syscall"

	"pace/lb"
	"pace/proxy/transport/http1"
	"pace/telemetry"
)

// ask sends the request to a backend, and to another one where that is safe and allowed, until one
// answers. If none does it answers in their place and returns false.
func (q *request) ask() bool {
	q.rec.Upstream = q.h.Upstream
	q.rec.Enter(telemetry.Pick)
	q.h.at(inPick)
	first := q.h.loggedInAt(&connOf(q.ctx).pin, q.asked.Client)
	if first == nil {
		first = q.h.Pool.Pick(nil).Backend
	}
	q.rec.Enter(telemetry.Own)
	if first == nil {
		q.answer(telemetry.NoBackend)
		return false
	}
	q.prepare()
	next := step{backend: first}
	for tried := make([]*lb.Backend, 0, 4); ; {
		failure := q.attempt(next)
		if failure == nil {
			return true
		}
		tried = append(tried, next.backend)
		if next = q.next(failure, tried); next.backend == nil {
			q.giveUp(failure)
			return false
		}
	}
}

// step is the next attempt to make: a failover, or a retry on a new connection.
type step struct {
	backend *lb.Backend // nil: none
	fresh   bool
}

// failure is why an attempt failed.
type failure struct {
	*http1.Error
	outcome telemetry.Outcome
}

// attempt makes one attempt; the answer's header is in q.resp if it returns nil.
func (q *request) attempt(s step) *failure {
	b := q.h.backends[s.backend]
	a := q.rec.BeginAttempt(s.backend.Addr, s.backend.Host(), s.backend.Port())
	q.h.at(inAttempt)
	out := &q.out
	out.render(q, a)
	out.NewConnection, out.Host = s.fresh, cmp.Or(q.r.Host, s.backend.Addr)
	err := b.conns.Do(q.ctx, &out.Request, &q.resp)
	q.rec.Enter(telemetry.Own)
	if err == nil {
		a.Protocol = backendVersion(&q.resp)
		a.Status, a.Reused, a.Remote, a.BytesSent = q.resp.Status, q.resp.Reused, q.resp.Remote, q.resp.BytesSent
		q.backend = b
		return nil
	}
	e, ok := errors.AsType[*http1.Error](err)
	if !ok {
		panic("pace: BUG: " + err.Error())
	}
	f := &failure{e, q.outcome(e)}
	a.Failure, a.Reused, a.Remote, a.BytesSent = f.outcome, e.Reused, e.Remote, e.BytesSent
	if f.outcome != telemetry.ClientGone {
		a.Error = e.Words()
	}
	q.rec.EndAttempt()
	q.resp.Close()
	return f
}

// next decides what follows a failed attempt, and notes it. Failovers are bounded by MaxRetries; a
// retry is made at most once, and only where the backend may have closed an idle connection in the
// moment we took it (docs/interface.md, "Attempts, failovers, retries").
func (q *request) next(f *failure, tried []*lb.Backend) step {
	if !f.mayPassElsewhere() || !q.repeatable(f) {
		return step{}
	}
	n, last := len(q.rec.Attempts), tried[len(tried)-1]
	at := q.rec.Attempts[n-1].End
	if len(q.rec.Failovers) < q.h.MaxRetries {
		if b := q.h.Pool.Pick(tried).Backend; b != nil {
			q.rec.Failovers = append(q.rec.Failovers, telemetry.Failover{
				At: at, From: last.Addr, To: b.Addr, Reason: f.outcome, Attempt: n, BytesSent: f.BytesSent,
			})
			return step{backend: b}
		}
	}
	if f.Kind == http1.Reset && f.Reused && !f.Answered && len(q.rec.Retries) == 0 {
		q.rec.Retries = append(q.rec.Retries, telemetry.Retry{At: at, Backend: last.Addr, Attempt: n})
		return step{backend: last, fresh: true}
	}
	return step{}
}

// mayPassElsewhere says whether another backend may do better. That pace lacks a port is so for one
// destination; what else it lacks, it lacks for all.
func (f *failure) mayPassElsewhere() bool {
	if f.outcome == telemetry.Exhausted {
		return errors.Is(f.Err, syscall.EADDRNOTAVAIL)
	}
	return f.outcome.Info().Side == telemetry.BackendSide
}

// idempotent are the methods that RFC 9110 §9.2.2 allows to repeat, and QUERY, which is safe.
var idempotent = []string{"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "QUERY"}

// repeatable says whether the request may be sent once more: none of its body is used up, and
// either nothing of it was written or its method is idempotent.
func (q *request) repeatable(f *failure) bool {
	return (f.BytesSent == 0 || slices.Contains(idempotent, q.r.Method)) && (q.body == nil || q.body.again())
}

// giveUp answers for a backend that did not, with the last attempt's outcome.
func (q *request) giveUp(f *failure) {
	o := f.outcome
	if o == telemetry.ClientGone {
		q.rec.Outcome, q.rec.Status, q.rec.LeftIn, q.broken = o, o.Info().Status, phases[f.Phase], true
		return
	}
	q.proxyError = proxyError(f.Kind)
	q.answer(o)
}
