package proxy

import (
	"context"
	"net/http"
	"time"

	"pace/lb"
	"pace/proxy/message"
	"pace/proxy/transport"
	"pace/proxy/upstream"
	"pace/telemetry"
)

// failure is an attempt that ended without the exchange's response. Either it failed, or the response has a status
// because of which another backend may be asked.
type failure struct {
	*transport.Error // nil: there is a response
	outcome          telemetry.Outcome
	in               telemetry.Phase // when it failed
	status           int             // of the response
	open             bool            // the response is still to be read
	late             bool            // the exchange has no time for another attempt
}

// failedBy returns the failure that an error of an attempt is.
func (q *request) failedBy(e *transport.Error) *failure {
	return &failure{Error: e, outcome: q.outcomeOf(e), in: phases[e.Phase], late: expired(q.ctx) || q.client.leftAtDeadline()}
}

// reason is what the attempt came to, in the words of the configuration.
func (f *failure) reason() string {
	if f.Error == nil {
		return statusWords[f.status]
	}
	if word, ok := notProcessed[f.Kind]; ok {
		return word
	}
	return f.outcome.String()
}

// notProcessed has the reasons that are more exact than the outcome: whatever the method is, the request may be sent
// again.
var notProcessed = map[transport.Kind]string{
	transport.RefusedStream: telemetry.RefusedStream,
	transport.GoAway:        telemetry.GoAway,
}

// retryReason is why an attempt is made again at the same backend.
func (f *failure) retryReason() string {
	if f.Kind.NotProcessed() {
		return f.reason()
	}
	return telemetry.StaleConnection
}

// statusWords are the statuses because of which another backend may be asked.
var statusWords = map[int]string{429: "429", 502: "502", 503: "503", 504: "504"}

// unwanted returns the response as a failure if another backend may be asked because of its status.
func (q *request) unwanted() *failure {
	word := ""
	if status := q.resp.Status; status >= 429 {
		word = statusWords[status]
	}
	if word == "" || !q.upstream.Repeats(word) {
		return nil
	}
	q.heedRetryAfter()
	return &failure{outcome: ofStatus(q.resp.Status), status: q.resp.Status, open: true}
}

// heedRetryAfter lets the backend that has responded have the pause that it asks for.
func (q *request) heedRetryAfter() {
	if q.resp.Status != http.StatusServiceUnavailable && q.resp.Status != http.StatusTooManyRequests {
		return
	}
	for _, f := range q.resp.Fields {
		if f.Name == "Retry-After" {
			q.upstream.Pause(q.backend, q.resp.Status, message.RetryAfter(f.Value, time.Now(), upstream.MaxPause))
			return
		}
	}
}

// next returns the attempt that follows one that failed, and notes it. If none follows, it returns how the attempts
// ended.
func (q *request) next(f *failure, tried []*lb.Backend) (upstream.Step, *failure) {
	n, reason := len(q.rec.Attempts), f.reason()
	last := &q.rec.Attempts[n-1]
	tries := upstream.Tries{At: tried, Failovers: len(q.rec.Failovers), Retries: len(q.rec.Retries)}
	further, sent := q.further(f, tries), last.BytesSent
	if further < upstream.Failover {
		return upstream.Step{}, f
	}
	if f.open {
		if f = q.keep(f); f.open || f.Error != nil && !f.mayPassElsewhere() {
			return upstream.Step{}, f
		}
	}
	if q.body != nil && !q.body.Again() {
		q.rec.NoFurther = telemetry.BodyNotKept
		return upstream.Step{}, f
	}
	if q.copy != nil {
		q.copy.Again()
	}
	if left := q.pause(n); left != nil {
		return upstream.Step{}, left
	}
	step := q.upstream.Next(tries, further)
	switch {
	case step.Backend == nil:
		q.rec.NoFurther = telemetry.AllTried
	case step.Fresh:
		q.rec.Retries = append(q.rec.Retries, telemetry.Retry{At: last.End, Backend: last.Backend, Reason: f.retryReason(), Attempt: n})
	default:
		q.rec.Failovers = append(q.rec.Failovers, telemetry.Failover{
			At: last.End, From: last.Backend, To: step.Backend.Addr, Reason: reason, Attempt: n, BytesSent: sent,
		})
	}
	return step, f
}

// further decides what may follow a failed attempt, and notes why if it is nothing.
func (q *request) further(f *failure, t upstream.Tries) upstream.Further {
	last := &q.rec.Attempts[len(q.rec.Attempts)-1]
	switch {
	case f.Error != nil && !f.mayPassElsewhere():
		return upstream.NotCalledFor
	case !upstream.MayRepeat(q.r.Method, last.BytesSent) && (f.Error == nil || !f.Kind.NotProcessed()):
		q.rec.NoFurther = telemetry.NotRepeatable
		return upstream.NotCalledFor
	case q.body != nil && !q.body.MayAgain():
		q.rec.NoFurther = telemetry.BodyNotKept
		return upstream.NotCalledFor
	}
	now := time.Now()
	further := q.upstream.Further(t, f.reason(), f.Error, now)
	q.rec.NoFurther = noFurther[further]
	if further == upstream.OverBudget {
		q.rec.OverBudget = append(q.rec.OverBudget, telemetry.OverBudget{
			At: now, Upstream: q.upstream.Name, Reason: f.reason(), Attempt: len(q.rec.Attempts),
		})
	}
	return further
}

var noFurther = [...]telemetry.NoFurther{
	upstream.NotCalledFor:    telemetry.NotCalledFor,
	upstream.NoMoreFailovers: telemetry.NoMoreFailovers,
	upstream.AllTried:        telemetry.AllTried,
	upstream.OverBudget:      telemetry.BudgetExceeded,
	upstream.Failover:        telemetry.NotLast,
	upstream.Retry:           telemetry.NotLast,
}

// keptResponse is a response that is delivered if no further attempt has one.
type keptResponse struct {
	*transport.Kept // nil: there is none
	backend         *upstream.Backend
	attempt         int // its index
}

// A response that is kept is read first, up to this size, and in this time.
const (
	maxKeptBytes = 64 << 10
	keepTimeout  = time.Second
)

// keep reads a response, so that another attempt can be made. It returns f as it is if the response is too large for
// that, and how the attempt failed if its body is not whole.
func (q *request) keep(f *failure) *failure {
	q.rec.Enter(telemetry.Receive)
	k, err := q.resp.Keep(maxKeptBytes, keepTimeout)
	q.rec.Enter(telemetry.Own)
	if k == nil && err == nil {
		q.rec.NoFurther = telemetry.ResponseTooLarge
		return f
	}
	n := len(q.rec.Attempts) - 1
	if k != nil {
		q.kept, f = keptResponse{k, q.backend, n}, &failure{outcome: f.outcome, status: f.status}
	} else {
		f = q.attemptFailed(&q.rec.Attempts[n], transportError(err))
	}
	q.rec.EndAttempt()
	q.resp.Close()
	q.leaveBackend(q.said())
	return f
}

// pause waits before the nth attempt after the first. It returns how the exchange ended, if it did so meanwhile.
func (q *request) pause(n int) *failure {
	d := q.upstream.Backoff(n)
	if d == 0 {
		return nil
	}
	q.rec.Enter(telemetry.Pick)
	defer q.rec.Enter(telemetry.Own)
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-q.ctx.Done():
	}
	f := q.failedBy(&transport.Error{Kind: transport.Canceled, Err: context.Cause(q.ctx)})
	f.in = telemetry.Pick
	return f
}

// settle ends the attempts. What they came to last goes to the client if it is a response; otherwise the response
// that was kept, which is better than none. It returns false if there is none, and pace has responded.
func (q *request) settle(f *failure) bool {
	switch {
	case f.open:
		return true
	case q.kept.Kept != nil && f.mayBeCovered():
		q.resp.Recall(q.kept.Kept)
		q.backend, q.delivering = q.kept.backend, q.kept.attempt
		q.rec.Delivered = q.delivering + 1
		return true
	}
	q.giveUp(f)
	return false
}
