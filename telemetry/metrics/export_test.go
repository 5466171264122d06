package metrics

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"

	"pace/telemetry"
)

// collector is an exporter that calls itself.
type collector struct {
	export func(context.Context, *metricdata.ResourceMetrics) error
	sdkmetric.TemporalitySelector
}

func (c collector) Temporality(k sdkmetric.InstrumentKind) metricdata.Temporality {
	return c.TemporalitySelector(k)
}
func (c collector) Aggregation(k sdkmetric.InstrumentKind) sdkmetric.Aggregation {
	return sdkmetric.DefaultAggregationSelector(k)
}
func (c collector) Export(ctx context.Context, m *metricdata.ResourceMetrics) error {
	return c.export(ctx, m)
}
func (c collector) ForceFlush(context.Context) error { return nil }
func (c collector) Shutdown(context.Context) error   { return nil }

// An export that fails is counted, and delays neither a request nor the end of pace.
func TestExport_CountsWhatFails(t *testing.T) {
	t.Setenv("OTEL_METRIC_EXPORT_INTERVAL", "10000")
	t.Setenv("OTEL_METRIC_EXPORT_TIMEOUT", "5000")
	synctest.Test(t, func(t *testing.T) {
		var exports atomic.Int64
		var hangs atomic.Bool
		e := collector{func(ctx context.Context, m *metricdata.ResourceMetrics) error {
			nth := exports.Add(1)
			switch {
			case hangs.Load():
				<-ctx.Done()
				return ctx.Err()
			case nth == 2:
				return errors.New("never")
			}
			return nil
		}, sdkmetric.CumulativeTemporalitySelector}
		m, err := New(Options{
			Resource: resource.Empty(), State: &telemetry.State{}, Exporter: e, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(35 * time.Second)
		synctest.Wait()
		if n := m.export.failed.Load(); exports.Load() != 3 || n != 1 {
			t.Errorf("%d exports, %d counted as failed; want 3 and 1", exports.Load(), n)
		}
		m.Show(false)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if n := exports.Load(); n != 3 {
			t.Errorf("%d exports, want none while the configuration has no metrics", n-3)
		}
		m.Show(true)
		hangs.Store(true)
		time.Sleep(9 * time.Second) // one is under way
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		m.Shutdown(ctx)
		if took := time.Since(begin); took > time.Second {
			t.Errorf("the end took %v, want 1 s", took)
		}
	})
}

// TestSinceLast adds up differences: after any schedule of additions and exports, the sums are the producer's.
func TestSinceLast(t *testing.T) {
	for _, native := range []bool{false, true} {
		seed := rand.Uint64()
		random := rand.New(rand.NewPCG(seed, 0))
		tallies := newPhaseTallies(native)
		s := &sinceLast{Producer: tallies, temporality: sdkmetric.DeltaTemporalitySelector, before: map[pointKey]any{}}
		type total struct {
			count, buckets uint64
			sum            float64
		}
		sums := map[attribute.Distinct]total{}
		added := func(k attribute.Distinct, count uint64, sum float64, buckets []uint64) {
			of := sums[k]
			of.count, of.sum = of.count+count, of.sum+sum
			for _, n := range buckets {
				of.buckets += n
			}
			if n := of.buckets; n != of.count {
				t.Errorf("seed %d: %d are in buckets, %d are counted", seed, n, of.count)
			}
			sums[k] = of
		}
		var want [telemetry.PhaseCount]uint64
		for range 200 {
			for range random.IntN(4) {
				p := random.IntN(int(telemetry.PhaseCount))
				tallies.of[p].add(time.Duration(random.Int64N(int64(time.Second)))>>random.IntN(20) + 1)
				want[p]++
			}
			scopes, _ := s.Produce(t.Context())
			for _, m := range scopes[0].Metrics {
				switch data := m.Data.(type) {
				case metricdata.Histogram[float64]:
					for _, p := range data.DataPoints {
						added(p.Attributes.Equivalent(), p.Count, p.Sum, p.BucketCounts)
					}
				case metricdata.ExponentialHistogram[float64]:
					for _, p := range data.DataPoints {
						added(p.Attributes.Equivalent(), p.Count, p.Sum, p.PositiveBucket.Counts)
					}
				}
			}
		}
		for p, n := range want {
			set := attribute.NewSet(Phase.is(telemetry.Phase(p).String()))
			if telemetry.Phase(p) == telemetry.Own {
				set = *attribute.EmptySet()
			}
			got, seconds := sums[set.Equivalent()], time.Duration(tallies.of[p].sum.Load()).Seconds()
			if got.count != n || got.sum-seconds > 1e-9 || seconds-got.sum > 1e-9 {
				t.Errorf("seed %d, %v: the differences add up to %+v, want %d and %v s", seed, telemetry.Phase(p), got, n, seconds)
			}
		}
	}
}
