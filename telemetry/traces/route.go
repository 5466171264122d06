package traces

import (
	"context"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"pace/telemetry"
)

// Configure prepares the samplers of the routes that have a ratio of their own.
func (t *Traces) Configure(routes []*telemetry.Route, _ []string) {
	for _, r := range routes {
		if r.SampleRatio != nil {
			r.Sampler = newProbability(*r.SampleRatio)
		}
	}
}

// Resample implements [telemetry.Tracing]. A trace that somebody else has begun is sampled as it was there, and
// a sampler that the environment names takes precedence over routes, too.
func (t *Traces) Resample(i *telemetry.Identity, route *telemetry.Route) {
	sampler, ok := route.Sampler.(*probability)
	if !ok || t.environment.Disabled || t.environment.Sampler != "" || i.Parent.IsValid() {
		return
	}
	c := i.Context
	sampled := sampler.ShouldSample(sdktrace.SamplingParameters{ParentContext: context.Background(), TraceID: c.TraceID(), Kind: trace.SpanKindServer})
	i.Context = c.WithTraceState(sampled.Tracestate).WithTraceFlags(c.TraceFlags().WithSampled(sampled.Decision == sdktrace.RecordAndSample))
}
