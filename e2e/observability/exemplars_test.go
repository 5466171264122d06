package observability

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
	"pace/e2e/parts"
)

// TestExemplar_LeadsToTheSlowTrace goes the way of someone who sees a slow request on a dashboard:
// from the bucket to its exemplar, to the trace, to the attempt that took the time.
func TestExemplar_LeadsToTheSlowTrace(t *testing.T) {
	const slow = 3 * time.Second // no other request takes that long, on a busy machine either
	backend := pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{
		"/": pacetest.Fine, "/slow": pacetest.Later(slow, pacetest.Fine),
	}))
	jaeger := parts.Jaeger(t)
	p := pacetest.Start(t, pacetest.Config{"upstreams": pacetest.Upstreams(backend)}, exportTo(jaeger, "pace-exemplar")...)
	prometheus := parts.Prometheus(t, p.Admin)

	began := time.Now()
	for range 30 {
		p.Get("/fast")
	}
	trace := p.Get("/slow").Header.Get("X-Trace-Id")
	p.WantMetric(31, "http_server_request_duration_seconds_count")
	pacetest.Eventually(t, func() error {
		if !strings.Contains(p.Exposition("application/openmetrics-text; version=1.0.0"), trace) {
			return fmt.Errorf("the slow request's trace is no exemplar yet")
		}
		return nil
	})
	prometheus.Scraped()

	for _, histogram := range []string{"http_server_request_duration_seconds", "http_requests_duration_seconds"} {
		exemplar := exemplarAbove(t, prometheus, histogram, slow, began)
		if exemplar.Labels["trace_id"] != trace {
			t.Errorf("%s: the exemplar of %.3f s names trace %s, want %s", histogram, exemplar.Value, exemplar.Labels["trace_id"], trace)
		}
		wantSlowAttempt(t, jaeger, exemplar, slow)
	}
}

// exemplarAbove finds the one exemplar that lasted longer than d.
func exemplarAbove(t *testing.T, p *parts.Prom, histogram string, d time.Duration, began time.Time) parts.Exemplar {
	t.Helper()
	all := p.Exemplars(histogram+"_bucket", began.Add(-time.Minute), time.Now().Add(time.Minute))
	above := slices.DeleteFunc(slices.Clone(all), func(e parts.Exemplar) bool { return e.Value < d.Seconds() })
	if len(above) != 1 || len(all) < 2 {
		t.Fatalf("%s: %d exemplars of %d lasted longer than %v, want one of several: %v", histogram, len(above), len(all), d, all)
	}
	return above[0]
}

// wantSlowAttempt opens the exemplar's trace and looks for whose time it was.
func wantSlowAttempt(t *testing.T, j *parts.Jaeg, e parts.Exemplar, slow time.Duration) {
	t.Helper()
	var spans []otlp.Span
	pacetest.Eventually(t, func() error {
		if spans = j.Trace(e.Labels["trace_id"]); len(spans) != 2 {
			return fmt.Errorf("trace %s has %d spans, want SERVER and CLIENT", e.Labels["trace_id"], len(spans))
		}
		return nil
	})
	server, client := spansOf(spans, otlp.Server), spansOf(spans, otlp.Client)
	if len(server) != 1 || len(client) != 1 {
		t.Fatalf("trace %s is %+v", e.Labels["trace_id"], spans)
	}
	if e.Labels["span_id"] != server[0].SpanID || server[0].Attrs["url.path"] != "/slow" {
		t.Errorf("the exemplar names span %s, want %s of %v", e.Labels["span_id"], server[0].SpanID, server[0].Attrs["url.path"])
	}
	if lasted := server[0].End.Sub(server[0].Start).Seconds(); math.Abs(lasted-e.Value) > 0.001 {
		t.Errorf("the span lasted %.4f s, the exemplar says %.4f", lasted, e.Value)
	}
	if lasted := client[0].End.Sub(client[0].Start); lasted < slow {
		t.Errorf("the attempt lasted %v, want at least the backend's %v", lasted, slow)
	}
}
