package proxy

import (
	"cmp"
	"errors"
	"syscall"

	"pace/lb"
	"pace/proxy/front"
	"pace/proxy/transport"
	"pace/proxy/upstream"
	"pace/telemetry"
)

// ask sends the request to a backend, and to another one where that is safe and allowed, until one
// answers. If none does it answers in their place and returns false.
func (q *request) ask() bool {
	up := q.plan.upstream
	q.rec.Upstream = up.Name
	q.rec.Enter(telemetry.Pick)
	q.h.at(inPick)
	first := up.First(pinOf(front.ConnOf(q.ctx)), q.asked.Client)
	q.rec.Enter(telemetry.Own)
	if first == nil {
		q.answer(telemetry.NoBackend)
		return false
	}
	q.prepare()
	next := upstream.Step{Backend: first}
	for tried := make([]*lb.Backend, 0, 4); ; {
		failure := q.attempt(next)
		if failure == nil {
			return true
		}
		tried = append(tried, next.Backend.Backend)
		if next = q.next(failure, tried); next.Backend == nil {
			q.giveUp(failure)
			return false
		}
	}
}

// failure is why an attempt failed.
type failure struct {
	*transport.Error
	outcome telemetry.Outcome
}

// attempt makes one attempt; the answer's header is in q.resp if it returns nil.
func (q *request) attempt(s upstream.Step) *failure {
	b := s.Backend
	a := q.rec.BeginAttempt(b.Addr, b.Host(), b.Port())
	q.h.at(inAttempt)
	out := &q.out
	out.render(q, a)
	out.NewConnection, out.Host = s.Fresh, cmp.Or(q.r.Host, b.Addr)
	err := b.Do(q.ctx, &out.Request, &q.resp)
	q.rec.Enter(telemetry.Own)
	if err == nil {
		a.Protocol = backendVersion(&q.resp)
		a.Status, a.Reused, a.Remote, a.BytesSent = q.resp.Status, q.resp.Reused, q.resp.Remote, q.resp.BytesSent
		q.backend = b
		return nil
	}
	e, ok := errors.AsType[*transport.Error](err)
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

// next decides what follows a failed attempt, and notes it.
func (q *request) next(f *failure, tried []*lb.Backend) upstream.Step {
	if !f.mayPassElsewhere() || !upstream.MayRepeat(q.r.Method, f.Error) || q.body != nil && !q.body.again() {
		return upstream.Step{}
	}
	step := q.plan.upstream.Next(upstream.Tries{At: tried, Failovers: len(q.rec.Failovers), Retries: len(q.rec.Retries)}, f.Error)
	n, last := len(q.rec.Attempts), tried[len(tried)-1]
	at := q.rec.Attempts[n-1].End
	switch {
	case step.Backend == nil:
	case step.Fresh:
		q.rec.Retries = append(q.rec.Retries, telemetry.Retry{At: at, Backend: last.Addr, Attempt: n})
	default:
		q.rec.Failovers = append(q.rec.Failovers, telemetry.Failover{
			At: at, From: last.Addr, To: step.Backend.Addr, Reason: f.outcome, Attempt: n, BytesSent: f.BytesSent,
		})
	}
	return step
}

// mayPassElsewhere says whether another backend may do better. That pace lacks a port is so for one
// destination; what else it lacks, it lacks for all.
func (f *failure) mayPassElsewhere() bool {
	if f.outcome == telemetry.Exhausted {
		return errors.Is(f.Err, syscall.EADDRNOTAVAIL)
	}
	return f.outcome.Info().Side == telemetry.BackendSide
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
