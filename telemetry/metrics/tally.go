package metrics

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"pace/telemetry"
)

// tallyBounds are in seconds. pace's own time is measured in microseconds, a backend's in seconds.
var tallyBounds = []float64{0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
	0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}

// tally is one series of a histogram of durations. Every request writes to one for each of its phases. Its two
// atomic additions cost a tenth of what an instrument of the SDK costs.
type tally struct {
	bounds  []float64       // in seconds
	buckets []atomic.Uint64 // one more than bounds
	native  *octaves        // nil: the histogram is classic; else it has no bounds and buckets
	sum     atomic.Int64    // ns
}

func newTally(bounds []float64, native bool) *tally {
	if native {
		return &tally{native: new(octaves)}
	}
	return &tally{bounds: bounds, buckets: make([]atomic.Uint64, len(bounds)+1)}
}

func (t *tally) add(d time.Duration) {
	t.sum.Add(int64(d))
	if t.native != nil {
		t.native.add(d)
		return
	}
	i, _ := slices.BinarySearch(t.bounds, d.Seconds())
	t.buckets[i].Add(1)
}

func (t *tally) point(start, now time.Time, labels attribute.Set) metricdata.HistogramDataPoint[float64] {
	p := metricdata.HistogramDataPoint[float64]{
		Attributes: labels, StartTime: start, Time: now,
		Bounds: t.bounds, BucketCounts: make([]uint64, len(t.buckets)),
		Sum: time.Duration(t.sum.Load()).Seconds(),
	}
	for i := range t.buckets {
		p.BucketCounts[i] = t.buckets[i].Load()
		p.Count += p.BucketCounts[i]
	}
	return p
}

// points are what a scrape gets of the tallies of one histogram.
type points struct {
	classic []metricdata.HistogramDataPoint[float64]
	native  []metricdata.ExponentialHistogramDataPoint[float64]
}

func (p *points) add(t *tally, start, now time.Time, labels attribute.Set) {
	if t.native == nil {
		p.classic = append(p.classic, t.point(start, now, labels))
		return
	}
	n := t.native.point(start, now, labels)
	n.Sum = time.Duration(t.sum.Load()).Seconds()
	p.native = append(p.native, n)
}

func (p *points) data() metricdata.Aggregation {
	if p.native != nil {
		return metricdata.ExponentialHistogram[float64]{Temporality: metricdata.CumulativeTemporality, DataPoints: p.native}
	}
	return metricdata.Histogram[float64]{Temporality: metricdata.CumulativeTemporality, DataPoints: p.classic}
}

// phaseTallies are the tallies of all phases. They feed the MeterProvider's reader as a producer.
type phaseTallies struct {
	start time.Time
	of    [telemetry.PhaseCount]*tally
}

func newPhaseTallies(native bool) *phaseTallies {
	p := &phaseTallies{start: time.Now()}
	for i := range p.of {
		p.of[i] = newTally(tallyBounds, native)
	}
	return p
}

// add counts the phases of a request. A phase that took no time was not entered.
func (p *phaseTallies) add(r *telemetry.Record) {
	for i, d := range &r.Phases {
		if d > 0 {
			p.of[i].add(d)
		}
	}
}

// Produce implements metric.Producer.
func (p *phaseTallies) Produce(context.Context) ([]metricdata.ScopeMetrics, error) {
	now := time.Now()
	var phases, own points
	for i := telemetry.Own + 1; i < telemetry.PhaseCount; i++ {
		phases.add(p.of[i], p.start, now, attribute.NewSet(Phase.is(i.String())))
	}
	own.add(p.of[telemetry.Own], p.start, now, *attribute.EmptySet())
	return []metricdata.ScopeMetrics{{Metrics: []metricdata.Metrics{
		produced(PhaseDuration, phases.data()),
		produced(Overhead, own.data()),
	}}}, nil
}
