package telemetry

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"pace/telemetry/environment"
)

// Wrap puts otelhttp around h. It continues the trace a request brings, or begins one; whether a
// request's trace is not to be continued says public, which may be nil. What otelhttp would
// measure and record it is not asked for: the record does both, and truthfully (docs/decisions/0001).
func (t *Telemetry) Wrap(h http.Handler, public func(*http.Request) bool) http.Handler {
	o := []otelhttp.Option{
		otelhttp.WithTracerProvider(identifiers{identifier: identifier{sampler: t.sampler, mayBeRoot: public != nil}}),
		otelhttp.WithMeterProvider(metricnoop.NewMeterProvider()),
		otelhttp.WithPropagators(t.propagator),
	}
	if public != nil {
		o = append(o, otelhttp.WithPublicEndpointFn(public))
	}
	return otelhttp.NewHandler(h, "pace", o...)
}

// identity is who a request is in its trace.
type identity struct {
	trace.Span // noop: the span itself is made from the record, at its end

	context trace.SpanContext
	parent  trace.SpanContext // remote; invalid for a root
	links   []trace.Link
}

// SpanContext implements trace.Span.
func (i *identity) SpanContext() trace.SpanContext { return i.context }

// identityFrom returns the identity that [identifier] gave to the request.
func identityFrom(ctx context.Context) identity {
	if i, ok := trace.SpanFromContext(ctx).(*identity); ok {
		return *i
	}
	panic("pace: BUG: a request that did not pass through Telemetry.Wrap")
}

// Identify returns ctx with the identity of a new root, for a request that failed before it got one by
// [Telemetry.Wrap].
func (t *Telemetry) Identify(ctx context.Context) context.Context {
	ctx, _ = identifier{sampler: t.sampler}.Start(trace.ContextWithSpanContext(ctx, trace.SpanContext{}), "")
	return ctx
}

// identifier is the tracer that otelhttp gets: it gives each request its ids and the sampler's
// word, and records nothing.
type identifier struct {
	noop.Tracer
	sampler   sdktrace.Sampler
	mayBeRoot bool // otelhttp may ask for a new root and links
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
	i := &identity{Span: noop.Span{}}
	if d.mayBeRoot { // to look at the options copies the attributes among them
		c := trace.NewSpanStartConfig(opts...)
		i.links = c.Links()
		if c.NewRoot() {
			ctx = trace.ContextWithSpanContext(ctx, trace.SpanContext{})
		}
	}
	i.parent = trace.SpanContextFromContext(ctx)
	id, flags := i.parent.TraceID(), i.parent.TraceFlags()&trace.FlagsRandom
	if !id.IsValid() {
		id, flags = newTraceID(), trace.FlagsRandom
	}
	verdict := d.sampler.ShouldSample(sdktrace.SamplingParameters{
		ParentContext: ctx, TraceID: id, Name: name, Kind: trace.SpanKindServer,
	})
	i.context = trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: id, SpanID: newSpanID(), TraceState: verdict.Tracestate,
		TraceFlags: flags.WithSampled(verdict.Decision == sdktrace.RecordAndSample),
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

func newSpanID() (id trace.SpanID) {
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:], rand.Uint64())
	}
	return id
}

// fieldLines is a carrier that renders what is set as header lines.
type fieldLines []byte

func (f *fieldLines) Get(string) string { return "" }
func (f *fieldLines) Keys() []string    { return nil }
func (f *fieldLines) Set(name, value string) {
	*f = append(append(append(append(*f, name...), ": "...), value...), "\r\n"...)
}

// AppendPropagation appends the header lines that make the attempt's span the parent of what the
// backend does. The client's own lines named by [Telemetry.PropagationFields] must not be sent beside them.
func (r *Record) AppendPropagation(ctx context.Context, b []byte, a *Attempt) []byte {
	if r.t.propagator.w3c {
		return appendTraceContext(b, r.identity.context.WithSpanID(a.span))
	}
	f := fieldLines(b)
	r.t.propagator.Inject(trace.ContextWithSpanContext(ctx, r.identity.context.WithSpanID(a.span)), &f)
	return f
}

// appendTraceContext renders what propagation.TraceContext would set, without its allocations.
func appendTraceContext(b []byte, c trace.SpanContext) []byte {
	id, span := c.TraceID(), c.SpanID()
	b = hex.AppendEncode(append(b, "traceparent: 00-"...), id[:])
	b = hex.AppendEncode(append(b, '-'), span[:])
	b = hex.AppendEncode(append(b, '-'), []byte{byte(c.TraceFlags())})
	b = append(b, "\r\n"...)
	if state := c.TraceState(); state.Len() > 0 {
		b = append(append(append(b, "tracestate: "...), state.String()...), "\r\n"...)
	}
	return b
}

// newSampler is the sampler that the environment names, else the head sampling of ratio (0 to 1),
// which follows a sampled parent.
func newSampler(env environment.Environment, ratio float64) (sdktrace.Sampler, error) {
	if env.Disabled {
		return sdktrace.NeverSample(), nil
	}
	name := env.Sampler
	if name == "" {
		return sdktrace.ParentBased(sdktrace.TraceIDRatioBased(ratio)), nil
	}
	if arg := env.SamplerArg; arg == "" {
		ratio = 1
	} else if r, err := strconv.ParseFloat(arg, 64); err == nil && r >= 0 && r <= 1 {
		ratio = r
	} else if strings.HasSuffix(name, "traceidratio") {
		return nil, fmt.Errorf("OTEL_TRACES_SAMPLER_ARG: %q is not a ratio; write a number from 0 to 1", arg)
	}
	base, parentBased := strings.CutPrefix(name, "parentbased_")
	var s sdktrace.Sampler
	switch base {
	case "always_on":
		s = sdktrace.AlwaysSample()
	case "always_off":
		s = sdktrace.NeverSample()
	case "traceidratio":
		s = sdktrace.TraceIDRatioBased(ratio)
	default:
		return nil, fmt.Errorf("OTEL_TRACES_SAMPLER: unknown sampler %q; write always_on, always_off, traceidratio, or one of them after parentbased_", name)
	}
	if parentBased {
		s = sdktrace.ParentBased(s)
	}
	return s, nil
}
