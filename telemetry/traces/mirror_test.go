package traces_test

import (
	"context"
	"testing"

	"pace/telemetry"
	"pace/telemetry/metrics"
	"pace/telemetry/telemetrytest"
)

// TestMirror: a copy of a request has a CLIENT span of its own, in a trace of its own, with a link to the
// request. The histogram of attempts has it, and nothing that counts requests.
func TestMirror(t *testing.T) {
	b := telemetrytest.New(t, nil)
	b.Request(nil, func(_ context.Context, r *telemetry.Record) {
		mirror := b.BeginMirror(r, "shadow")
		r.Outcome, r.Status = telemetry.OK, 200
		b.End(r)
		a := mirror.BeginAttempt("10.0.0.9:8000", "10.0.0.9", 8000)
		a.Status = 200
		mirror.EndAttempt()
		b.EndMirror(mirror)
	})
	scraped := b.Scrape(t)
	b.Close()
	spans := b.Exporter.Spans()
	if len(spans) != 2 {
		t.Fatalf("got %d spans, want 2", len(spans))
	}
	server, client := spans[0], spans[1]
	if e := server.Events(); len(e) != 1 || e[0].Name != telemetry.EventMirrored || len(e[0].Attributes) != 1 || e[0].Attributes[0].Value.AsString() != "shadow" {
		t.Errorf("the request's events: got %+v", e)
	}
	if l := client.Links(); len(l) != 1 || !l[0].SpanContext.Equal(server.SpanContext()) {
		t.Errorf("the mirror's links: got %+v, want the request", l)
	}
	if client.Parent().IsValid() || client.SpanContext().TraceID() == server.SpanContext().TraceID() {
		t.Errorf("the mirror has the parent %v and the trace %v", client.Parent(), client.SpanContext().TraceID())
	}
	if mirror := telemetrytest.AttributesOf(t, client)["pace.mirror"]; mirror != true {
		t.Errorf("pace.mirror is %v", mirror)
	}
	for name, want := range map[string]float64{metrics.ServerDuration.Name: 1, metrics.ClientDuration.Name: 1} {
		if got := telemetrytest.Count(scraped[name]); got != want {
			t.Errorf("%s: got %v measurements, want %v", name, got, want)
		}
	}
	if lines := b.Logged(t, "request"); len(lines) != 1 {
		t.Errorf("got the lines %v, want one", lines)
	}
}
