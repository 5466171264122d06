package contract

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

// TestCollector_ItsFaultsCostNoRequest: with a collector that fails in each known way, 200
// requests get their responses as usual, and the spans that it did not take are counted.
func TestCollector_ItsFaultsCostNoRequest(t *testing.T) {
	t.Parallel()
	faults := map[string]otlp.Fault{
		"hangs": otlp.Hang, "unavailable": otlp.Unavailable, "refuses": otlp.Refuse, "resets": otlp.Reset, "answers garbage": otlp.Garbage,
	}
	for name, fault := range faults {
		for _, protocol := range []string{"grpc", "http/protobuf"} {
			t.Run(name+" over "+protocol, func(t *testing.T) {
				t.Parallel()
				r := otlp.Receiver(t)
				r.Fail(fault)
				address := map[string]string{"grpc": r.GRPC, "http/protobuf": r.HTTP}[protocol]
				unharmed(t, address, protocol)
			})
		}
	}
	t.Run("is not there", func(t *testing.T) {
		t.Parallel()
		unharmed(t, pacetest.NewClosed(t).Address(), "grpc")
	})
	t.Run("answers no SYN", func(t *testing.T) {
		t.Parallel()
		unharmed(t, pacetest.NewBlackhole(t).Address(), "http/protobuf")
	})
}

// unharmed starts a pace whose collector is at address and wants it to serve as ever.
func unharmed(t *testing.T, address, protocol string) {
	t.Helper()
	b := pacetest.NewBackend(t, pacetest.Fine)
	cfg := set(set(upstreams(b), "tracing", "endpoint", "http://"+address), "tracing", "protocol", protocol)
	p := pacetest.Start(t, cfg, "OTEL_BSP_MAX_QUEUE_SIZE=32", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=16",
		"OTEL_BSP_SCHEDULE_DELAY=20", "OTEL_BSP_EXPORT_TIMEOUT=300", "OTEL_EXPORTER_OTLP_TIMEOUT=200")
	c := pacetest.H1.Client(t)
	slowest := time.Duration(0)
	for range 200 {
		began := time.Now()
		wantStatus(t, pacetest.Do(c, p.Request("GET", "/x", "")), 200)
		slowest = max(slowest, time.Since(began))
	}
	// Were one request to wait for the collector, it would take an export's timeout; the
	// margin is for a machine that runs all of this at once.
	if slowest > 3*time.Second {
		t.Errorf("the slowest request took %v", slowest)
	}
	if n := len(b.Requests()); n != 200 {
		t.Errorf("the backend got %d requests", n)
	}
	p.WantMetric(200, "http_server_request_duration_seconds_count", "pace_outcome", "ok")
	pacetest.Eventually(t, func() error {
		if got := p.Metrics().Sum("pace_spans_dropped_total"); got < 300 || got > 400 {
			return notYet("pace_spans_dropped_total = %v, want most of the 400", got)
		}
		return nil
	})
	if code := p.Stop(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// TestCollector_ComesBack: what is exported after a fault arrives.
func TestCollector_ComesBack(t *testing.T) {
	t.Parallel()
	p, spans := pacetest.StartTraced(t, upstreams(pacetest.NewBackend(t, pacetest.Fine)), "OTEL_BSP_EXPORT_TIMEOUT=3000", "OTEL_EXPORTER_OTLP_TIMEOUT=2000")
	spans.Fail(otlp.Refuse)
	wantStatus(t, p.Get("/lost"), 200)
	pacetest.Eventually(t, func() error {
		if p.Metrics().Sum("pace_spans_dropped_total") != 2 {
			return notYet("pace_spans_dropped_total = %v, want 2", p.Metrics().Sum("pace_spans_dropped_total"))
		}
		return nil
	})
	spans.Fail(otlp.None)
	wantStatus(t, p.Get("/kept"), 200)
	pacetest.WantTrace(spans, 1, pacetest.Path("/kept"))
}

// TestCollector_TakesAPart: of a batch that the collector takes in part, only what it rejected is
// counted, and what it says is logged once, also if it is a mere warning.
func TestCollector_TakesAPart(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"grpc", "http/protobuf"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			r := otlp.Receiver(t)
			address := map[string]string{"grpc": r.GRPC, "http/protobuf": r.HTTP}[protocol]
			cfg := set(set(upstreams(pacetest.NewBackend(t, pacetest.Fine)), "tracing", "endpoint", "http://"+address), "tracing", "protocol", protocol)
			p := pacetest.Start(t, cfg, "OTEL_BSP_SCHEDULE_DELAY=20")
			responses := []struct {
				rejects int
				why     string
				dropped float64 // so far
			}{{0, "soon too old", 0}, {1, "too old", 1}, {1, "too old", 2}, {0, "", 2}}
			for i, response := range responses {
				r.Reject(response.rejects, response.why)
				before := r.Requests()
				wantStatus(t, p.Get("/x"), 200) // two spans, exported together
				pacetest.Eventually(t, func() error {
					dropped := p.Metrics().Sum("pace_spans_dropped_total", "reason", "export_failed")
					if got := len(r.Spans()) + int(dropped); got != 2*(i+1) || r.Requests() != before+1 {
						return notYet("%d spans came, %v are counted as dropped, want %d in all", len(r.Spans()), dropped, 2*(i+1))
					}
					if dropped != response.dropped {
						t.Errorf("%v spans are counted as dropped, want %v", dropped, response.dropped)
					}
					return nil
				})
			}
			for msg, words := range map[string]string{
				"the collector takes spans, but warns":                   "soon too old",
				"spans are being lost: the collector does not take them": "too old",
				"the collector takes spans again":                        "",
			} {
				pacetest.Eventually(t, func() error {
					if lines := p.Lines(msg); len(lines) != 1 || !strings.Contains(lines[0].Text("error"), words) {
						return notYet("lines %q: %v, want one with %q", msg, lines, words)
					}
					return nil
				})
			}
			p.WantMetric(responses[len(responses)-1].dropped, "pace_spans_dropped_total")
		})
	}
}

// TestCollector_IsTriedAgain: a batch that the collector does not take for now is sent again, not before the
// pause that the collector asks for, and arrives once.
func TestCollector_IsTriedAgain(t *testing.T) {
	t.Parallel()
	for protocol, delays := range map[string][]otlp.Later{
		"grpc":          {{Status: 503, After: 1500 * time.Millisecond}, {Status: 429, After: 1600 * time.Millisecond}, {Status: 503, After: 0}},
		"http/protobuf": {{Status: 503, After: 2 * time.Second}, {Status: 429, After: 2 * time.Second}, {Status: 502, After: 0}},
	} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			r := otlp.Receiver(t)
			address := map[string]string{"grpc": r.GRPC, "http/protobuf": r.HTTP}[protocol]
			cfg := set(set(upstreams(pacetest.NewBackend(t, pacetest.Fine)), "tracing", "endpoint", "http://"+address), "tracing", "protocol", protocol)
			p := pacetest.Start(t, cfg, "OTEL_BSP_SCHEDULE_DELAY=20")
			r.Delay(delays...)
			wantStatus(t, p.Get("/x"), 200)
			pacetest.WantTrace(r, 1, pacetest.Path("/x"))
			at := r.Arrivals()
			if len(at) != len(delays)+1 || len(r.Spans()) != 2 {
				t.Fatalf("%d requests came, with %d spans, want %d with 2", len(at), len(r.Spans()), len(delays)+1)
			}
			for i, l := range delays {
				if pause := at[i+1].Sub(at[i]); pause < l.After {
					t.Errorf("after %+v pace waited %v", l, pause)
				}
			}
			p.WantMetric(0, "pace_spans_dropped_total")
			if lines := p.Lines("spans wait: the collector does not take them for now"); len(lines) != 1 {
				t.Errorf("%d lines say that spans wait, want one", len(lines))
			}
		})
	}
}

// TestCollector_ShortOutageCostsNothing: what happens while the collector is gone waits in the queues, and all of
// it arrives when the collector is back.
func TestCollector_ShortOutageCostsNothing(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"grpc", "http/protobuf"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			r := otlp.Receiver(t)
			b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
				x.Write("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
			})
			p := pacetest.Start(t, pacetest.Config{
				"upstreams":    pacetest.Upstreams(b),
				"tracing":      {"sample_ratio": 0.5},
				"tracing.keep": {"per_second": 0, "per_reason": 0},
			}, exportAll(r, protocol)...)
			wantStatus(t, p.Get("/before"), 500)
			r.WaitLines(func(l []otlp.Line) bool { return len(l) == 1 })
			r.Stop()
			for i := range 50 {
				wantStatus(t, p.Get(fmt.Sprint("/", i)), 500)
			}
			for _, what := range []string{"spans", "log records"} {
				p.AwaitLines(1, what+" wait: the collector does not take them for now")
			}
			r.Start()
			r.Wait(func(s []otlp.Span) bool { return len(s) >= 2*50 })
			r.WaitLines(func(l []otlp.Line) bool { return len(l) >= 50 })
			wantStatus(t, p.Get("/after"), 500)
			if code := p.Stop(); code != 0 {
				t.Errorf("exit %d", code)
			}
			spans, lines := map[string]bool{}, map[string]bool{} // what was under way when it stopped may come twice
			for _, s := range r.Spans() {
				spans[s.SpanID] = true
			}
			for _, l := range r.Lines() {
				lines[l.TraceID] = true
			}
			if len(spans) != 2*52 || len(lines) != 52 {
				t.Errorf("%d spans and %d log records came, want 104 and 52", len(spans), len(lines))
			}
			for _, what := range []string{"spans", "log records"} {
				if len(p.Lines("the collector takes "+what+" again")) != 1 || len(p.Lines(what+" are being lost: the collector does not take them")) != 0 {
					t.Errorf("the log does not say that %s have only waited", what)
				}
			}
		})
	}
}

func TestCollector_IsNotWaitedForAtTheEnd(t *testing.T) {
	t.Parallel()
	p, spans := pacetest.StartTraced(t, set(upstreams(pacetest.NewBackend(t, pacetest.Fine)), "server", "drain_timeout", "1s"))
	spans.Fail(otlp.Hang)
	wantStatus(t, p.Get("/x"), 200)
	began := time.Now()
	p.Stop()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("pace took %v to end with drain_timeout 1s", took)
	}
}
