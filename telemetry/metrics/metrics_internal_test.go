package metrics

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"pace/telemetry"
)

// Who asks for a label set gets the one of its key, and each is made about once.
func TestRecordOptions_ConcurrentSafe(t *testing.T) {
	var c recordOptions[int]
	var made atomic.Int64
	var all sync.WaitGroup
	const keys = 50
	for range 8 {
		all.Go(func() {
			for i := range 20 * keys {
				k := i % keys
				o := c.of(k, func() attribute.Set {
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

// Whoever counts a route first makes its counts, once, and none is lost.
func TestRoutes_ConcurrentSafe(t *testing.T) {
	r := newRoutes(false)
	var all sync.WaitGroup
	const routes, each = 20, 500
	for range 8 {
		all.Go(func() {
			for i := range routes * each {
				route := &telemetry.Route{Name: fmt.Sprint(i % routes)} // nobody has configured it
				r.of(route).add(&telemetry.Record{Route: route, Outcome: telemetry.ClientGone, LeftIn: telemetry.Wait}, time.Second)
			}
		})
	}
	all.Wait()
	for i := range routes {
		counts := r.of(&telemetry.Route{Name: fmt.Sprint(i)})
		if gone, left := counts.outcomes[telemetry.ClientGone].Load(), counts.left[telemetry.Wait].Load(); gone != 8*each || left != 8*each {
			t.Errorf("route %d: got %d and %d, want %d", i, gone, left, 8*each)
		}
	}
}

// TestTally_IsAHistogramOfTheSDK holds our histogram to the SDK's on random durations and all bounds.
func TestTally_IsAHistogramOfTheSDK(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	h, err := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("").
		Float64Histogram("h", metric.WithExplicitBucketBoundaries(tallyBounds...))
	if err != nil {
		t.Fatal(err)
	}
	ours := newTally(tallyBounds, false)
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
	got := ours.point(time.Time{}, time.Now(), *attribute.EmptySet())
	if got.Count != want.Count || fmt.Sprint(got.BucketCounts) != fmt.Sprint(want.BucketCounts) || math.Abs(got.Sum-want.Sum) > 1e-6*want.Sum {
		t.Errorf("got %d, %v, sum %v; the SDK has %d, %v, sum %v", got.Count, got.BucketCounts, got.Sum, want.Count, want.BucketCounts, want.Sum)
	}
}

// A phase that a request did not enter is not counted as one of no length.
func TestPhaseTallies_CountOnlyWhatWasEntered(t *testing.T) {
	p := newPhaseTallies(false)
	p.add(&telemetry.Record{Phases: [telemetry.PhaseCount]time.Duration{telemetry.Own: time.Microsecond, telemetry.Wait: time.Second}})
	data, err := p.Produce(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range data[0].Metrics {
		for _, point := range m.Data.(metricdata.Histogram[float64]).DataPoints {
			word, labelled := point.Attributes.Value(attribute.Key(Phase.Key))
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
