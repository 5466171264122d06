package metrics

import (
	"maps"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"

	"pace/telemetry"
)

// requestCounts counts requests by route and outcome. A request makes one atomic addition. The counts are read
// at each scrape. Every word exists at 0 from the start, because Prometheus does not see the increase of a
// series that appears with its first value.
type requestCounts struct {
	routes atomic.Pointer[map[string]*routeCounts] // replaced, never changed
	mu     sync.Mutex                              // held by who replaces routes
}

type routeCounts struct {
	outcomes [telemetry.OutcomeCount]atomic.Int64
	left     [telemetry.PhaseCount]atomic.Int64
}

// of returns the counts of a route, whose name is bounded by the config.
func (c *requestCounts) of(route string) *routeCounts {
	if m := c.routes.Load(); m != nil {
		if r := (*m)[route]; r != nil {
			return r
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	next := map[string]*routeCounts{}
	if m := c.routes.Load(); m != nil {
		next = maps.Clone(*m)
	}
	if next[route] == nil {
		next[route] = &routeCounts{}
	}
	c.routes.Store(&next)
	return next[route]
}

func (c *requestCounts) add(r *telemetry.Record) {
	counts := c.of(r.Route)
	counts.outcomes[r.Outcome].Add(1)
	if r.ClientLeft() {
		counts.left[r.LeftIn].Add(1)
	}
}

// each visits the counts of every route.
func (c *requestCounts) each(visit func(route attribute.KeyValue, counts *routeCounts)) {
	if m := c.routes.Load(); m != nil {
		for route, counts := range *m {
			visit(Route.is(route), counts)
		}
	}
}

func (c *requestCounts) readOutcomes(observe observe) {
	c.each(func(route attribute.KeyValue, counts *routeCounts) {
		for o := range telemetry.OutcomeCount {
			n, info := counts.outcomes[o].Load(), o.Info()
			if n == 0 && (o == telemetry.Unset || info.Later) {
				continue // no request ends with it
			}
			observe(n, Outcome.is(info.Word), Side.is(string(info.Side)), route)
		}
	})
}

func (c *requestCounts) readLeft(observe observe) {
	c.each(func(route attribute.KeyValue, counts *routeCounts) {
		for p := range telemetry.PhaseCount {
			observe(counts.left[p].Load(), LeftIn.is(p.String()), route)
		}
	})
}
