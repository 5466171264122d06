package traces

import (
	"context"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"pace/telemetry"
)

// captured is a client that keeps what it is to upload.
type captured struct{ got []*tracepb.ResourceSpans }

func (c *captured) Start(context.Context) error { return nil }
func (c *captured) Stop(context.Context) error  { return nil }
func (c *captured) UploadTraces(_ context.Context, s []*tracepb.ResourceSpans) error {
	for _, m := range s {
		raw, err := proto.Marshal(m)
		if err != nil {
			return err
		}
		read := new(tracepb.ResourceSpans)
		if err := proto.Unmarshal(raw, read); err != nil {
			return err
		}
		c.got = append(c.got, read)
	}
	return nil
}

func sampleSpans(n int) (spans []sdktrace.ReadOnlySpan) {
	state, _ := trace.ParseTraceState("vendor=1,other=2")
	long := make([]byte, 3000)
	for i := range long {
		long[i] = 'x'
	}
	res := resource.NewWithAttributes("https://example.com/schema", attribute.String("service.name", "pace"))
	for i := range n {
		id := trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: newTraceID(), SpanID: telemetry.NewSpanID(), TraceFlags: trace.FlagsSampled | trace.FlagsRandom, TraceState: state,
		})
		s := &span{
			name: "GET /", kind: trace.SpanKindServer, context: id,
			start: time.Unix(1, 2), end: time.Unix(3, int64(i)),
			attributes: []attribute.KeyValue{
				attribute.String("empty", ""), attribute.String("long", string(long[:i*7%3000])), attribute.Int("n", -i),
				attribute.Bool("yes", i%2 == 0), attribute.Float64("f", float64(i)/3), attribute.String("text", "grüße\n"),
			},
			resource: res, scope: instrumentation.Scope{Name: "pace", Version: "1"},
		}
		if i%2 == 0 {
			s.kind, s.parent = trace.SpanKindClient, id.WithSpanID(telemetry.NewSpanID()).WithRemote(i%4 == 0)
			s.status = sdktrace.Status{Code: codes.Error, Description: string(long[:i*11%400])}
		}
		for range i % 3 {
			s.events = append(s.events, sdktrace.Event{Name: "pace.failover", Time: time.Unix(2, 0), Attributes: s.attributes})
			s.links = append(s.links, sdktrace.Link{SpanContext: id.WithRemote(true), Attributes: s.attributes[:2]})
		}
		spans = append(spans, s)
	}
	return spans
}

// What we render ourselves is what the library would send, field for field.
func TestOTLP(t *testing.T) {
	for _, n := range []int{1, 2, 300} {
		spans := sampleSpans(n)
		ours, theirs := new(captured), new(captured)
		library, err := otlptrace.New(t.Context(), theirs)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range []sdktrace.SpanExporter{library, &otlpExporter{client: ours}} {
			if err := e.ExportSpans(t.Context(), spans); err != nil {
				t.Fatal(err)
			}
		}
		if len(ours.got) != 1 || len(theirs.got) != 1 || !equalBut(ours.got[0], theirs.got[0]) {
			t.Errorf("%d spans: got\n%v\nwant\n%v", n, ours.got, theirs.got)
		}
		if len(ours.got[0].ProtoReflect().GetUnknown()) > 0 {
			t.Errorf("%d spans: bytes that are no field: %x", n, ours.got[0].ProtoReflect().GetUnknown())
		}
	}
}

// equalBut compares but for the trace state of links, which the library leaves out.
func equalBut(ours, theirs *tracepb.ResourceSpans) bool {
	for _, s := range ours.ScopeSpans[0].Spans {
		for _, l := range s.Links {
			l.TraceState = ""
		}
	}
	return proto.Equal(ours, theirs)
}

func BenchmarkExport(b *testing.B) {
	var spans []sdktrace.ReadOnlySpan
	for range 512 {
		spans = append(spans, sampleSpans(3)[2])
	}
	quiet := discard{}
	library, err := otlptrace.New(b.Context(), quiet)
	if err != nil {
		b.Fatal(err)
	}
	for name, e := range map[string]sdktrace.SpanExporter{"pace": &otlpExporter{client: quiet}, "library": library} {
		b.Run("impl="+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := e.ExportSpans(b.Context(), spans); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// discard renders, as a client has to, and throws away.
type discard struct{}

func (discard) Start(context.Context) error { return nil }
func (discard) Stop(context.Context) error  { return nil }
func (discard) UploadTraces(_ context.Context, s []*tracepb.ResourceSpans) error {
	for _, m := range s {
		if _, err := proto.Marshal(m); err != nil {
			return err
		}
	}
	return nil
}
