package otlp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"reflect"
	"testing"
	"time"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

var want = Span{
	TraceID: "000102030405060708090a0b0c0d0e0f", SpanID: "1011121314151617", ParentID: "ff11121314151617",
	Name: "GET /", Kind: Server, Start: time.Unix(0, 1), End: time.Unix(1, 2),
	Attrs: map[string]any{"text": "x", "yes": true, "n": int64(1 << 60), "f": 0.5, "list": []any{"a"}},
	Events: []Event{
		{"pace.failover", time.Unix(0, 9), map[string]any{"pace.failover.attempt": int64(1)}},
		{"other", time.Unix(0, 10), map[string]any{}},
	},
	Links:      []Link{{"ff0102030405060708090a0b0c0d0e0f", "ff11121314151618", map[string]any{}}},
	StatusCode: Error, StatusMessage: "broken",
	Resource: map[string]any{"service.name": "pace"}, Scope: "s",
}

const wantJSON = `{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"pace"}}]},
"scopeSpans":[{"scope":{"name":"s"},"spans":[{"traceId":"000102030405060708090a0b0c0d0e0f","spanId":"1011121314151617",
"parentSpanId":"ff11121314151617","name":"GET /","kind":2,"startTimeUnixNano":"1","endTimeUnixNano":"1000000002",
"attributes":[{"key":"text","value":{"stringValue":"x"}},{"key":"yes","value":{"boolValue":true}},
{"key":"n","value":{"intValue":"1152921504606846976"}},{"key":"f","value":{"doubleValue":0.5}},
{"key":"list","value":{"arrayValue":{"values":[{"stringValue":"a"}]}}}],
"events":[{"name":"pace.failover","timeUnixNano":"9","attributes":[{"key":"pace.failover.attempt","value":{"intValue":"1"}}]},
{"name":"other","timeUnixNano":"10"}],
"links":[{"traceId":"ff0102030405060708090a0b0c0d0e0f","spanId":"ff11121314151618"}],
"status":{"code":2,"message":"broken"}}]}]}]}`

func TestParseJSON(t *testing.T) {
	got, err := ParseJSON([]byte(wantJSON))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || !reflect.DeepEqual(got[0], want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, bad := range []string{``, `[`, `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"xyz"}]}]}]}`} {
		if got, err := ParseJSON([]byte(bad)); err == nil {
			t.Errorf("ParseJSON(%q) = %+v, want an error", bad, got)
		}
	}
}

func TestNamed(t *testing.T) {
	if got := want.Named("pace.failover"); len(got) != 1 || got[0].Attrs["pace.failover.attempt"] != int64(1) {
		t.Errorf("got %+v, want the failover only", got)
	}
}

func TestSpan_Attributes(t *testing.T) {
	s := Span{Attrs: map[string]any{"server.address": "10.0.0.1", "server.port": int64(80), "f": 0.5}}
	if got := s.Peer(); got != "10.0.0.1:80" {
		t.Errorf("its peer is %q", got)
	}
	if a, b, c := s.Int("server.port"), s.Int("f"), s.Int("nothing"); a != 80 || b != 0 || c != 0 {
		t.Errorf("got %d, %d, %d; want 80 and twice 0", a, b, c)
	}
}

func TestReceiver(t *testing.T) {
	r := Receiver(t)
	if _, err := sendGRPC(t, r, 1); err != nil {
		t.Errorf("over gRPC: %v", err)
	}
	if _, err := sendHTTP(t, r, 1); err != nil {
		t.Errorf("over HTTP: %v", err)
	}
	got := r.Wait(func(s []Span) bool { return len(s) == 2 })
	for _, s := range got {
		if s.TraceID != want.TraceID || s.Name != want.Name || s.Resource["service.name"] != "pace" {
			t.Errorf("got %+v", s)
		}
	}
	if n := len(r.ByTrace(want.TraceID)); n != 2 || len(r.ByTrace("ff")) != 0 || r.Requests() != 2 {
		t.Errorf("%d spans by trace in %d requests, want 2 in 2", n, r.Requests())
	}
}

func TestReceiver_RejectsAPart(t *testing.T) {
	for name, tt := range map[string]struct {
		rejects        int
		why            string
		kept, rejected int // of 3
	}{
		"a part of it":       {2, "too old", 1, 2},
		"more than there is": {9, "too old", 0, 3},
		"nothing, but warns": {0, "soon too old", 3, 0},
		"nothing":            {0, "", 3, 0},
	} {
		for protocol, send := range map[string]send{"gRPC": sendGRPC, "HTTP": sendHTTP} {
			t.Run(name+" over "+protocol, func(t *testing.T) {
				r := Receiver(t)
				r.Reject(tt.rejects, tt.why)
				got, err := send(t, r, 3)
				p := got.GetPartialSuccess()
				if err != nil || int(p.GetRejectedSpans()) != tt.rejected || p.GetErrorMessage() != tt.why || (p == nil) != (tt.why == "") {
					t.Errorf("it said %v (%v), want %d rejected: %q", p, err, tt.rejected, tt.why)
				}
				if n := len(r.Spans()); n != tt.kept {
					t.Errorf("it kept %d of 3 spans, want %d", n, tt.kept)
				}
			})
		}
	}
}

func TestReceiverFaults(t *testing.T) {
	faults := map[string]struct {
		fault Fault
		code  codes.Code
	}{
		"hangs":                    {Hang, codes.DeadlineExceeded},
		"is unavailable":           {Unavailable, codes.Unavailable},
		"refuses":                  {Refuse, codes.InvalidArgument},
		"resets the connection":    {Reset, codes.Unavailable},
		"answers what is not OTLP": {Garbage, codes.Unavailable},
	}
	for name, tt := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := Receiver(t)
			r.Fail(tt.fault)
			if _, err := sendGRPC(t, r, 1); status.Code(err) != tt.code {
				t.Errorf("over gRPC: %v, want code %v", err, tt.code)
			}
			if _, err := sendHTTP(t, r, 1); err == nil {
				t.Error("over HTTP: no error")
			}
			if len(r.Spans()) != 0 || r.Requests() == 0 {
				t.Errorf("%d spans kept of %d requests, want 0 of some", len(r.Spans()), r.Requests())
			}
			r.Fail(None)
			if _, err := sendHTTP(t, r, 1); err != nil || len(r.Spans()) != 1 {
				t.Errorf("after recovery: %v, %d spans", err, len(r.Spans()))
			}
		})
	}
}

// request has n spans.
func request(n int) *collectorpb.ExportTraceServiceRequest {
	spans := make([]*tracepb.Span, n)
	for i := range spans {
		spans[i] = &tracepb.Span{
			TraceId: []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, SpanId: []byte{1, 2, 3, 4, 5, 6, 7, byte(i)}, Name: "GET /",
		}
	}
	return &collectorpb.ExportTraceServiceRequest{ResourceSpans: []*tracepb.ResourceSpans{{
		Resource: &resourcepb.Resource{Attributes: []*commonpb.KeyValue{{
			Key: "service.name", Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: "pace"}},
		}}},
		ScopeSpans: []*tracepb.ScopeSpans{{Spans: spans}},
	}}}
}

// send sends n spans and returns the response.
type send func(t *testing.T, r *Recv, n int) (*collectorpb.ExportTraceServiceResponse, error)

func sendGRPC(t *testing.T, r *Recv, n int) (*collectorpb.ExportTraceServiceResponse, error) {
	t.Helper()
	c, err := grpc.NewClient(r.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	return collectorpb.NewTraceServiceClient(c).Export(ctx, request(n))
}

func sendHTTP(t *testing.T, r *Recv, n int) (*collectorpb.ExportTraceServiceResponse, error) {
	t.Helper()
	raw, err := proto.Marshal(request(n))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "POST", "http://"+r.HTTP+"/v1/traces", bytes.NewReader(raw))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		return nil, errors.New(resp.Status)
	}
	if raw, err = io.ReadAll(resp.Body); err != nil {
		return nil, err
	}
	response := new(collectorpb.ExportTraceServiceResponse)
	return response, proto.Unmarshal(raw, response)
}
