// Package otlp reads spans as they go over the wire: it decodes OTLP, protobuf or JSON, into plain
// values that tests can compare, and receives them on loopback. It knows nothing of pace.
package otlp

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

// Kinds and status codes of a Span, as OTLP numbers them.
const (
	Server = int(tracepb.Span_SPAN_KIND_SERVER)
	Client = int(tracepb.Span_SPAN_KIND_CLIENT)

	Unset = int(tracepb.Status_STATUS_CODE_UNSET)
	Error = int(tracepb.Status_STATUS_CODE_ERROR)
)

// Span is one span with its resource. Attribute values are string, bool, int64, float64, []byte,
// []any or map[string]any.
type Span struct {
	TraceID, SpanID, ParentID string // lower-case hex; ParentID is "" on a root
	TraceState                string
	Flags                     uint32 // W3C's in the lowest byte
	Name                      string
	Kind                      int
	Start, End                time.Time
	Attrs                     map[string]any
	Events                    []Event
	Links                     []Link
	StatusCode                int
	StatusMessage             string
	Resource                  map[string]any
	Scope                     string
}

// Event is one span event.
type Event struct {
	Name  string
	Time  time.Time
	Attrs map[string]any
}

// Link is one link to another span.
type Link struct {
	TraceID, SpanID string
	Attrs           map[string]any
}

// Named returns the span's events of that name, in the order in which they came.
func (s Span) Named(event string) []Event {
	var named []Event
	for _, e := range s.Events {
		if e.Name == event {
			named = append(named, e)
		}
	}
	return named
}

// Int returns an attribute that is a whole number, 0 if it is absent or something else.
func (s Span) Int(name string) int64 {
	n, _ := s.Attrs[name].(int64)
	return n
}

// Peer returns the host:port that a CLIENT span names.
func (s Span) Peer() string {
	return fmt.Sprint(s.Attrs["server.address"], ":", s.Attrs["server.port"])
}

// Spans decodes what an export request or a trace holds.
func Spans(resources []*tracepb.ResourceSpans) []Span {
	var spans []Span
	for _, r := range resources {
		resource := attrs(r.GetResource().GetAttributes())
		for _, scope := range r.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				span := decode(s)
				span.Resource, span.Scope = resource, scope.GetScope().GetName()
				spans = append(spans, span)
			}
		}
	}
	return spans
}

// ParseJSON decodes an OTLP JSON object with a field resourceSpans.
func ParseJSON(raw []byte) ([]Span, error) {
	var tree any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&tree); err != nil {
		return nil, fmt.Errorf("OTLP JSON: %w", err)
	}
	if err := idsToBase64(tree); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(tree)
	if err != nil {
		return nil, fmt.Errorf("OTLP JSON: %w", err)
	}
	var data tracepb.TracesData
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(raw, &data); err != nil {
		return nil, fmt.Errorf("OTLP JSON: %w", err)
	}
	return Spans(data.ResourceSpans), nil
}

// idsToBase64 rewrites the ids in place. OTLP JSON is protobuf's JSON but for them: they are hex.
// https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
func idsToBase64(node any) error {
	switch node := node.(type) {
	case []any:
		for _, child := range node {
			if err := idsToBase64(child); err != nil {
				return err
			}
		}
	case map[string]any:
		for key, child := range node {
			id, isString := child.(string)
			if isString && (key == "traceId" || key == "spanId" || key == "parentSpanId") {
				raw, err := hex.DecodeString(id)
				if err != nil {
					return fmt.Errorf("OTLP JSON: %s %q: %w", key, id, err)
				}
				node[key] = base64.StdEncoding.EncodeToString(raw)
			} else if err := idsToBase64(child); err != nil {
				return err
			}
		}
	}
	return nil
}

func decode(s *tracepb.Span) Span {
	span := Span{
		TraceID:       hex.EncodeToString(s.TraceId),
		SpanID:        hex.EncodeToString(s.SpanId),
		ParentID:      hex.EncodeToString(s.ParentSpanId),
		TraceState:    s.TraceState,
		Flags:         s.Flags,
		Name:          s.Name,
		Kind:          int(s.Kind),
		Start:         moment(s.StartTimeUnixNano),
		End:           moment(s.EndTimeUnixNano),
		Attrs:         attrs(s.Attributes),
		StatusCode:    int(s.GetStatus().GetCode()),
		StatusMessage: s.GetStatus().GetMessage(),
	}
	for _, e := range s.Events {
		span.Events = append(span.Events, Event{e.Name, moment(e.TimeUnixNano), attrs(e.Attributes)})
	}
	for _, l := range s.Links {
		span.Links = append(span.Links, Link{hex.EncodeToString(l.TraceId), hex.EncodeToString(l.SpanId), attrs(l.Attributes)})
	}
	return span
}

func moment(unixNano uint64) time.Time { return time.Unix(0, int64(unixNano)) }

func attrs(pairs []*commonpb.KeyValue) map[string]any {
	m := make(map[string]any, len(pairs))
	for _, kv := range pairs {
		m[kv.Key] = value(kv.Value)
	}
	return m
}

func value(v *commonpb.AnyValue) any {
	switch v := v.GetValue().(type) {
	case *commonpb.AnyValue_StringValue:
		return v.StringValue
	case *commonpb.AnyValue_BoolValue:
		return v.BoolValue
	case *commonpb.AnyValue_IntValue:
		return v.IntValue
	case *commonpb.AnyValue_DoubleValue:
		return v.DoubleValue
	case *commonpb.AnyValue_BytesValue:
		return v.BytesValue
	case *commonpb.AnyValue_ArrayValue:
		all := make([]any, len(v.ArrayValue.GetValues()))
		for i, element := range v.ArrayValue.GetValues() {
			all[i] = value(element)
		}
		return all
	case *commonpb.AnyValue_KvlistValue:
		return attrs(v.KvlistValue.GetValues())
	}
	return nil
}
