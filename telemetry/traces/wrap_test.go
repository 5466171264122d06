package traces

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"pace/telemetry"
	"pace/telemetry/environment"
)

const (
	parentTrace = "0af7651916cd43dd8448eb211c80319c"
	parentSpan  = "b7ad6b7169203331"
)

func traceparent(flags string) http.Header {
	return http.Header{"Traceparent": {"00-" + parentTrace + "-" + parentSpan + "-" + flags}, "Tracestate": {"vendor=1"}}
}

// How a request's identity follows from what it brings, the ratio, and whether it is trusted.
func TestWrap_GivesIdentity(t *testing.T) {
	for name, tt := range map[string]struct {
		header    http.Header
		ratio     float64
		public    func(*http.Request) bool
		continued bool
		sampled   bool
		linked    bool
	}{
		"nothing brought, all sampled":              {nil, 1, nil, false, true, false},
		"nothing brought, none sampled":             {nil, 0, nil, false, false, false},
		"a sampled parent goes before the ratio":    {traceparent("01"), 0, nil, true, true, false},
		"an unsampled parent goes before the ratio": {traceparent("00"), 1, nil, true, false, false},
		"a parent from the public is linked to":     {traceparent("01"), 0, always, false, false, true},
		"and its word on sampling is not heard":     {traceparent("00"), 1, always, false, true, true},
		"rubbish begins a trace":                    {http.Header{"Traceparent": {"00-zz-1-01"}}, 1, nil, false, true, false},
		"nothing brought from the public":           {nil, 1, always, false, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(o *Options) { o.SampleRatio = tt.ratio })
			i := identify(t, b.Telemetry, tt.header, tt.public)
			c := i.Context
			if got := c.TraceID().String() == parentTrace; got != tt.continued || i.Parent.IsValid() != tt.continued {
				t.Errorf("continued: %v, parent %v; want %v", got, i.Parent.SpanID(), tt.continued)
			}
			if c.IsSampled() != tt.sampled || !c.IsValid() || c.SpanID().String() == parentSpan {
				t.Errorf("got %+v, want sampled %v and ids of its own", c, tt.sampled)
			}
			if tt.continued && (c.TraceState().Get("vendor") != "1" || c.TraceFlags()&trace.FlagsRandom != 0) {
				t.Errorf("got %v, flags %v; want the parent's state, and no promise about its id", c.TraceState(), c.TraceFlags())
			}
			if !tt.continued && (c.TraceFlags()&trace.FlagsRandom == 0 || c.TraceState().Len() != 0) {
				t.Errorf("a new trace has flags %v and state %q", c.TraceFlags(), c.TraceState())
			}
			if got := len(i.Links) == 1 && i.Links[0].SpanContext.TraceID().String() == parentTrace; got != tt.linked || len(i.Links) > 1 {
				t.Errorf("links: %v, want one to the parent: %v", i.Links, tt.linked)
			}
		})
	}
}

func always(*http.Request) bool { return true }

// identify returns the identity that a request gets.
func identify(t *testing.T, tel telemetry.Tracing, header http.Header, public func(*http.Request) bool) (i telemetry.Identity) {
	t.Helper()
	q := httptest.NewRequest("GET", "/", nil)
	q.Header = header
	tel.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) { i = telemetry.IdentityFrom(q.Context()) }), public).
		ServeHTTP(httptest.NewRecorder(), q)
	return i
}

// A parent that promises random ids is believed, and the promise is handed on.
func TestWrap_KeepsTheRandomFlag(t *testing.T) {
	b := newBench(t, nil)
	i := identify(t, b.Telemetry, traceparent("03"), nil)
	if f := i.Context.TraceFlags(); f != trace.FlagsSampled|trace.FlagsRandom {
		t.Errorf("got flags %v", f)
	}
}

// A link goes into the SERVER span.
func TestWrap_LinkIsExported(t *testing.T) {
	b := newBench(t, nil)
	h := b.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		b.End(b.Begin(q.Context(), "GET", "http"))
	}), always)
	q := httptest.NewRequest("GET", "/", nil)
	q.Header = traceparent("01")
	h.ServeHTTP(httptest.NewRecorder(), q)
	b.close()
	if l := b.exporter.spans[0].Links(); len(l) != 1 || l[0].SpanContext.SpanID().String() != parentSpan {
		t.Errorf("got links %v", l)
	}
}

// About as many traces are sampled as the ratio says, and whoever shares the id decides alike.
func TestSampler_Ratio(t *testing.T) {
	s, err := newSampler(environment.Read(), 0.25)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for range 10_000 {
		if s.ShouldSample(sdktrace.SamplingParameters{ParentContext: context.Background(), TraceID: newTraceID()}).Decision == sdktrace.RecordAndSample {
			n++
		}
	}
	if n < 2200 || n > 2800 { // seven standard deviations
		t.Errorf("%d of 10000, want about 2500", n)
	}
}

func TestNewSampler_Environment(t *testing.T) {
	for name, tt := range map[string]struct {
		sampler, arg, disabled string
		want                   string // of its description
		err                    string
	}{
		"nothing named":                         {"", "", "", "ParentBased{root:TraceIDRatioBased{0.5}", ""},
		"all":                                   {"always_on", "", "", "AlwaysOnSampler", ""},
		"none":                                  {"always_off", "", "", "AlwaysOffSampler", ""},
		"a ratio":                               {"traceidratio", "0.1", "", "TraceIDRatioBased{0.1}", ""},
		"a ratio without argument is all":       {"traceidratio", "", "", "TraceIDRatioBased{1}", ""},
		"all roots":                             {"parentbased_always_on", "", "", "ParentBased{root:AlwaysOnSampler", ""},
		"no roots":                              {"parentbased_always_off", "", "", "ParentBased{root:AlwaysOffSampler", ""},
		"a ratio of roots":                      {"parentbased_traceidratio", "0.2", "", "ParentBased{root:TraceIDRatioBased{0.2}", ""},
		"an argument nobody asked for":          {"always_on", "rubbish", "", "AlwaysOnSampler", ""},
		"a ratio that is none":                  {"traceidratio", "rubbish", "", "", `OTEL_TRACES_SAMPLER_ARG: "rubbish"`},
		"a ratio above one":                     {"parentbased_traceidratio", "1.5", "", "", `OTEL_TRACES_SAMPLER_ARG: "1.5"`},
		"a ratio that is not a number":          {"traceidratio", "NaN", "", "", `OTEL_TRACES_SAMPLER_ARG: "NaN"`},
		"an unknown word":                       {"jaeger_remote", "", "", "", `OTEL_TRACES_SAMPLER: unknown sampler "jaeger_remote"`},
		"switched off":                          {"", "", "true", "AlwaysOffSampler", ""},
		"switched off goes before all the rest": {"always_on", "", "TRUE", "AlwaysOffSampler", ""},
		"switched off by another word is not":   {"always_on", "", "1", "AlwaysOnSampler", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OTEL_TRACES_SAMPLER", tt.sampler)
			t.Setenv("OTEL_TRACES_SAMPLER_ARG", tt.arg)
			t.Setenv("OTEL_SDK_DISABLED", tt.disabled)
			s, err := newSampler(environment.Read(), 0.5)
			switch {
			case err != nil:
				if tt.err == "" || !strings.HasPrefix(err.Error(), tt.err) {
					t.Errorf("got %v, want %q", err, tt.err)
				}
			case tt.err != "" || !strings.HasPrefix(s.Description(), tt.want):
				t.Errorf("got %s, want %s, error %q", s.Description(), tt.want, tt.err)
			}
		})
	}
}

// TestAppendTraceContext_IsWhatThePropagatorInjects holds our rendering to OpenTelemetry's own.
func TestAppendTraceContext_IsWhatThePropagatorInjects(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 500 {
		c := trace.SpanContextConfig{TraceID: newTraceID(), SpanID: telemetry.NewSpanID(), TraceFlags: trace.TraceFlags(random.IntN(4))}
		for i := range random.IntN(3) {
			c.TraceState, _ = c.TraceState.Insert(fmt.Sprintf("k%d", i), hex.EncodeToString([]byte{byte(random.Uint32())}))
		}
		sc := trace.NewSpanContext(c)
		want := propagation.MapCarrier{}
		propagation.TraceContext{}.Inject(trace.ContextWithSpanContext(context.Background(), sc), want)
		got, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(append(appendTraceContext(nil, sc), "\r\n"...)))).ReadMIMEHeader()
		if err != nil || got.Get("traceparent") != want["traceparent"] || got.Get("tracestate") != want["tracestate"] || len(got) != len(want) {
			t.Fatalf("got %v, %v; want %v", got, err, want)
		}
	}
}

// Other propagators write their own fields, and take the place of those that the client sent.
func TestAppendPropagation_OfOtherPropagators(t *testing.T) {
	t.Setenv("OTEL_PROPAGATORS", "b3,tracecontext")
	b := newBench(t, nil)
	b.request(traceparent("01"), func(ctx context.Context, r *telemetry.Record) {
		a := r.BeginAttempt("10.0.0.1:80", "10.0.0.1", 80)
		got, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(append(b.AppendPropagation(ctx, nil, r, a), "\r\n"...)))).ReadMIMEHeader()
		if err != nil || got.Get("B3") != parentTrace+"-"+a.Span.String()+"-1" || got.Get("Traceparent") != "00-"+parentTrace+"-"+a.Span.String()+"-01" {
			t.Errorf("got %v, %v", got, err)
		}
		for name := range got {
			if !slices.ContainsFunc(b.PropagationFields(), func(f string) bool { return strings.EqualFold(f, name) }) {
				t.Errorf("%s is written, but not among %v", name, b.PropagationFields())
			}
		}
		b.End(r)
	})
}

// What a client sends of the trace never goes on beside what pace writes; baggage does.
func TestPropagationFields(t *testing.T) {
	b := newBench(t, nil)
	got := b.PropagationFields()
	slices.Sort(got)
	if want := []string{"traceparent", "tracestate"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestBegin_PanicsOutsideOfWrap(t *testing.T) {
	b := newBench(t, nil)
	defer func() {
		if p, _ := recover().(string); !strings.HasPrefix(p, "pace: BUG: ") {
			t.Errorf("got %q", p)
		}
	}()
	b.Begin(context.Background(), "GET", "http")
}
