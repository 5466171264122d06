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
var tallyBounds = [...]float64{0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
	0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}

// tally is a histogram of durations without labels. Every request writes to one for each of its phases. Its two
// atomic additions cost a tenth of what an instrument of the SDK costs.
type tally struct {
	buckets [len(tallyBounds) + 1]atomic.Uint64
	sum     atomic.Int64 // ns
}

func (t *tally) add(d time.Duration) {
	i, _ := slices.BinarySearch(tallyBounds[:], d.Seconds())
	t.buckets[i].Add(1)
	t.sum.Add(int64(d))
}

func (t *tally) point(start, now time.Time, labels ...attribute.KeyValue) metricdata.HistogramDataPoint[float64] {
	p := metricdata.HistogramDataPoint[float64]{
		Attributes: attribute.NewSet(labels...), StartTime: start, Time: now,
		Bounds: tallyBounds[:], BucketCounts: make([]uint64, len(t.buckets)),
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
	of    [telemetry.PhaseCount]tally
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
		phases.DataPoints = append(phases.DataPoints, p.of[i].point(p.start, now, Phase.is(i.String())))
	}
	own := metricdata.Histogram[float64]{
		Temporality: metricdata.CumulativeTemporality,
		DataPoints:  []metricdata.HistogramDataPoint[float64]{p.of[telemetry.Own].point(p.start, now)},
	}
	return []metricdata.ScopeMetrics{{Metrics: []metricdata.Metrics{
		{Name: PhaseDuration.Key, Unit: PhaseDuration.Unit, Description: PhaseDuration.Doc, Data: phases},
		{Name: Overhead.Key, Unit: Overhead.Unit, Description: Overhead.Doc, Data: own},
	}}}, nil
}
