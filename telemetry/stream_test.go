package telemetry

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A stream's request is measured when its header is answered, its life apart, its span to its end.
func TestBecomeStream(t *testing.T) {
	b := newBench(t, nil)
	open := func(kind string) float64 {
		v, _ := value(scrape(t, b.Telemetry)[MetricStreams], LabelKind, kind)
		return v
	}
	synctest.Test(t, func(t *testing.T) {
		b.request(nil, func(_ context.Context, r *Record) {
			a := r.BeginAttempt("10.0.0.1:80", "10.0.0.1", 80)
			a.Status = 101
			time.Sleep(20 * time.Millisecond)
			r.Outcome, r.Status, r.Route = Upgraded, 101, "/"
			r.BecomeStream(WebSocket)
			if n := open("websocket"); n != 1 {
				t.Errorf("%v streams are open, want 1", n)
			}
			time.Sleep(time.Hour)
			r.Moved(10, 0)
			r.Moved(0, 20)
			r.Moved(1, 2)
			r.Closed = LostClient
			r.End()
		})
	})
	metrics := scrape(t, b.Telemetry)
	b.close()
	for _, name := range []string{MetricServerDuration, MetricOlderDuration, MetricClientDuration} {
		h := metrics[name].GetMetric()[0].GetHistogram()
		if h.GetSampleCount() != 1 || h.GetSampleSum() < 0.019 || h.GetSampleSum() > 0.021 {
			t.Errorf("%s: got %d of %v s, want 1 of 0.02 s: the header's", name, h.GetSampleCount(), h.GetSampleSum())
		}
	}
	if _, ok := value(metrics[MetricPhaseDuration], LabelPhase, "receive"); ok {
		if n, _ := value(metrics[MetricPhaseDuration], LabelPhase, "receive"); n != 0 {
			t.Error("an hour of stream is among the phases of requests")
		}
	}
	h := metrics[MetricStreamDuration].GetMetric()
	if len(h) != 1 || h[0].GetHistogram().GetSampleSum() != 3600 {
		t.Errorf("the stream's life: got %v, want an hour", h)
	}
	if n, ok := value(metrics[MetricStreamDuration], LabelKind, "websocket", LabelCloseReason, "client_lost"); n != 1 || !ok {
		t.Errorf("its reason: got %v", h)
	}
	received, _ := value(metrics[MetricStreamBytes], LabelKind, "websocket", LabelDirection, "received")
	sent, _ := value(metrics[MetricStreamBytes], LabelKind, "websocket", LabelDirection, "sent")
	if received != 11 || sent != 22 {
		t.Errorf("got %v bytes received and %v sent, want 11 and 22", received, sent)
	}
	for _, s := range b.exporter.spans {
		if d := s.EndTime().Sub(s.StartTime()); d < time.Hour {
			t.Errorf("%v span is %v long, want the stream's whole life", s.SpanKind(), d)
		}
	}
	if l := b.logged(t, "request"); len(l) != 1 || l[0]["stream"] != "websocket" || l[0]["close_reason"] != "client_lost" || l[0]["duration_ms"] != 3_600_020.0 {
		t.Errorf("got line %v", l)
	}
}

// Both directions count at once.
func TestMoved_ConcurrentSafe(t *testing.T) {
	b := newBench(t, nil)
	b.request(nil, func(_ context.Context, r *Record) {
		r.BeginAttempt("10.0.0.1:80", "10.0.0.1", 80)
		r.BecomeStream(OtherUpgrade)
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
		r.End()
	})
	if got := &b.streams.bytes[OtherUpgrade]; got[0].Load() != 1000 || got[1].Load() != 2000 {
		t.Errorf("got %d and %d", got[0].Load(), got[1].Load())
	}
}
