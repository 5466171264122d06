package observability

import (
	"syscall"
	"testing"
	"time"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
	"pace/e2e/parts"
)

// TestDraining_IsSeenByBoth holds a request in flight while pace ends. What arrives in that time is
// turned away, and must be counted by Prometheus before pace is gone and traced by Jaeger after it.
func TestDraining_IsSeenByBoth(t *testing.T) {
	const latecomers = 5
	open := make(chan struct{})
	backend := pacetest.NewBackend(t, pacetest.Gated(open, pacetest.Fine))
	jaeger := parts.Jaeger(t)
	p := pacetest.Start(t, pacetest.Config{"upstreams": pacetest.Upstreams(backend)}, exportTo(jaeger, "pace-drain")...)
	prometheus := parts.Prometheus(t, p.Admin)
	prometheus.Scraped()

	began := time.Now()
	held := make(chan pacetest.Response, 1)
	go func() { held <- p.Get("/held") }()
	backend.WantGot(1, "/held")
	late := make([]*pacetest.Wire, latecomers)
	for i := range late {
		late[i] = p.Wire()
		late[i].Send("GET /late HTTP/1.1\r\nHost: x\r\n") // the header's end comes while pace is ending
	}
	// All have been taken off the listener before it closes.
	prometheus.Wait("sum(pace_connections)", func(s []parts.Sample) bool { return len(s) == 1 && s[0].Value == 1+latecomers })
	p.Signal(syscall.SIGTERM)
	p.AwaitDraining()
	for i, w := range late {
		w.Send("\r\n")
		if got := w.Response("GET"); got.Status != 503 {
			t.Errorf("latecomer %d got status %d, want 503", i, got.Status)
		}
	}

	for _, metric := range []string{
		`http_server_request_duration_seconds_count{pace_outcome="draining",http_response_status_code="503",error_type="draining"}`,
		`http_requests_duration_seconds_count{method="GET",status="503"}`,
		`pace_rejections_total{reason="draining"}`,
	} {
		prometheus.Wait(metric, func(s []parts.Sample) bool { return len(s) == 1 && s[0].Value == latecomers })
	}
	close(open)
	if got := <-held; got.Status != 200 {
		t.Errorf("the request in flight got status %d, %v", got.Status, got.Err)
	}
	if code := p.Wait(); code != 0 {
		t.Errorf("pace exited with %d", code)
	}

	// What was flushed at the end is all: pace is gone.
	spans := jaeger.Wait("pace-drain", began.Add(-time.Minute), time.Now().Add(time.Minute), func(s []otlp.Span) bool { return len(s) >= latecomers+2 })
	outcomes := table{}
	for _, s := range spansOf(spans, otlp.Server) {
		outcomes[key(s.Attrs["url.path"], s.Attrs["pace.outcome"], s.Attrs["pace.attempts"])]++
	}
	compare(t, "SERVER spans", outcomes, table{key("/late", "draining", 0): latecomers, key("/held", "ok", 1): 1})
	if n := len(spansOf(spans, otlp.Client)); n != 1 {
		t.Errorf("%d CLIENT spans, want that of the request in flight", n)
	}
}
