package telemetry_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pace/telemetry"
	"pace/telemetry/metrics"
	"pace/telemetry/telemetrytest"
)

// A stream's request is measured when its header is answered, its life apart, its span to its end.
func TestBecomeStream(t *testing.T) {
	b := telemetrytest.New(t, nil)
	open := func(kind string) float64 {
		v, _ := telemetrytest.Value(b.Scrape(t)[metrics.Streams.Name], metrics.StreamKind.Name, kind)
		return v
	}
	synctest.Test(t, func(t *testing.T) {
		b.Request(nil, func(_ context.Context, r *telemetry.Record) {
			a := r.BeginAttempt("10.0.0.1:80", "10.0.0.1", 80)
			a.Status = 101
			time.Sleep(20 * time.Millisecond)
			r.Outcome, r.Status, r.Route = telemetry.Upgraded, 101, telemetrytest.DefaultRoute
			b.BecomeStream(r, telemetry.WebSocket)
			if n := open("websocket"); n != 1 {
				t.Errorf("%v streams are open, want 1", n)
			}
			time.Sleep(time.Hour)
			r.Moved(10, 0)
			r.Moved(0, 20)
			r.Moved(1, 2)
			r.Closed = telemetry.LostClient
			b.End(r)
		})
	})
	scraped := b.Scrape(t)
	b.Close()
	for _, name := range []string{metrics.ServerDuration.Name, metrics.OlderDuration.Name, metrics.ClientDuration.Name} {
		h := scraped[name].GetMetric()[0].GetHistogram()
		if h.GetSampleCount() != 1 || h.GetSampleSum() < 0.019 || h.GetSampleSum() > 0.021 {
			t.Errorf("%s: got %d of %v s, want 1 of 0.02 s: the header's", name, h.GetSampleCount(), h.GetSampleSum())
		}
	}
	if _, ok := telemetrytest.Value(scraped[metrics.PhaseDuration.Name], metrics.Phase.Name, "receive"); ok {
		if n, _ := telemetrytest.Value(scraped[metrics.PhaseDuration.Name], metrics.Phase.Name, "receive"); n != 0 {
			t.Error("an hour of stream is among the phases of requests")
		}
	}
	h := scraped[metrics.StreamDuration.Name].GetMetric()
	if len(h) != 1 || h[0].GetHistogram().GetSampleSum() != 3600 {
		t.Errorf("the stream's life: got %v, want an hour", h)
	}
	if n, ok := telemetrytest.Value(scraped[metrics.StreamDuration.Name], metrics.StreamKind.Name, "websocket", metrics.CloseReason.Name, "client_lost"); n != 1 || !ok {
		t.Errorf("its reason: got %v", h)
	}
	received, _ := telemetrytest.Value(scraped[metrics.StreamBytes.Name], metrics.StreamKind.Name, "websocket", metrics.Direction.Name, "received")
	sent, _ := telemetrytest.Value(scraped[metrics.StreamBytes.Name], metrics.StreamKind.Name, "websocket", metrics.Direction.Name, "sent")
	if received != 11 || sent != 22 {
		t.Errorf("got %v bytes received and %v sent, want 11 and 22", received, sent)
	}
	for _, s := range b.Exporter.Spans() {
		if d := s.EndTime().Sub(s.StartTime()); d < time.Hour {
			t.Errorf("%v span is %v long, want the stream's whole life", s.SpanKind(), d)
		}
	}
	if l := b.Logged(t, "request"); len(l) != 1 || l[0]["stream"] != "websocket" || l[0]["close_reason"] != "client_lost" || l[0]["duration_ms"] != 3_600_020.0 {
		t.Errorf("got line %v", l)
	}
}

// Both directions count at once.
func TestMoved_ConcurrentSafe(t *testing.T) {
	b := telemetrytest.New(t, nil)
	b.Request(nil, func(_ context.Context, r *telemetry.Record) {
		r.BeginAttempt("10.0.0.1:80", "10.0.0.1", 80)
		b.BecomeStream(r, telemetry.OtherUpgrade)
		var both sync.WaitGroup
		both.Go(func() {
			for range 1000 {
				r.Moved(1, 0)
			}
		})
		both.Go(func() {
			for range 1000 {
				r.Moved(0, 2)
			}
		})
		both.Wait()
		b.End(r)
	})
	moved := b.Scrape(t)[metrics.StreamBytes.Name]
	received, _ := telemetrytest.Value(moved, metrics.StreamKind.Name, telemetry.OtherUpgrade.String(), metrics.Direction.Name, "received")
	sent, _ := telemetrytest.Value(moved, metrics.StreamKind.Name, telemetry.OtherUpgrade.String(), metrics.Direction.Name, "sent")
	if received != 1000 || sent != 2000 {
		t.Errorf("got %v and %v", received, sent)
	}
}
