package metrics

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"pace/telemetry"
)

// routes holds the series of all routes. They feed the MeterProvider's reader as a producer, because the SDK
// would keep the series of a route for ever, and would hash the label set of each at every scrape.
type routes struct {
	start  time.Time
	native bool // whether the histograms are

	mu    sync.Mutex // guards what follows
	known map[routeKey]*routeSeries
	gone  []routeKey // those that are in no configuration any more, in the order in which they left
}

// routeKey identifies a route across configurations.
type routeKey struct{ path, name string }

// maxGone is how many routes that have left the configuration keep their series. Exchanges that began before
// they left may still end, and a route that comes back goes on counting.
const maxGone = 100

// routeSeries are the series of one route. Every word exists at 0 from the start, because Prometheus does not
// see the increase of a series that appears with its first value.
type routeSeries struct {
	labels    []attribute.KeyValue
	native    bool
	outcomes  [telemetry.OutcomeCount]atomic.Int64
	left      [telemetry.PhaseCount]atomic.Int64
	durations cache[durationKey, *duration]
}

// durationKey is all that the label set of a request's duration depends on, besides its route.
type durationKey struct {
	method  uint8 // index of the method
	secure  bool
	outcome telemetry.Outcome
	grpc    telemetry.GRPCCode
	status  int
}

// duration is one series of [ServerDuration].
type duration struct {
	*tally
	labels attribute.Set
}

// maxStatuses is how many series of durations a route has at most with a status. A backend may choose any
// three digits; those that come later are counted without them.
const maxStatuses = 2000

func newRoutes(native bool) *routes {
	r := &routes{start: time.Now(), native: native, known: map[routeKey]*routeSeries{}}
	r.of(nil) // what ends before its route is known
	return r
}

// configure makes the series of the routes, and marks those of all others as gone.
func (r *routes) configure(list []*telemetry.Route) {
	r.mu.Lock()
	defer r.mu.Unlock()
	here := map[routeKey]bool{{}: true}
	for _, route := range list {
		k := keyOf(route)
		here[k] = true
		route.Series = r.make(k)
	}
	r.gone = slices.DeleteFunc(r.gone, func(k routeKey) bool { return here[k] })
	for k := range r.known {
		if !here[k] && !slices.Contains(r.gone, k) {
			r.gone = append(r.gone, k)
		}
	}
	for ; len(r.gone) > maxGone; r.gone = r.gone[1:] {
		delete(r.known, r.gone[0])
	}
}

func keyOf(route *telemetry.Route) routeKey {
	if route == nil {
		return routeKey{}
	}
	return routeKey{route.Path, route.Name}
}

// of returns the series of a route. Only a route that nobody has configured is searched for.
func (r *routes) of(route *telemetry.Route) *routeSeries {
	if route != nil {
		if s, ok := route.Series.(*routeSeries); ok {
			return s
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.make(keyOf(route))
}

// make returns the series of a key, and makes them if they are the key's first. r.mu is held.
func (r *routes) make(k routeKey) *routeSeries {
	s := r.known[k]
	if s == nil {
		s = &routeSeries{native: r.native, labels: []attribute.KeyValue{Route.is(k.path), RouteName.is(k.name)}}
		r.known[k] = s
	}
	return s
}

// add counts an exchange whose request is over.
func (s *routeSeries) add(r *telemetry.Record, took time.Duration) {
	s.outcomes[r.Outcome].Add(1)
	if r.ClientLeft() {
		s.left[r.LeftIn].Add(1)
	}
	k := durationKey{uint8(telemetry.MethodIndex(r.Method)), r.Scheme == "https", r.Outcome, r.GRPCCode, r.Status}
	d, ok := s.durations.find(k)
	if !ok {
		if len(s.durations.all()) >= maxStatuses {
			k.status = 0
		}
		d = s.durations.get(k, func() *duration {
			return &duration{newTally(ServerDuration.Bounds, s.native), serverSet(r, k.status != 0)}
		})
	}
	d.add(took)
}

// Produce implements metric.Producer.
func (r *routes) Produce(context.Context) ([]metricdata.ScopeMetrics, error) {
	r.mu.Lock()
	list := make([]*routeSeries, 0, len(r.known))
	for _, s := range r.known {
		list = append(list, s)
	}
	r.mu.Unlock()
	now := time.Now()
	var durations points
	var outcomes, left, rejections []metricdata.DataPoint[int64]
	point := func(n int64, labels ...attribute.KeyValue) metricdata.DataPoint[int64] {
		return metricdata.DataPoint[int64]{Attributes: attribute.NewSet(labels...), StartTime: r.start, Time: now, Value: n}
	}
	for _, s := range list {
		for o := range telemetry.OutcomeCount {
			n, info := s.outcomes[o].Load(), o.Info()
			if n == 0 && o == telemetry.Unset {
				continue // no request ends with it
			}
			outcomes = append(outcomes, point(n, Outcome.is(info.Word), Side.is(string(info.Side)), s.labels[0], s.labels[1]))
			if info.Rejection == telemetry.Rejected {
				rejections = append(rejections, point(n, Reason.is(info.Word), s.labels[0], s.labels[1]))
			}
		}
		for p := range telemetry.PhaseCount {
			left = append(left, point(s.left[p].Load(), LeftIn.is(p.String()), s.labels[0], s.labels[1]))
		}
		for _, d := range s.durations.all() {
			durations.add(d.tally, r.start, now, d.labels)
		}
	}
	return []metricdata.ScopeMetrics{{Metrics: []metricdata.Metrics{
		produced(ServerDuration, durations.data()), produced(Requests, total(outcomes)),
		produced(ClientLeft, total(left)), produced(Rejections, total(rejections)),
	}}}, nil
}

func total(points []metricdata.DataPoint[int64]) metricdata.Sum[int64] {
	return metricdata.Sum[int64]{DataPoints: points, Temporality: metricdata.CumulativeTemporality, IsMonotonic: true}
}

func produced(i Instrument, data metricdata.Aggregation) metricdata.Metrics {
	return metricdata.Metrics{Name: i.Key, Unit: i.Unit, Description: i.Doc, Data: data}
}
