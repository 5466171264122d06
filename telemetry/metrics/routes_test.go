package metrics_test

import (
	"context"
	"fmt"
	"testing"

	"pace/telemetry"
	"pace/telemetry/metrics"
	"pace/telemetry/telemetrytest"
)

// requestsOf returns how many requests of a route ended as ok, and whether there is such a series.
func requestsOf(t *testing.T, b *telemetrytest.All, path, name string) (float64, bool) {
	t.Helper()
	return telemetrytest.Value(b.Scrape(t)[metrics.Requests.Name], metrics.Outcome.Name, "ok", metrics.Route.Name, path, metrics.RouteName.Name, name)
}

func take(b *telemetrytest.All, route *telemetry.Route) {
	b.Request(nil, func(_ context.Context, r *telemetry.Record) {
		b.TakenBy(r, route)
		r.Outcome, r.Status = telemetry.OK, 200
		b.End(r)
	})
}

// A route that stays goes on counting after a reload, one that comes starts at 0, and one that has left keeps
// what it has counted.
func TestConfigure_KeepsCounters(t *testing.T) {
	b := telemetrytest.New(t, nil)
	users := func() *telemetry.Route { return &telemetry.Route{Path: "/users/{id}", Name: "users"} }
	before := []*telemetry.Route{users(), {Path: "/", Name: "rest"}}
	b.Configure(before, []string{"api"})
	take(b, before[0])
	take(b, before[1])
	after := []*telemetry.Route{{Path: "/orders", Name: "orders"}, users(), {Path: "/users/{id}", Name: "canary"}}
	b.Configure(after, []string{"api", "orders"})
	take(b, after[1])
	take(b, before[0]) // it began before the reload
	for _, tt := range []struct {
		path, name string
		want       float64
	}{{"/users/{id}", "users", 3}, {"/users/{id}", "canary", 0}, {"/orders", "orders", 0}, {"/", "rest", 1}, {"", "", 0}} {
		if got, ok := requestsOf(t, b, tt.path, tt.name); got != tt.want || !ok {
			t.Errorf("route %q at %q: got %v, %v; want %v", tt.name, tt.path, got, ok, tt.want)
		}
	}
	if v, ok := telemetrytest.Value(b.Scrape(t)[metrics.Failovers.Name], metrics.Upstream.Name, "orders"); v != 0 || !ok {
		t.Errorf("failovers of a new upstream: got %v, %v; want 0", v, ok)
	}
}

// However often the names change, the series are bounded: the last 100 routes that have left keep theirs.
func TestConfigure_ForgetsRoutesThatAreLongGone(t *testing.T) {
	b := telemetrytest.New(t, nil)
	for i := range 300 {
		route := &telemetry.Route{Path: "/", Name: fmt.Sprint("r", i)}
		b.Configure([]*telemetry.Route{route}, nil)
		take(b, route)
	}
	routes := map[string]bool{}
	for _, s := range b.Scrape(t)[metrics.Requests.Name].GetMetric() {
		for _, l := range s.GetLabel() {
			if l.GetName() == metrics.RouteName.Name {
				routes[l.GetValue()] = true
			}
		}
	}
	if len(routes) != 102 || !routes["r299"] || !routes["r199"] || routes["r198"] || !routes[""] {
		t.Errorf("got the series of %d routes, want 102: the present one, the last 100, and no route", len(routes))
	}
}

// No route is folded into another one's series, however many there are.
func TestConfigure_ManyRoutes(t *testing.T) {
	b := telemetrytest.New(t, nil)
	const n = 200
	var list []*telemetry.Route
	for i := range n {
		list = append(list, &telemetry.Route{Path: fmt.Sprint("/", i), Name: fmt.Sprint("r", i)})
	}
	b.Configure(list, nil)
	for _, r := range list {
		take(b, r)
	}
	scraped := b.Scrape(t)
	for name, family := range scraped {
		for _, s := range family.GetMetric() {
			for _, l := range s.GetLabel() {
				if l.GetName() == "otel_metric_overflow" {
					t.Fatalf("%s has an overflow series", name)
				}
			}
		}
	}
	for name, want := range map[string]float64{metrics.ServerDuration.Name: n, metrics.Requests.Name: n, metrics.OlderDuration.Name: n} {
		if got := telemetrytest.Count(scraped[name]); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

// A request through one of many routes allocates as little as through the only one.
func BenchmarkRoutes(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("routes=%d", n), func(b *testing.B) {
			all := telemetrytest.New(b, func(o *telemetrytest.Options) { o.NoExporter, o.SampleRatio = true, 0 })
			var list []*telemetry.Route
			for i := range n {
				list = append(list, &telemetry.Route{Path: fmt.Sprint("/", i), Name: fmt.Sprint("r", i), Lines: telemetry.NoLines})
			}
			all.Configure(list, nil)
			r := &telemetry.Record{Method: "GET", Scheme: "http", Outcome: telemetry.OK, Status: 200}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r.Route = list[i%n]
				all.Metrics.Publish(telemetry.Begun, r)
				all.Metrics.Publish(telemetry.Ended, r)
			}
		})
	}
}
