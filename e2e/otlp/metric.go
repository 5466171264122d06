package otlp

import (
	"context"
	"slices"

	metricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricpb "go.opentelemetry.io/proto/otlp/metrics/v1"
)

// Point is one series of one export of metrics.
type Point struct {
	Name, Unit string // of OpenTelemetry
	Kind       string // counter, gauge or histogram
	Delta      bool   // of a counter or histogram: what is new since the last export
	Attrs      map[string]any
	Value      float64  // of a counter or gauge
	Count      uint64   // of a histogram
	Sum        float64  // of a histogram
	Buckets    []uint64 // of a histogram with bounds
	Resource   map[string]any
}

// Points decodes what an export of metrics holds.
func Points(resources []*metricpb.ResourceMetrics) (points []Point) {
	for _, r := range resources {
		resource := attrs(r.GetResource().GetAttributes())
		for _, scope := range r.GetScopeMetrics() {
			for _, m := range scope.GetMetrics() {
				add := func(p Point, of []*commonpb.KeyValue) {
					p.Name, p.Unit, p.Attrs, p.Resource = m.Name, m.Unit, attrs(of), resource
					points = append(points, p)
				}
				for _, p := range m.GetSum().GetDataPoints() {
					add(Point{Kind: "counter", Delta: isDelta(m.GetSum().AggregationTemporality), Value: number(p)}, p.Attributes)
				}
				for _, p := range m.GetGauge().GetDataPoints() {
					add(Point{Kind: "gauge", Value: number(p)}, p.Attributes)
				}
				for _, p := range m.GetHistogram().GetDataPoints() {
					add(Point{Kind: "histogram", Delta: isDelta(m.GetHistogram().AggregationTemporality), Count: p.Count, Sum: p.GetSum(), Buckets: p.BucketCounts}, p.Attributes)
				}
				for _, p := range m.GetExponentialHistogram().GetDataPoints() {
					add(Point{Kind: "histogram", Delta: isDelta(m.GetExponentialHistogram().AggregationTemporality), Count: p.Count, Sum: p.GetSum()}, p.Attributes)
				}
			}
		}
	}
	return points
}

func isDelta(t metricpb.AggregationTemporality) bool {
	return t == metricpb.AggregationTemporality_AGGREGATION_TEMPORALITY_DELTA
}

func number(p *metricpb.NumberDataPoint) float64 {
	if v, ok := p.Value.(*metricpb.NumberDataPoint_AsInt); ok {
		return float64(v.AsInt)
	}
	return p.GetAsDouble()
}

// Exports returns the exports of metrics received so far, in the order of arrival.
func (r *Recv) Exports() [][]Point {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.exports)
}

// WaitExports waits until enough says yes to the exports of metrics received, and returns them.
func (r *Recv) WaitExports(enough func([][]Point) bool) [][]Point {
	r.t.Helper()
	return wait(r, &r.exports, enough)
}

func (r *Recv) keepMetrics(req *metricspb.ExportMetricsServiceRequest) *metricspb.ExportMetricsServiceResponse {
	points := Points(req.GetResourceMetrics())
	rejected, why := r.accept(len(points), func(rejected int) { r.exports = append(r.exports, points[rejected:]) })
	if rejected == 0 && why == "" {
		return &metricspb.ExportMetricsServiceResponse{}
	}
	return &metricspb.ExportMetricsServiceResponse{
		PartialSuccess: &metricspb.ExportMetricsPartialSuccess{RejectedDataPoints: int64(rejected), ErrorMessage: why},
	}
}

type metricsService struct {
	metricspb.UnimplementedMetricsServiceServer
	r *Recv
}

// Export is the gRPC side.
func (s metricsService) Export(ctx context.Context, req *metricspb.ExportMetricsServiceRequest) (*metricspb.ExportMetricsServiceResponse, error) {
	if err := s.r.failGRPC(ctx, Metrics); err != nil {
		return nil, err
	}
	return s.r.keepMetrics(req), nil
}
