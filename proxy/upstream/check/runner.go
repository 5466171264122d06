package check

import (
	"context"
	"math/rand/v2"
	"time"
)

// Runner checks one backend until it is stopped. It has one goroutine.
type Runner struct {
	o       Options
	backend Backend
	report  func(Result)
	stop    context.CancelFunc
}

// Start begins to check a backend. report gets each result, on the runner's goroutine. Backends that are started
// in one instant are not checked in one instant: the first check begins at random within an interval, and within
// a second.
func Start(o Options, b Backend, report func(Result)) *Runner {
	ctx, stop := context.WithCancel(context.Background())
	r := &Runner{o: o, backend: b, report: report, stop: stop}
	go r.run(ctx)
	return r
}

// Stop ends the runner, and a check that is in flight. It does not wait: report may be running, but it is not
// called any more once it has returned.
func (r *Runner) Stop() { r.stop() }

// maxDelay is how long the first check is put off, at most. A backend that is down at the start should soon be
// known.
const maxDelay = time.Second

func (r *Runner) run(ctx context.Context) {
	next := time.NewTimer(rand.N(min(r.o.Interval, maxDelay)))
	defer next.Stop()
	for {
		select {
		case <-next.C:
		case <-ctx.Done():
		}
		if ctx.Err() != nil { // both may have been ready
			return
		}
		next.Reset(jittered(r.o.Interval))
		if result, ok := r.once(ctx); ok {
			r.report(result)
		}
	}
}

// jittered returns d, a tenth longer or shorter at most.
func jittered(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5+1) }
