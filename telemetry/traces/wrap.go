package traces

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"pace/telemetry"
)

// Wrap implements [telemetry.Tracing] with otelhttp. otelhttp measures and records nothing: metrics and spans are
// made from the record (docs/decisions/0001).
func (t *Traces) Wrap(h http.Handler, public func(*http.Request) bool) http.Handler {
	o := []otelhttp.Option{
		otelhttp.WithTracerProvider(identifiers{identifier: identifier{sampler: &t.sampler, mayBeRoot: public != nil}}),
		otelhttp.WithMeterProvider(metricnoop.NewMeterProvider()),
		otelhttp.WithPropagators(t.propagator),
	}
	if public != nil {
		o = append(o, otelhttp.WithPublicEndpointFn(public))
	}
	return otelhttp.NewHandler(h, "pace", o...)
}

// Identify implements [telemetry.Tracing].
func (t *Traces) Identify(ctx context.Context) context.Context {
	ctx, _ = identifier{sampler: &t.sampler}.Start(trace.ContextWithSpanContext(ctx, trace.SpanContext{}), "")
	return ctx
}

// identifier is the tracer that otelhttp gets. It gives each request its ids and the sampler's decision, and
// records nothing.
type identifier struct {
	noop.Tracer
	sampler   sdktrace.Sampler
	mayBeRoot bool // otelhttp may ask for a new root and for links
}

// identifiers provides otelhttp with its identifier.
type identifiers struct {
	noop.TracerProvider
	identifier
}

// Tracer implements trace.TracerProvider.
func (p identifiers) Tracer(string, ...trace.TracerOption) trace.Tracer { return p.identifier }

// Start implements trace.Tracer.
func (d identifier) Start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	i := &telemetry.Identity{}
	if d.mayBeRoot { // reading the options copies the attributes
		c := trace.NewSpanStartConfig(opts...)
		i.Links = c.Links()
		if c.NewRoot() {
			ctx = trace.ContextWithSpanContext(ctx, trace.SpanContext{})
		}
	}
	i.Parent = trace.SpanContextFromContext(ctx)
	id, flags := i.Parent.TraceID(), i.Parent.TraceFlags()&trace.FlagsRandom
	if !id.IsValid() {
		id, flags = newTraceID(), trace.FlagsRandom
	}
	sampled := d.sampler.ShouldSample(sdktrace.SamplingParameters{
		ParentContext: ctx, TraceID: id, Name: name, Kind: trace.SpanKindServer,
	})
	i.Context = trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: id, SpanID: telemetry.NewSpanID(), TraceState: sampled.Tracestate,
		TraceFlags: flags.WithSampled(sampled.Decision == sdktrace.RecordAndSample),
	})
	return trace.ContextWithSpan(ctx, i), i
}

func newTraceID() (id trace.TraceID) {
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:8], rand.Uint64())
		binary.NativeEndian.PutUint64(id[8:], rand.Uint64())
	}
	return id
}
