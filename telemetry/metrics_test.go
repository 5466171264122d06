package telemetry

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// Who asks for a label set gets the one of its key, and each is made about once.
func TestSetCache_ConcurrentSafe(t *testing.T) {
	var c setCache[int]
	var made atomic.Int64
	var all sync.WaitGroup
	const keys = 50
	for range 8 {
		all.Go(func() {
			for i := range 20 * keys {
				k := i % keys
				o := c.get(k, func(k int) attribute.Set {
					made.Add(1)
					return attribute.NewSet(attribute.Int("k", k))
				})
				set := metric.NewRecordConfig([]metric.RecordOption{o[0]}).Attributes()
				if v, ok := set.Value("k"); !ok || v.AsInt64() != int64(k) {
					t.Errorf("key %d: got %v", k, set.ToSlice())
				}
			}
		})
	}
	all.Wait()
	if n := made.Load(); n < keys || n > 8*keys {
		t.Errorf("%d sets were made for %d keys", n, keys)
	}
}

// What a client writes into a request makes no series.
func TestMetrics_SeriesAreBounded(t *testing.T) {
	b := newBench(t, nil)
	series := func() (n int) {
		for _, f := range scrape(t, b.Telemetry) {
			n += len(f.GetMetric())
		}
		return n
	}
	ask := func(i int) {
		b.request(http.Header{"User-Agent": {fmt.Sprint(i)}}, func(_ context.Context, r *Record) {
			fill(r)
			r.Method, r.Host, r.Path, r.Query, r.UserAgent = fmt.Sprint("M", i), fmt.Sprint("h", i), fmt.Sprint("/", i), fmt.Sprint(i), fmt.Sprint(i)
			r.Peer, r.Client, r.RequestID, r.PeerPort = fmt.Sprint(i), fmt.Sprint(i), fmt.Sprint(i), i
			r.End()
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
	b := newBench(t, nil)
	metrics := scrape(t, b.Telemetry)
	for _, o := range FailoverReasons() {
		if v, ok := value(metrics[MetricFailovers], LabelReason, o.Word, LabelUpstream, "default"); !ok || v != 0 {
			t.Errorf("failovers because of %v: got %v, %v", o.Word, v, ok)
		}
	}
	if v, ok := value(metrics[MetricRetries], LabelReason, staleConnection, LabelUpstream, "default"); !ok || v != 0 {
		t.Errorf("retries: got %v, %v", v, ok)
	}
	for _, o := range Outcomes() {
		if o.Later {
			continue
		}
		if v, ok := value(metrics[MetricRequests], LabelOutcome, o.Word, LabelSide, string(o.Side), LabelRoute, "/"); !ok || v != 0 {
			t.Errorf("requests that ended as %s: got %v, %v", o.Word, v, ok)
		}
	}
	for _, o := range Rejections() {
		if v, ok := value(metrics[MetricRejections], LabelReason, o.Word, LabelRoute, "/"); ok == o.Later || v != 0 {
			t.Errorf("rejections as %s: got %v, %v", o.Word, v, ok)
		}
	}
	for _, phase := range phaseWords {
		if v, ok := value(metrics[MetricClientLeft], LabelLeftIn, phase, LabelRoute, "/"); !ok || v != 0 {
			t.Errorf("clients that left in %s: got %v, %v", phase, v, ok)
		}
	}
}

// Whoever counts a route first makes its counts, once, and none is lost.
func TestRequestCounts_ConcurrentSafe(t *testing.T) {
	var c requestCounts
	var all sync.WaitGroup
	const routes, each = 20, 500
	for range 8 {
		all.Go(func() {
			for i := range routes * each {
				c.add(&Record{Route: fmt.Sprint(i % routes), Outcome: ClientGone, LeftIn: Wait})
			}
		})
	}
	all.Wait()
	for i := range routes {
		counts := c.of(fmt.Sprint(i))
		if gone, left := counts.outcomes[ClientGone].Load(), counts.left[Wait].Load(); gone != 8*each || left != 8*each {
			t.Errorf("route %d: got %d and %d, want %d", i, gone, left, 8*each)
		}
	}
}

// Only a client that left is counted by its phase.
func TestRequestCounts_OfClientsThatLeft(t *testing.T) {
	b := newBench(t, nil)
	end := func(o Outcome, in Phase) {
		b.request(nil, func(_ context.Context, r *Record) {
			r.Route, r.Outcome, r.LeftIn = "/", o, in
			r.End()
		})
	}
	end(ClientGone, Wait)
	end(ClientAborted, Deliver)
	end(ClientAborted, Deliver)
	end(OK, Deliver)
	end(RequestTimeout, ReadRequest)
	end(Unset, Own)
	metrics := scrape(t, b.Telemetry)
	for phase, want := range map[string]float64{"wait": 1, "deliver": 2, "read_request": 0, "own": 0} {
		if got, ok := value(metrics[MetricClientLeft], LabelLeftIn, phase, LabelRoute, "/"); got != want || !ok {
			t.Errorf("left in %s: got %v, %v; want %v", phase, got, ok, want)
		}
	}
	for word, want := range map[string]float64{"client_gone": 1, "client_aborted": 2, "ok": 1, "request_timeout": 1, "unset": 1} {
		if got, _ := value(metrics[MetricRequests], LabelOutcome, word); got != want {
			t.Errorf("%s: got %v, want %v", word, got, want)
		}
	}
	b.close()
	for i, want := range []any{"wait", "deliver", "deliver", nil, nil, nil} {
		line, span := b.logged(t, "request")[i], attributesOfSpan(t, b.exporter.spans[i])
		if line["left_in"] != want || span["pace.left_in"] != want {
			t.Errorf("request %d: the line says left_in %v, the span %v, want %v", i, line["left_in"], span["pace.left_in"], want)
		}
	}
}

// TestTally_IsAHistogramOfTheSDK holds our histogram to the SDK's on random durations and all bounds.
func TestTally_IsAHistogramOfTheSDK(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	h, err := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("").
		Float64Histogram("h", metric.WithExplicitBucketBoundaries(tallyBounds[:]...))
	if err != nil {
		t.Fatal(err)
	}
	var ours tally
	add := func(d time.Duration) {
		ours.add(d)
		h.Record(context.Background(), d.Seconds())
	}
	random := rand.New(rand.NewPCG(7, 8))
	for range 20_000 {
		add(time.Duration(math.Exp(random.Float64() * math.Log(100e9)))) // 1 ns to 100 s, evenly on a log scale
	}
	for _, bound := range tallyBounds {
		d := time.Duration(math.Round(bound * 1e9))
		add(d - 1)
		add(d)
		add(d + 1)
	}
	var data metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &data); err != nil {
		t.Fatal(err)
	}
	want := data.ScopeMetrics[0].Metrics[0].Data.(metricdata.Histogram[float64]).DataPoints[0]
	got := ours.point(time.Time{}, time.Now())
	if got.Count != want.Count || fmt.Sprint(got.BucketCounts) != fmt.Sprint(want.BucketCounts) || math.Abs(got.Sum-want.Sum) > 1e-6*want.Sum {
		t.Errorf("got %d, %v, sum %v; the SDK has %d, %v, sum %v", got.Count, got.BucketCounts, got.Sum, want.Count, want.BucketCounts, want.Sum)
	}
}

// A phase that a request did not enter is not counted as one of no length.
func TestPhaseTallies_CountOnlyWhatWasEntered(t *testing.T) {
	var p phaseTallies
	p.add(&[phaseCount]time.Duration{Own: time.Microsecond, Wait: time.Second})
	data, err := p.Produce(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range data[0].Metrics {
		for _, point := range m.Data.(metricdata.Histogram[float64]).DataPoints {
			word, labelled := point.Attributes.Value(LabelPhase)
			if want := uint64(btoi(!labelled || word.AsString() == "wait")); point.Count != want {
				t.Errorf("%s %s: got %d, want %d", m.Name, word.AsString(), point.Count, want)
			}
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// State that lives elsewhere is read at each scrape.
func TestProbes(t *testing.T) {
	b := newBench(t, nil)
	metrics := scrape(t, b.Telemetry)
	if v, ok := value(metrics[MetricConnections], LabelState, "active"); v != 0 || !ok {
		t.Errorf("connections before anybody counts them: got %v, %v", v, ok)
	}
	b.WatchConnections(func() (int, int) { return 3, 4 })
	limiter := func(keys int, evicted uint64) LimiterState {
		return LimiterState{Keys: func() int { return keys }, Evicted: func() uint64 { return evicted }}
	}
	b.WatchLimiters(map[string]LimiterState{"a": limiter(5, 7), "b": limiter(6, 8)})
	for range 2 {
		b.Refused(RefusedH2Error)
	}
	metrics = scrape(t, b.Telemetry)
	for _, tt := range []struct {
		metric, label, word string
		want                float64
	}{
		{MetricConnections, LabelState, "active", 3}, {MetricConnections, LabelState, "idle", 4},
		{MetricLimiterKeys, LabelPolicy, "a", 5}, {MetricLimiterKeys, LabelPolicy, "b", 6},
		{MetricLimiterEvicted, LabelPolicy, "a", 7}, {MetricLimiterEvicted, LabelPolicy, "b", 8},
		{MetricRefused, LabelReason, "h2_error", 2}, {MetricRefused, LabelReason, "bad_request", 0},
		{MetricBuildInfo, LabelVersion, "1", 1}, {MetricLogDropped, LabelReason, bufferFull, 0},
		{MetricSpansDropped, LabelReason, queueFull, 0},
	} {
		if v, ok := value(metrics[tt.metric], tt.label, tt.word); v != tt.want || !ok {
			t.Errorf("%s{%s=%q}: got %v, %v; want %v", tt.metric, tt.label, tt.word, v, ok, tt.want)
		}
	}
	b.WatchLimiters(map[string]LimiterState{"a": limiter(5, 7)})
	if _, ok := value(scrape(t, b.Telemetry)[MetricLimiterKeys], LabelPolicy, "b"); ok {
		t.Error("a policy that is gone still has its series")
	}
}

// What is lost of telemetry itself is in the metrics.
func TestLossesAreCounted(t *testing.T) {
	b := newBench(t, nil)
	b.queue.drop(exportFailed, 7)
	b.sink.dropped[writeFailed].Add(8)
	metrics := scrape(t, b.Telemetry)
	spans, _ := value(metrics[MetricSpansDropped], LabelReason, exportFailed)
	lines, _ := value(metrics[MetricLogDropped], LabelReason, writeFailed)
	if spans != 7 || lines != 8 {
		t.Errorf("got %v spans and %v lines, want 7 and 8", spans, lines)
	}
}

// Ten scrapes at once and requests meanwhile.
func TestScrapes_ConcurrentSafe(t *testing.T) {
	b := newBench(t, nil)
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			for range 5 {
				scrape(t, b.Telemetry)
			}
		})
	}
	for range 4 {
		all.Go(func() {
			for range 100 {
				b.request(nil, func(_ context.Context, r *Record) { r.TakeOff(); fill(r); r.End() })
			}
		})
	}
	all.Wait()
	if n := count(scrape(t, b.Telemetry)[MetricServerDuration]); n != 400 {
		t.Errorf("got %v, want 400", n)
	}
}
