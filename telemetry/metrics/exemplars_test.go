package metrics

import (
	"fmt"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/trace"

	"pace/telemetry"
)

// newWithExemplars returns metrics that show exemplars.
func newWithExemplars(t testing.TB) *Metrics {
	t.Helper()
	m, err := New(Options{Version: "1", Resource: resource.Empty(), State: &telemetry.State{}, Exemplars: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Shutdown(t.Context()) })
	return m
}

// exchange is an ended one of the trace n.
func exchange(n byte, took time.Duration) *telemetry.Record {
	start := time.Now().Add(-took)
	return &telemetry.Record{
		Method: "GET", Scheme: "http", Route: &telemetry.Route{Path: "/", Name: "default"}, Upstream: "default", Status: 200, Outcome: telemetry.OK,
		Start: start, End: start.Add(took), Phases: [telemetry.PhaseCount]time.Duration{telemetry.Own: took / 10, telemetry.Wait: took / 2},
		Attempts: []telemetry.Attempt{{Backend: "10.0.0.1:80", Host: "10.0.0.1", Port: 80, Start: start, End: start.Add(took / 2), Status: 200, Span: trace.SpanID{2, n}}},
		Identity: telemetry.Identity{Context: trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{n}, SpanID: trace.SpanID{1, n}})},
	}
}

// exemplarsOf returns what a scraper gets: for each bucket that has an exemplar, the first byte of its trace and span.
func exemplarsOf(t testing.TB, m *Metrics) map[string]string {
	t.Helper()
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil)
	r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	m.Handler().ServeHTTP(w, r)
	found := map[string]string{}
	for line := range strings.Lines(w.Body.String()) {
		if bucket, exemplar, ok := strings.Cut(line, " # "); ok && strings.Contains(bucket, "_bucket{") {
			ids := regexp.MustCompile(`span_id="(....)\d+",trace_id="(..)\d+"`).FindStringSubmatch(exemplar)
			if ids == nil {
				t.Fatalf("no ids in %q", line)
			}
			name, _, _ := strings.Cut(bucket, "{")
			le := regexp.MustCompile(`le="([^"]*)"`).FindStringSubmatch(bucket)
			found[name+" "+le[1]] = ids[2] + " " + ids[1]
		}
	}
	return found
}

// An exemplar is there from the moment at which the collector has its trace, in each histogram and in the bucket of
// its value, and goes after 5 minutes.
func TestExemplars_AreOfAcceptedTraces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWithExemplars(t)
		first, second, last := exchange(1, 60*time.Millisecond), exchange(2, 61*time.Millisecond), exchange(3, time.Minute)
		for _, r := range []*telemetry.Record{first, second, last} {
			m.Publish(telemetry.Begun, r)
			m.Publish(telemetry.Ended, r)
		}
		if got := exemplarsOf(t, m); len(got) != 0 {
			t.Errorf("before the collector has anything: %v", got)
		}
		m.Accepted(first)
		m.Accepted(second)
		want := map[string]string{
			"http_requests_duration_seconds_bucket 0.1": "02 0102", "http_server_request_duration_seconds_bucket 0.075": "02 0102",
			"http_client_request_duration_seconds_bucket 0.05": "02 0202",
			"pace_phase_duration_seconds_bucket 0.05":          "02 0102", "pace_overhead_seconds_bucket 0.01": "02 0102",
		}
		if got := exemplarsOf(t, m); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v, want the last one of each bucket: %v", got, want)
		}
		time.Sleep(4 * time.Minute)
		m.Accepted(last)
		for _, bucket := range []string{"http_requests_duration_seconds_bucket +Inf", "http_server_request_duration_seconds_bucket +Inf", "http_client_request_duration_seconds_bucket +Inf"} {
			want[bucket] = "03 0103"
		}
		want["http_client_request_duration_seconds_bucket +Inf"] = "03 0203"
		want["pace_phase_duration_seconds_bucket 30.0"], want["pace_overhead_seconds_bucket 10.0"] = "03 0103", "03 0103"
		if got := exemplarsOf(t, m); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("after 4 minutes: got %v, want %v", got, want)
		}
		time.Sleep(time.Minute + time.Second)
		if got := exemplarsOf(t, m); len(got) != 5 {
			t.Errorf("after 5 minutes: got %v, want those of the last one", got)
		}
		time.Sleep(ExemplarAge)
		if got := exemplarsOf(t, m); len(got) != 0 || len(m.exemplars.server)+len(m.exemplars.client)+len(m.exemplars.older) != 0 {
			t.Errorf("after 10 minutes: got %v, %d series", got, len(m.exemplars.server))
		}
	})
}

// What became a stream was measured as its header was sent: its exemplars have that duration.
func TestExemplars_OfAStream(t *testing.T) {
	m, r := newWithExemplars(t), exchange(1, 30*time.Millisecond)
	r.Outcome, r.Status, r.Streamed = telemetry.Upgraded, 101, r.End
	m.Publish(telemetry.Begun, r)
	r.Stream = telemetry.WebSocket
	m.Publish(telemetry.BecameStream, r)
	r.End = r.End.Add(time.Hour)
	m.Publish(telemetry.Ended, r)
	m.Accepted(r)
	want := map[string]string{"http_requests_duration_seconds_bucket 0.05": "01 0101", "http_server_request_duration_seconds_bucket 0.05": "01 0101"}
	if got := exemplarsOf(t, m); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestExemplars_ConcurrentSafe(t *testing.T) {
	m := newWithExemplars(t)
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			for range 20 {
				r := exchange(byte(i+1), time.Duration(i+1)*time.Millisecond)
				m.Publish(telemetry.Ended, r)
				m.Accepted(r)
				exemplarsOf(t, m)
			}
		})
	}
	group.Wait()
}

func BenchmarkAccepted(b *testing.B) {
	m, r := newWithExemplars(b), exchange(1, time.Millisecond)
	b.ReportAllocs()
	for b.Loop() {
		m.Accepted(r)
	}
}
