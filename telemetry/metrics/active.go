package metrics

import (
	"sync/atomic"

	"pace/telemetry"
)

// activeRequests counts requests in progress by scheme and method.
type activeRequests struct {
	counts [2][telemetry.MethodCount]struct { // [https][method]
		now  atomic.Int64
		seen atomic.Bool
	}
}

func (a *activeRequests) add(r *telemetry.Record, n int64) {
	secure := 0
	if r.Scheme == "https" {
		secure = 1
	}
	c := &a.counts[secure][telemetry.MethodIndex(r.Method)]
	c.now.Add(n)
	if !c.seen.Load() {
		c.seen.Store(true)
	}
}

func (a *activeRequests) read(observe observe) {
	for secure, scheme := range [...]string{"http", "https"} {
		for i, method := range telemetry.Methods() {
			// A method that was never seen has no series. One that was seen keeps its series, at 0.
			if c := &a.counts[secure][i]; c.seen.Load() {
				observe(c.now.Load(), Method.is(method), Scheme.is(scheme))
			}
		}
	}
}
