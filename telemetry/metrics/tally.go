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
	sum     atomic.Int64    // ns
}

func newTally(bounds []float64) *tally {
	return &tally{bounds: bounds, buckets: make([]atomic.Uint64, len(bounds)+1)}
}

func (t *tally) add(d time.Duration) {
	i, _ := slices.BinarySearch(t.bounds, d.Seconds())
	t.buckets[i].Add(1)
	t.sum.Add(int64(d))
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

// phaseTallies are the tallies of all phases. They feed the MeterProvider's reader as a producer.
type phaseTallies struct {
	start time.Time
	of    [telemetry.PhaseCount]*tally
}

func newPhaseTallies() *phaseTallies {
	p := &phaseTallies{start: time.Now()}
	for i := range p.of {
		p.of[i] = newTally(tallyBounds)
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
	phases := metricdata.Histogram[float64]{Temporality: metricdata.CumulativeTemporality}
	for i := telemetry.Own + 1; i < telemetry.PhaseCount; i++ {
		phases.DataPoints = append(phases.DataPoints, p.of[i].point(p.start, now, attribute.NewSet(Phase.is(i.String()))))
	}
	own := metricdata.Histogram[float64]{
		Temporality: metricdata.CumulativeTemporality,
		DataPoints:  []metricdata.HistogramDataPoint[float64]{p.of[telemetry.Own].point(p.start, now, *attribute.EmptySet())},
	}
	return []metricdata.ScopeMetrics{{Metrics: []metricdata.Metrics{
		produced(PhaseDuration, phases),
		produced(Overhead, own),
	}}}, nil
}
