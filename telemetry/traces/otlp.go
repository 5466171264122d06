package traces

import (
	"context"
	"math"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
)

// otlpExporter exports spans with one of the library's clients, which keeps the connection and reads the OTEL_*
// variables. It writes the spans in OTLP's wire form itself: the library makes a message for each
// attribute of each span, which took a fifth of pace's CPU when every request was sampled. TestOTLP compares the
// two.
type otlpExporter struct {
	client otlptrace.Client
	buf    []byte
}

// ExportSpans implements sdktrace.SpanExporter. It is not safe for concurrent use. All spans have one resource and
// scope, as pace's have.
func (e *otlpExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if len(spans) == 0 {
		return nil
	}
	e.buf = appendResourceSpans(e.buf[:0], spans)
	m := new(tracepb.ResourceSpans)
	m.ProtoReflect().SetUnknown(e.buf) // fields 1 to 3, rendered already: they are sent as they are
	return e.client.UploadTraces(ctx, []*tracepb.ResourceSpans{m})
}

// Shutdown implements sdktrace.SpanExporter.
func (e *otlpExporter) Shutdown(ctx context.Context) error { return e.client.Stop(ctx) }

// The field numbers below are those of opentelemetry/proto/trace/v1/trace.proto and its imports.

func appendResourceSpans(b []byte, spans []sdktrace.ReadOnlySpan) []byte {
	of := spans[0]
	b, resource := open(b, 1)
	b = appendAttributes(b, 1, of.Resource().Attributes())
	b = shut(b, resource)
	b, scoped := open(b, 2)
	b, scope := open(b, 1)
	b = appendText(b, 1, of.InstrumentationScope().Name)
	b = appendText(b, 2, of.InstrumentationScope().Version)
	b = shut(b, scope)
	for _, s := range spans {
		var at int
		b, at = open(b, 2)
		b = appendSpan(b, s)
		b = shut(b, at)
	}
	b = appendText(b, 3, of.InstrumentationScope().SchemaURL)
	b = shut(b, scoped)
	return appendText(b, 3, of.Resource().SchemaURL())
}

func appendSpan(b []byte, s sdktrace.ReadOnlySpan) []byte {
	c, parent := s.SpanContext(), s.Parent()
	b = appendIdentity(b, c)
	if id := parent.SpanID(); id.IsValid() {
		b = appendBytes(b, 4, id[:])
	}
	b = appendText(b, 5, s.Name())
	b = appendNumber(b, 6, uint64(s.SpanKind())) // OpenTelemetry's numbers are those of OTLP
	b = appendFixed64(b, 7, uint64(s.StartTime().UnixNano()))
	b = appendFixed64(b, 8, uint64(s.EndTime().UnixNano()))
	b = appendAttributes(b, 9, s.Attributes())
	for _, e := range s.Events() {
		var at int
		b, at = open(b, 11)
		b = appendFixed64(b, 1, uint64(e.Time.UnixNano()))
		b = appendText(b, 2, e.Name)
		b = appendAttributes(b, 3, e.Attributes)
		b = shut(b, at)
	}
	for _, l := range s.Links() {
		var at int
		b, at = open(b, 13)
		b = appendIdentity(b, l.SpanContext)
		b = appendAttributes(b, 4, l.Attributes)
		b = appendFlags(b, 6, l.SpanContext.TraceFlags(), l.SpanContext)
		b = shut(b, at)
	}
	b, status := open(b, 15)
	if s.Status().Code == codes.Error {
		b = appendText(b, 2, s.Status().Description)
		b = appendNumber(b, 3, 2)
	}
	b = shut(b, status)
	return appendFlags(b, 16, c.TraceFlags(), parent)
}

// appendIdentity appends the first three fields of spans and links.
func appendIdentity(b []byte, c trace.SpanContext) []byte {
	traceID, spanID := c.TraceID(), c.SpanID()
	b = appendBytes(b, 1, traceID[:])
	b = appendBytes(b, 2, spanID[:])
	return appendText(b, 3, c.TraceState().String())
}

// appendFlags appends W3C's flags, and whether the parent is remote.
func appendFlags(b []byte, field protowire.Number, f trace.TraceFlags, parent trace.SpanContext) []byte {
	flags := uint32(f) | uint32(tracepb.SpanFlags_SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK)
	if parent.IsRemote() {
		flags |= uint32(tracepb.SpanFlags_SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)
	}
	return protowire.AppendFixed32(protowire.AppendTag(b, field, protowire.Fixed32Type), flags)
}

func appendAttributes(b []byte, field protowire.Number, list []attribute.KeyValue) []byte {
	for i := range list {
		var at, value int
		b, at = open(b, field)
		b = appendText(b, 1, string(list[i].Key))
		b, value = open(b, 2)
		b = appendValue(b, &list[i].Value)
		b = shut(b, value)
		b = shut(b, at)
	}
	return b
}

// appendValue appends the field of an AnyValue, also if it is zero, because the field says of which kind it is.
func appendValue(b []byte, v *attribute.Value) []byte {
	switch v.Type() {
	case attribute.BOOL:
		return protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), protowire.EncodeBool(v.AsBool()))
	case attribute.INT64:
		return protowire.AppendVarint(protowire.AppendTag(b, 3, protowire.VarintType), uint64(v.AsInt64()))
	case attribute.FLOAT64:
		return protowire.AppendFixed64(protowire.AppendTag(b, 4, protowire.Fixed64Type), math.Float64bits(v.AsFloat64()))
	}
	return protowire.AppendString(protowire.AppendTag(b, 1, protowire.BytesType), v.String())
}

func appendText(b []byte, field protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

func appendBytes(b []byte, field protowire.Number, p []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), p)
}

func appendNumber(b []byte, field protowire.Number, n uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), n)
}

func appendFixed64(b []byte, field protowire.Number, n uint64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), n)
}

// open begins a message as a field, with room for a length below 128; shut writes the length.
func open(b []byte, field protowire.Number) ([]byte, int) {
	b = append(protowire.AppendTag(b, field, protowire.BytesType), 0)
	return b, len(b)
}

// shut ends the message whose bytes begin at from. It moves them if their length needs more room.
func shut(b []byte, from int) []byte {
	n := uint64(len(b) - from)
	if n < 1<<7 {
		b[from-1] = byte(n)
		return b
	}
	room := protowire.SizeVarint(n) - 1
	b = append(b, make([]byte, room)...)
	copy(b[from+room:], b[from:])
	protowire.AppendVarint(b[:from-1], n)
	return b
}
