package telemetry

import (
	"maps"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
)

// The counters of requests. They are read at each scrape from [requestCounts], in which every word is
// there at 0 from the start: the increase of a series that appears with its first value is not seen.
var (
	requestsTotal = Instrument{
		Name: MetricRequests, otel: "pace.requests", Type: "counter", Unit: "{request}",
		Labels: []string{LabelOutcome, LabelSide, LabelRoute}, Doc: "Requests, by how they ended and whose doing that was.",
	}
	clientLeft = Instrument{
		Name: MetricClientLeft, otel: "pace.client.left", Type: "counter", Unit: "{request}",
		Labels: []string{LabelLeftIn, LabelRoute}, Doc: "Requests whose client left, by the phase in which it did. Those that left in wait have usually timed out on a slow backend.",
	}
)

// requestCounts count requests for each route. A request writes one atomic addition.
type requestCounts struct {
	routes atomic.Pointer[map[string]*routeCounts] // replaced, never changed
	mu     sync.Mutex                              // of who replaces routes
}

type routeCounts struct {
	outcomes [outcomeCount]atomic.Int64
	left     [phaseCount]atomic.Int64
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

func (c *requestCounts) add(r *Record) {
	counts := c.of(r.Route)
	counts.outcomes[r.Outcome].Add(1)
	if r.left() {
		counts.left[r.LeftIn].Add(1)
	}
}

// each visits the counts of every route.
func (c *requestCounts) each(visit func(route attribute.KeyValue, counts *routeCounts)) {
	if m := c.routes.Load(); m != nil {
		for route, counts := range *m {
			visit(attribute.String("http.route", route), counts)
		}
	}
}

func (c *requestCounts) readOutcomes(observe func(int64, ...attribute.KeyValue)) {
	c.each(func(route attribute.KeyValue, counts *routeCounts) {
		for o := range outcomeCount {
			n, info := counts.outcomes[o].Load(), o.Info()
			if n == 0 && (o == Unset || info.Later) {
				continue // no request ends so
			}
			observe(n, attribute.String("pace.outcome", info.Word), attribute.String("pace.side", string(info.Side)), route)
		}
	})
}

func (c *requestCounts) readLeft(observe func(int64, ...attribute.KeyValue)) {
	c.each(func(route attribute.KeyValue, counts *routeCounts) {
		for p := range phaseCount {
			observe(counts.left[p].Load(), attribute.String(LabelLeftIn, p.String()), route)
		}
	})
}
