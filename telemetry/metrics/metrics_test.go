package metrics_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"pace/telemetry"
	"pace/telemetry/metrics"
	"pace/telemetry/telemetrytest"
)

// What a client writes into a request makes no series.
func TestMetrics_SeriesAreBounded(t *testing.T) {
	b := telemetrytest.New(t, nil)
	series := func() (n int) {
		for _, f := range b.Scrape(t) {
			n += len(f.GetMetric())
		}
		return n
	}
	ask := func(i int) {
		b.Request(http.Header{"User-Agent": {fmt.Sprint(i)}}, func(_ context.Context, r *telemetry.Record) {
			telemetrytest.Fill(r)
			r.Method, r.Host, r.Path, r.Query, r.UserAgent = fmt.Sprint("M", i), fmt.Sprint("h", i), fmt.Sprint("/", i), fmt.Sprint(i), fmt.Sprint(i)
			r.Peer, r.Client, r.RequestID, r.PeerPort = fmt.Sprint(i), fmt.Sprint(i), fmt.Sprint(i), i
			b.End(r)
		})
	}
	ask(0)
	before := series()
	for i := range 500 {
		ask(i)
	}
	if after := series(); after != before {
		t.Errorf("%d series became %d", before, after)
	}
}

// The counters of a pool and a route exist before anything has happened, so that an increase is seen.
func TestMetrics_AreAnnounced(t *testing.T) {
	b := telemetrytest.New(t, nil)
	scraped := b.Scrape(t)
	for _, reason := range telemetry.FailoverReasons() {
		if v, ok := telemetrytest.Value(scraped[metrics.Failovers.Name], metrics.Reason.Name, reason, metrics.Upstream.Name, "default"); !ok || v != 0 {
			t.Errorf("failovers because of %v: got %v, %v", reason, v, ok)
		}
	}
	if v, ok := telemetrytest.Value(scraped[metrics.Retries.Name], metrics.Reason.Name, telemetry.StaleConnection, metrics.Upstream.Name, "default"); !ok || v != 0 {
		t.Errorf("retries: got %v, %v", v, ok)
	}
	if v, ok := telemetrytest.Value(scraped[metrics.BudgetExhausted.Name], metrics.Upstream.Name, "default"); !ok || v != 0 {
		t.Errorf("exhausted budgets: got %v, %v", v, ok)
	}
	for _, o := range telemetry.Outcomes() {
		if v, ok := telemetrytest.Value(scraped[metrics.Requests.Name], metrics.Outcome.Name, o.Word, metrics.Side.Name, string(o.Side), metrics.Route.Name, "/"); !ok || v != 0 {
			t.Errorf("requests that ended as %s: got %v, %v", o.Word, v, ok)
		}
	}
	for _, o := range telemetry.Rejections() {
		if v, ok := telemetrytest.Value(scraped[metrics.Rejections.Name], metrics.Reason.Name, o.Word, metrics.Route.Name, "/"); !ok || v != 0 {
			t.Errorf("rejections as %s: got %v, %v", o.Word, v, ok)
		}
	}
	for _, phase := range wordsOf(metrics.ClientLeft, metrics.LeftIn.Name) {
		if v, ok := telemetrytest.Value(scraped[metrics.ClientLeft.Name], metrics.LeftIn.Name, phase, metrics.Route.Name, "/"); !ok || v != 0 {
			t.Errorf("clients that left in %s: got %v, %v", phase, v, ok)
		}
	}
}

// Only a client that left is counted by its phase.
func TestRequestCounts_OfClientsThatLeft(t *testing.T) {
	b := telemetrytest.New(t, nil)
	end := func(o telemetry.Outcome, in telemetry.Phase) {
		b.Request(nil, func(_ context.Context, r *telemetry.Record) {
			r.Route, r.Outcome, r.LeftIn = b.Route, o, in
			b.End(r)
		})
	}
	end(telemetry.ClientGone, telemetry.Wait)
	end(telemetry.ClientAborted, telemetry.Deliver)
	end(telemetry.ClientAborted, telemetry.Deliver)
	end(telemetry.OK, telemetry.Deliver)
	end(telemetry.RequestTimeout, telemetry.ReadRequest)
	end(telemetry.Unset, telemetry.Own)
	scraped := b.Scrape(t)
	for phase, want := range map[string]float64{"wait": 1, "deliver": 2, "read_request": 0, "own": 0} {
		if got, ok := telemetrytest.Value(scraped[metrics.ClientLeft.Name], metrics.LeftIn.Name, phase, metrics.Route.Name, "/"); got != want || !ok {
			t.Errorf("left in %s: got %v, %v; want %v", phase, got, ok, want)
		}
	}
	for word, want := range map[string]float64{"client_gone": 1, "client_aborted": 2, "ok": 1, "request_timeout": 1, "unset": 1} {
		if got, _ := telemetrytest.Value(scraped[metrics.Requests.Name], metrics.Outcome.Name, word, metrics.Route.Name, "/", metrics.RouteName.Name, "default"); got != want {
			t.Errorf("%s: got %v, want %v", word, got, want)
		}
	}
	b.Close()
	for i, want := range []any{"wait", "deliver", "deliver", nil, nil, nil} {
		line, span := b.Logged(t, "request")[i], telemetrytest.AttributesOf(t, b.Exporter.Spans()[i])
		if line["left_in"] != want || span["pace.left_in"] != want {
			t.Errorf("request %d: the line says left_in %v, the span %v, want %v", i, line["left_in"], span["pace.left_in"], want)
		}
	}
}

// State that lives elsewhere is read at each scrape.
func TestProbes(t *testing.T) {
	b := telemetrytest.New(t, nil)
	scraped := b.Scrape(t)
	if v, ok := telemetrytest.Value(scraped[metrics.Connections.Name], metrics.State.Name, "active"); v != 0 || !ok {
		t.Errorf("connections before anybody counts them: got %v, %v", v, ok)
	}
	b.WatchConnections(func() (int, int) { return 3, 4 })
	limiter := func(keys int, evicted uint64) telemetry.LimiterState {
		return telemetry.LimiterState{Keys: func() int { return keys }, Evicted: func() uint64 { return evicted }}
	}
	b.WatchLimiters(map[string]telemetry.LimiterState{"a": limiter(5, 7), "b": limiter(6, 8)})
	one := telemetry.BackendState{Upstream: "api", Host: "10.0.0.1", Port: 80, InFlight: 2, Open: 5, Idle: 3}
	socket := telemetry.BackendState{Upstream: "api", Host: "/run/app.sock", Idle: 1} // idle before it was counted as open
	b.WatchBackends(func() []telemetry.BackendState { return []telemetry.BackendState{one, socket} })
	for range 2 {
		b.Refused(telemetry.RefusedH2Error)
	}
	scraped = b.Scrape(t)
	for _, tt := range []struct {
		metric, label, word string
		want                float64
	}{
		{metrics.Connections.Name, metrics.State.Name, "active", 3}, {metrics.Connections.Name, metrics.State.Name, "idle", 4},
		{metrics.LimiterKeys.Name, metrics.Policy.Name, "a", 5}, {metrics.LimiterKeys.Name, metrics.Policy.Name, "b", 6},
		{metrics.LimiterEvicted.Name, metrics.Policy.Name, "a", 7}, {metrics.LimiterEvicted.Name, metrics.Policy.Name, "b", 8},
		{metrics.Refused.Name, metrics.Reason.Name, "h2_error", 2}, {metrics.Refused.Name, metrics.Reason.Name, "bad_request", 0},
		{metrics.BuildInfo.Name, metrics.Version.Name, "1", 1}, {metrics.LogDropped.Name, metrics.Reason.Name, telemetry.BufferFull.String(), 0},
		{metrics.SpansDropped.Name, metrics.Reason.Name, telemetry.QueueFull.String(), 0},
	} {
		if v, ok := telemetrytest.Value(scraped[tt.metric], tt.label, tt.word); v != tt.want || !ok {
			t.Errorf("%s{%s=%q}: got %v, %v; want %v", tt.metric, tt.label, tt.word, v, ok, tt.want)
		}
	}
	for _, tt := range []struct {
		metric string
		labels []string
		want   float64
	}{
		{metrics.BackendRequests.Name, []string{"pace_upstream", "api", "server_address", "10.0.0.1", "server_port", "80"}, 2},
		{metrics.BackendRequests.Name, []string{"pace_upstream", "api", "server_address", "/run/app.sock"}, 0},
		{metrics.BackendConnections.Name, []string{"server_address", "10.0.0.1", "state", "active"}, 2},
		{metrics.BackendConnections.Name, []string{"server_address", "10.0.0.1", "state", "idle"}, 3},
		{metrics.BackendConnections.Name, []string{"server_address", "/run/app.sock", "state", "active"}, 0},
	} {
		if v, ok := telemetrytest.Value(scraped[tt.metric], tt.labels...); v != tt.want || !ok {
			t.Errorf("%s%v: got %v, %v; want %v", tt.metric, tt.labels, v, ok, tt.want)
		}
	}
	b.WatchBackends(func() []telemetry.BackendState { return []telemetry.BackendState{socket} })
	scraped = b.Scrape(t)
	for _, name := range []string{metrics.BackendRequests.Name, metrics.BackendConnections.Name} {
		if _, ok := telemetrytest.Value(scraped[name], "server_address", "10.0.0.1"); ok {
			t.Errorf("a backend that is gone still has its series of %s", name)
		}
	}
	b.WatchLimiters(map[string]telemetry.LimiterState{"a": limiter(5, 7)})
	if _, ok := telemetrytest.Value(b.Scrape(t)[metrics.LimiterKeys.Name], metrics.Policy.Name, "b"); ok {
		t.Error("a policy that is gone still has its series")
	}
}

// A backend takes its series along when it leaves.
func TestBackends(t *testing.T) {
	b := telemetrytest.New(t, nil)
	b.WatchUpstreams(map[string]telemetry.UpstreamState{"default": {
		Checks: func() (passed, failed int64, ok bool) { return 0, 0, false }, PanicPicks: func() int64 { return 3 },
	}})
	tcp := telemetry.BackendState{Upstream: "default", Host: "10.0.0.1", Port: 80, Up: true, Changes: []int64{0, 0, 0, 0, 0}}
	unix := telemetry.BackendState{Upstream: "default", Host: "/run/app.sock", Changes: []int64{1, 2, 3, 4, 5}}
	b.WatchBackends(func() []telemetry.BackendState { return []telemetry.BackendState{tcp, unix} })
	scraped := b.Scrape(t)
	for _, tt := range []struct {
		metric, label, word string
		want                float64
	}{
		{metrics.BackendUp.Name, metrics.ServerAddress.Name, "10.0.0.1", 1}, {metrics.BackendUp.Name, metrics.ServerPort.Name, "80", 1},
		{metrics.BackendUp.Name, metrics.ServerAddress.Name, "/run/app.sock", 0},
		{metrics.BackendTransitions.Name, metrics.To.Name, "unhealthy", 3}, {metrics.BackendTransitions.Name, metrics.To.Name, "drained", 5},
		{metrics.BackendTransitions.Name, metrics.ServerAddress.Name, "10.0.0.1", 0}, {metrics.PanicPicks.Name, metrics.Upstream.Name, "default", 3},
	} {
		if v, ok := telemetrytest.Value(scraped[tt.metric], tt.label, tt.word); v != tt.want || !ok {
			t.Errorf("%s{%s=%q}: got %v, %v; want %v", tt.metric, tt.label, tt.word, v, ok, tt.want)
		}
	}
	b.WatchBackends(func() []telemetry.BackendState { return []telemetry.BackendState{tcp} })
	scraped = b.Scrape(t)
	for _, name := range []string{metrics.BackendUp.Name, metrics.BackendTransitions.Name} {
		if _, ok := telemetrytest.Value(scraped[name], metrics.ServerAddress.Name, "/run/app.sock"); ok {
			t.Errorf("%s: a backend that is gone still has its series", name)
		}
	}
}

// What is lost of telemetry itself is in the metrics.
func TestLossesAreCounted(t *testing.T) {
	b := telemetrytest.New(t, nil)
	b.Traces.Lost().Add(telemetry.ExportFailed, 7)
	b.Log.Lost().Add(telemetry.WriteFailed, 8)
	scraped := b.Scrape(t)
	spans, _ := telemetrytest.Value(scraped[metrics.SpansDropped.Name], metrics.Reason.Name, telemetry.ExportFailed.String())
	lines, _ := telemetrytest.Value(scraped[metrics.LogDropped.Name], metrics.Reason.Name, telemetry.WriteFailed.String())
	if spans != 7 || lines != 8 {
		t.Errorf("got %v spans and %v lines, want 7 and 8", spans, lines)
	}
}

// Ten scrapes at once and requests meanwhile.
func TestScrapes_ConcurrentSafe(t *testing.T) {
	b := telemetrytest.New(t, nil)
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			for range 5 {
				b.Scrape(t)
			}
		})
	}
	for range 4 {
		all.Go(func() {
			for range 100 {
				b.Request(nil, func(_ context.Context, r *telemetry.Record) { telemetrytest.Fill(r); b.End(r) })
			}
		})
	}
	all.Wait()
	if n := telemetrytest.Count(b.Scrape(t)[metrics.ServerDuration.Name]); n != 400 {
		t.Errorf("got %v, want 400", n)
	}
}
