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

// timeout ends an exchange that takes longer than its route allows. It ends the context of the attempt, and wakes
// the handler if that waits for its client to take more of the response. Its timer runs on another goroutine, so
// it is made for one exchange and never pooled.
type timeout struct {
	living *front.Exchange
	rec    *telemetry.Record
	end    context.CancelCauseFunc

	mu      sync.Mutex // guards what follows; while it is held, the exchange does not end
	stopped bool
	timer   *time.Timer
}

// startTimeout starts the route's timeout, which counts from the beginning of the request.
func (q *request) startTimeout() {
	if q.route.Timeout == 0 {
		return
	}
	t := &timeout{living: &q.living, rec: q.rec}
	q.ctx, t.end = context.WithCancelCause(q.r.Context())
	q.client.ctx = q.ctx
	t.mu.Lock() // a short timeout may have run out already, and expires before its timer is here
	defer t.mu.Unlock()
	t.timer = time.AfterFunc(q.route.Timeout-time.Since(q.rec.Start), t.expire)
	q.timeout = t
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
	t.end(errRouteTimeout)
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

// expired reports whether the exchange with this context ran into its route's timeout.
func expired(ctx context.Context) bool { return context.Cause(ctx) == errRouteTimeout }
