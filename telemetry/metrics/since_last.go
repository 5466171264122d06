package metrics

import (
	"context"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// sinceLast makes a producer's counters and histograms of what has come since it was last asked, where the
// exporter wants them so. It is not safe for concurrent use; its reader asks once at a time.
type sinceLast struct {
	sdkmetric.Producer
	temporality sdkmetric.TemporalitySelector
	before      map[pointKey]any // the points that it was given last
}

// pointKey names one series.
type pointKey struct {
	metric string
	labels attribute.Distinct
}

// Produce implements metric.Producer.
func (s *sinceLast) Produce(ctx context.Context) ([]metricdata.ScopeMetrics, error) {
	scopes, err := s.Producer.Produce(ctx)
	for _, scope := range scopes {
		for i := range scope.Metrics {
			m := &scope.Metrics[i]
			switch data := m.Data.(type) {
			case metricdata.Histogram[float64]:
				if s.temporality(sdkmetric.InstrumentKindHistogram) == metricdata.DeltaTemporality {
					data.Temporality = metricdata.DeltaTemporality
					data.DataPoints = differences(s, m.Name, data.DataPoints, minusHistogram)
					m.Data = data
				}
			case metricdata.ExponentialHistogram[float64]:
				if s.temporality(sdkmetric.InstrumentKindHistogram) == metricdata.DeltaTemporality {
					data.Temporality = metricdata.DeltaTemporality
					data.DataPoints = differences(s, m.Name, data.DataPoints, minusNative)
					m.Data = data
				}
			case metricdata.Sum[int64]:
				if s.temporality(sdkmetric.InstrumentKindCounter) == metricdata.DeltaTemporality {
					data.Temporality = metricdata.DeltaTemporality
					data.DataPoints = differences(s, m.Name, data.DataPoints, minusCount)
					m.Data = data
				}
			}
		}
	}
	return scopes, err
}

// point is one of the kinds of points that producers of pace have.
type point interface {
	metricdata.HistogramDataPoint[float64] | metricdata.ExponentialHistogramDataPoint[float64] | metricdata.DataPoint[int64]
}

// differences returns what is new in each point; those without anything new are left out. minus returns now
// without what was before, which is the zero value for a new series, and the labels of both.
func differences[P point](s *sinceLast, metric string, points []P, minus func(now, before P) (P, bool)) (changed []P) {
	for _, now := range points {
		k := pointKey{metric, labelsOfPoint(now)}
		before, _ := s.before[k].(P)
		s.before[k] = now
		if d, any := minus(now, before); any {
			changed = append(changed, d)
		}
	}
	return changed
}

func labelsOfPoint(p any) attribute.Distinct {
	switch p := p.(type) {
	case metricdata.HistogramDataPoint[float64]:
		return p.Attributes.Equivalent()
	case metricdata.ExponentialHistogramDataPoint[float64]:
		return p.Attributes.Equivalent()
	case metricdata.DataPoint[int64]:
		return p.Attributes.Equivalent()
	}
	panic("pace: BUG: a point that no producer makes")
}

func minusCount(now, before metricdata.DataPoint[int64]) (metricdata.DataPoint[int64], bool) {
	d := now
	d.Value -= before.Value
	if !before.Time.IsZero() {
		d.StartTime = before.Time
	}
	return d, d.Value != 0
}

func minusHistogram(now, before metricdata.HistogramDataPoint[float64]) (metricdata.HistogramDataPoint[float64], bool) {
	d := now
	d.BucketCounts = slices.Clone(now.BucketCounts)
	for i, n := range before.BucketCounts {
		d.BucketCounts[i] -= n
	}
	d.Count, d.Sum = now.Count-before.Count, now.Sum-before.Sum
	if !before.Time.IsZero() {
		d.StartTime = before.Time
	}
	return d, d.Count != 0
}

// minusNative finds the bucket of each count by the offsets, because buckets may have been added in front.
func minusNative(now, before metricdata.ExponentialHistogramDataPoint[float64]) (metricdata.ExponentialHistogramDataPoint[float64], bool) {
	d := now
	d.PositiveBucket.Counts = slices.Clone(now.PositiveBucket.Counts)
	for i, n := range before.PositiveBucket.Counts {
		d.PositiveBucket.Counts[i+int(before.PositiveBucket.Offset-now.PositiveBucket.Offset)] -= n
	}
	d.ZeroCount, d.Count, d.Sum = now.ZeroCount-before.ZeroCount, now.Count-before.Count, now.Sum-before.Sum
	if !before.Time.IsZero() {
		d.StartTime = before.Time
	}
	return d, d.Count != 0
}
