package proxy

import (
	"context"
	"errors"
	"sync"
	"time"

	"pace/proxy/front"
	"pace/telemetry"
)

// errRouteTimeout is why the context of an exchange ended whose route's timeout ran out.
var errRouteTimeout = errors.New("the route's timeout ran out")

// errDeadline is why the context of a gRPC call ended whose client waits no longer.
var errDeadline = errors.New("the deadline of the gRPC client ran out")

// timeout ends an exchange that takes longer than its route allows, or than its client waits, if that is one of gRPC.
// It ends the context of the attempt, and wakes the handler if that waits for its client to take more of the
// response. Its timer runs on another goroutine, so it is made for one exchange and never pooled.
type timeout struct {
	living   *front.Exchange
	rec      *telemetry.Record
	end      context.CancelCauseFunc
	deadline time.Time // of a gRPC client; zero: none

	mu      sync.Mutex // guards what follows; while it is held, the exchange does not end
	why     error      // which of the two the timer is for
	stopped bool
	timer   *time.Timer
}

// startTimeout starts what limits the exchange: the route's timeout and the deadline of a gRPC client, both of which
// count from the beginning of the request.
func (q *request) startTimeout() {
	at, why := q.client.deadline, errDeadline
	if q.route.Timeout > 0 {
		if end := q.rec.Start.Add(q.route.Timeout); at.IsZero() || end.Before(at) {
			at, why = end, errRouteTimeout
		}
	}
	if at.IsZero() {
		return
	}
	t := &timeout{living: &q.living, rec: q.rec, deadline: q.client.deadline, why: why}
	q.ctx, t.end = context.WithCancelCause(q.r.Context())
	q.client.ctx = q.ctx
	t.mu.Lock() // a short timeout may have run out already, and expires before its timer is here
	defer t.mu.Unlock()
	t.timer = time.AfterFunc(time.Until(at), t.expire)
	q.timeout = t
}

// onlyDeadline stops the route's timeout: the exchange may have become a stream of gRPC. The deadline of its client
// still holds. A nil timeout is none.
func (t *timeout) onlyDeadline() {
	if t == nil {
		return
	}
	if t.deadline.IsZero() {
		t.stop()
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.why == errRouteTimeout && !t.stopped && t.timer.Stop() {
		t.why = errDeadline
		t.timer.Reset(time.Until(t.deadline))
	}
}

// lookAgain is how long after an expired timeout it looks again whether the handler waits for its client: it may
// have been about to begin the response.
const lookAgain = 100 * time.Millisecond

func (t *timeout) expire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return
	}
	t.end(t.why)
	if t.rec.Phase() == telemetry.Deliver {
		t.living.Interrupt()
	}
	t.timer.Reset(lookAgain)
}

// stop stops the timeout: the exchange has ended, has become a stream, or gets pace's own response. A nil timeout
// is none.
func (t *timeout) stop() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	t.timer.Stop()
}

// release stops the timeout for good: nothing waits for its context any more.
func (t *timeout) release() {
	if t == nil {
		return
	}
	t.stop()
	t.end(nil)
}

// expired reports whether the exchange with this context ran out of time.
func expired(ctx context.Context) bool {
	why := context.Cause(ctx)
	return why == errRouteTimeout || why == errDeadline
}

// earlyLeave is how much before its deadline, by pace's clock, a client may leave because of it. Its own clock began
// before, so it usually leaves some microseconds before pace would end the call.
const earlyLeave = 20 * time.Millisecond

// leftAtDeadline reports whether a client that has left did so because its deadline ran out.
func (c *client) leftAtDeadline() bool {
	return !c.deadline.IsZero() && time.Until(c.deadline) <= c.early
}
