package parts

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"pace/e2e/otlp"
)

func TestPrometheus(t *testing.T) {
	began := time.Now()
	var hits atomic.Int64
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		exposition(w, r)
	}))
	defer target.Close()
	p := Prometheus(t, strings.TrimPrefix(target.URL, "http://"))
	p.Scraped()

	got := p.Query(`hits_total{code="200"}`)
	if len(got) != 1 || got[0].Value != 3 || got[0].Labels["code"] != "200" || got[0].Labels["job"] != "pace" {
		t.Errorf("a vector: got %v, want 3", got)
	}
	if got := p.Query(`scalar(sum(hits_total)) * 2`); len(got) != 1 || got[0].Value != 10 {
		t.Errorf("a scalar: got %v, want 10", got)
	}
	if got := p.Sum(`hits_total`); got != 5 {
		t.Errorf("the sum: got %v, want 5", got)
	}
	if got := p.Sum(`nobody_knows_total`); got != 0 {
		t.Errorf("the sum of nothing: got %v, want 0", got)
	}
	if got := p.By(`hits_total`, "code", "side"); !reflect.DeepEqual(got, map[string]float64{"200 a": 3, "500 a": 2}) {
		t.Errorf("by code and side: got %v", got)
	}
	exemplars := p.Exemplars(`took_seconds_bucket`, began.Add(-time.Minute), time.Now().Add(time.Minute))
	if len(exemplars) != 1 || exemplars[0].Labels["trace_id"] != "abc" || exemplars[0].Value != 0.7 || exemplars[0].Series["le"] != "1" {
		t.Errorf("exemplars: got %v, want that of trace abc", exemplars)
	}
	if d := exemplars[0].Time.Sub(began); d < -time.Second || d > patience {
		t.Errorf("the exemplar's time is %v from the start", d)
	}

	for n := range 3 { // each one must be a scrape that began after the call
		before := hits.Load()
		p.Scraped()
		if hits.Load() == before {
			t.Errorf("Scraped returned for the %d. time without a scrape", n+1)
		}
	}

	rules := filepath.Join(t.TempDir(), "rules.yml")
	write(t, rules, "groups: [{name: g, rules: [{record: hits:sum, expr: sum(hits_total)}]}]")
	p.LoadRules(rules)
	p.Wait(`hits:sum`, func(s []Sample) bool { return len(s) == 1 && s[0].Value == 5 })
}

func exposition(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
	fmt.Fprintf(w, `# TYPE hits counter
hits_total{code="200",side="a"} 3
hits_total{code="500",side="a"} 2
# TYPE took_seconds histogram
took_seconds_bucket{le="0.5"} 0
took_seconds_bucket{le="1"} 1 # {trace_id="abc"} 0.7 %.3f
took_seconds_bucket{le="+Inf"} 1
took_seconds_sum 0.7
took_seconds_count 1
# EOF
`, float64(time.Now().UnixMilli())/1000)
}

func TestJaeger(t *testing.T) {
	j := Jaeger(t)
	began := time.Now()
	text := func(key, value string) *commonpb.KeyValue {
		return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: value}}}
	}
	number := func(key string, value int64) *commonpb.KeyValue {
		return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: value}}}
	}
	sent := []*tracepb.ResourceSpans{{
		Resource: &resourcepb.Resource{Attributes: []*commonpb.KeyValue{text("service.name", "somebody")}},
		ScopeSpans: []*tracepb.ScopeSpans{{
			Scope: &commonpb.InstrumentationScope{Name: "scope"},
			Spans: []*tracepb.Span{{
				TraceId: bytes.Repeat([]byte{0xa1}, 16), SpanId: bytes.Repeat([]byte{0xb2}, 8), ParentSpanId: bytes.Repeat([]byte{0xc3}, 8),
				Name: "GET /", Kind: tracepb.Span_SPAN_KIND_SERVER, TraceState: "a=b",
				StartTimeUnixNano: uint64(began.UnixNano()), EndTimeUnixNano: uint64(began.Add(time.Second).UnixNano()),
				Attributes: []*commonpb.KeyValue{text("a", "x"), number("n", 1<<60)},
				Events:     []*tracepb.Span_Event{{Name: "e", TimeUnixNano: uint64(began.UnixNano()) + 7, Attributes: []*commonpb.KeyValue{number("m", -1)}}},
				Links:      []*tracepb.Span_Link{{TraceId: bytes.Repeat([]byte{0xd4}, 16), SpanId: bytes.Repeat([]byte{0xe5}, 8)}},
				Status:     &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: "broken"},
			}},
		}},
	}}
	raw, err := proto.Marshal(&collectorpb.ExportTraceServiceRequest{ResourceSpans: sent})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post("http://"+j.HTTP+"/v1/traces", "application/x-protobuf", bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()

	from, to := began.Add(-time.Second), began.Add(time.Second)
	want := otlp.Spans(sent)
	got := j.Wait("somebody", from, to, func(s []otlp.Span) bool { return len(s) > 0 })
	if !reflect.DeepEqual(got, want) {
		t.Errorf("found\n%+v, want\n%+v", got, want)
	}
	if got := j.Trace(hex.EncodeToString(bytes.Repeat([]byte{0xa1}, 16))); !reflect.DeepEqual(got, want) {
		t.Errorf("by id: got\n%+v, want\n%+v", got, want)
	}
	if got := j.Find("nobody", from, to); len(got) != 0 {
		t.Errorf("spans of a service that sent none: %+v", got)
	}
}
