package contract

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

// unsampled is a configuration whose traces are exported only if they are kept.
func unsampled(cfg pacetest.Config) pacetest.Config {
	return set(cfg, "tracing", "sample_ratio", 0)
}

// wantKept waits for the trace of the request to path, and holds its spans, log line and counter to one reason.
func wantKept(t *testing.T, p *pacetest.Pace, spans *otlp.Recv, path, reason string, attempts int) pacetest.Trace {
	t.Helper()
	trace := pacetest.WantTrace(spans, attempts, pacetest.Path(path))
	wantAttr(t, trace.Server.Attrs, "pace.keep.reason", reason)
	for _, s := range append(trace.Clients, trace.Server) {
		if s.Flags&1 != 1 {
			t.Errorf("the span %s of %s is not marked sampled: flags %x", s.Name, path, s.Flags)
		}
	}
	line := p.WantAccess(path)
	if line.Text("kept") != reason || line["trace_sampled"] != false || line.Text("trace_id") != trace.Server.TraceID {
		t.Errorf("the line of %s has kept %q, trace_sampled %v, trace %s; want %q, false, %s",
			path, line.Text("kept"), line["trace_sampled"], line.Text("trace_id"), reason, trace.Server.TraceID)
	}
	p.WantMetric(1, "pace_traces_kept_total", "reason", reason)
	return trace
}

// wantIDs holds CLIENT spans to what the backends were sent.
func wantIDs(t *testing.T, trace pacetest.Trace, got ...pacetest.Request) {
	t.Helper()
	for i, r := range got {
		parts := strings.Split(r.Header.Get("Traceparent"), "-")
		if len(parts) != 4 || parts[1] != trace.Server.TraceID || parts[2] != trace.Clients[len(trace.Clients)-len(got)+i].SpanID {
			t.Errorf("the backend got %v, the spans are of trace %s", parts, trace.Server.TraceID)
		}
	}
}

func TestKeep_EachReason(t *testing.T) {
	t.Parallel()
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		get := func(p *pacetest.Pace, path string) pacetest.Response {
			return pacetest.Do(mode.Client(t), p.Request("GET", path, ""))
		}
		t.Run("error: the backend's 500", func(t *testing.T) {
			t.Parallel()
			b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
				x.Write("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
			})
			p, spans := pacetest.StartTraced(t, unsampled(upstreams(b)))
			response := get(p, "/error")
			wantStatus(t, response, 500)
			trace := wantKept(t, p, spans, "/error", "error", 1)
			if id := response.Header.Get("X-Trace-Id"); id != trace.Server.TraceID {
				t.Errorf("X-Trace-Id is %q, the trace is %s", id, trace.Server.TraceID)
			}
			wantIDs(t, trace, b.WantGot(1, "/error")...)
		})
		t.Run("failover", func(t *testing.T) {
			t.Parallel()
			b := pacetest.NewBackend(t, pacetest.Fine)
			p, spans := pacetest.StartTraced(t, unsampled(upstreams(pacetest.NewClosed(t), b)))
			wantStatus(t, get(p, "/0"), 200)
			wantStatus(t, get(p, "/1"), 200) // one of the two began at the closed address
			failed := "/0"
			if p.WantAccess("/0").Int("attempts") == 1 {
				failed = "/1"
			}
			trace := wantKept(t, p, spans, failed, "failover", 2)
			got := b.WantGot(1, failed)
			wantIDs(t, trace, got...)
			if flags := got[0].Header.Get("Traceparent"); !strings.HasSuffix(flags, "3") { // random and sampled
				t.Errorf("the attempt after a failure was sent with %q, which is not sampled", flags)
			}
			fine := map[string]string{"/0": "/1", "/1": "/0"}[failed]
			if flags := b.WantGot(1, fine)[0].Header.Get("Traceparent"); !strings.HasSuffix(flags, "02") {
				t.Errorf("an ordinary attempt was sent with %q", flags)
			}
			if p.WantAccess(fine)["kept"] != nil || pacetest.Count(spans, otlp.Server) != 1 {
				t.Errorf("an ordinary exchange was kept: %v, %d SERVER spans", p.WantAccess(fine), pacetest.Count(spans, otlp.Server))
			}
		})
		t.Run("retry", func(t *testing.T) {
			t.Parallel()
			b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
				if x.Nth > 1 {
					x.Reset()
					return
				}
				pacetest.Fine(x)
			})
			p, spans := pacetest.StartTraced(t, unsampled(upstreams(b)))
			wantStatus(t, get(p, "/first"), 200)
			wantStatus(t, get(p, "/again"), 200)
			wantIDs(t, wantKept(t, p, spans, "/again", "retry", 2), b.WantGot(2, "/again")...)
		})
		t.Run("rejected", func(t *testing.T) {
			t.Parallel()
			cfg := unsampled(upstreams(pacetest.NewBackend(t, pacetest.Fine)))
			cfg["rate_limit"] = pacetest.Table{"max_requests": 1}
			p, spans := pacetest.StartTraced(t, cfg)
			wantStatus(t, get(p, "/passes"), 200)
			wantStatus(t, get(p, "/rejected"), 429)
			wantKept(t, p, spans, "/rejected", "rejected", 0)
		})
		t.Run("client_left", func(t *testing.T) {
			t.Parallel()
			got := make(chan struct{})
			b := pacetest.NewBackend(t, func(x *pacetest.Exchange) { close(got); x.AwaitClose() })
			p, spans := pacetest.StartTraced(t, unsampled(upstreams(b)))
			ctx, leave := context.WithCancel(t.Context())
			go func() { <-got; leave() }()
			if response := pacetest.Do(mode.Client(t), p.Request("GET", "/left", "").WithContext(ctx)); response.Err == nil {
				t.Fatal("the client got an answer")
			}
			wantKept(t, p, spans, "/left", "client_left", 1)
		})
		t.Run("slow", func(t *testing.T) {
			t.Parallel()
			b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
				if x.Target == "/slow" {
					time.Sleep(300 * time.Millisecond)
				}
				pacetest.Fine(x)
			})
			p, spans := pacetest.StartTraced(t, set(unsampled(upstreams(b)), "tracing.keep", "slow", "300ms"))
			wantStatus(t, get(p, "/slow"), 200)
			wantKept(t, p, spans, "/slow", "slow", 1)
		})
	})
}

// What the head samples is exported as ever, and is not counted as kept.
func TestKeep_NotWhatIsSampledAnyway(t *testing.T) {
	t.Parallel()
	p, spans := pacetest.StartTraced(t, upstreams(pacetest.NewClosed(t)))
	wantJSONTrace(t, p, "/x", "sampled")
	trace := pacetest.WantTrace(spans, 1, pacetest.Path("/x"))
	lacksAttr(t, trace.Server.Attrs, "pace.keep.reason")
	if line := p.WantAccess("/x"); line["trace_sampled"] != true || line["kept"] != nil {
		t.Errorf("the line has trace_sampled %v, kept %v", line["trace_sampled"], line["kept"])
	}
	p.WantMetric(0, "pace_traces_kept_total")
	p.WantMetric(0, "pace_traces_dropped_total")
}

// Without an exporter, or with keeping switched off, no trace is kept, and no signal says that one was.
func TestKeep_Off(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		on   func(t *testing.T) *pacetest.Pace
	}{
		{"without an exporter", func(t *testing.T) *pacetest.Pace {
			return pacetest.Start(t, upstreams(pacetest.NewClosed(t)))
		}},
		{"with enabled = false", func(t *testing.T) *pacetest.Pace {
			p, _ := pacetest.StartTraced(t, set(unsampled(upstreams(pacetest.NewClosed(t))), "tracing.keep", "enabled", false))
			return p
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := tt.on(t)
			wantJSONTrace(t, p, "/x", "dropped")
			if line := p.WantAccess("/x"); line["trace_sampled"] != false || line["kept"] != nil || len(line.Text("trace_id")) != 32 {
				t.Errorf("the line has trace_sampled %v, kept %v, trace_id %v", line["trace_sampled"], line["kept"], line["trace_id"])
			}
			p.WantMetric(0, "pace_traces_kept_total")
			p.WantMetric(0, "pace_traces_dropped_total")
		})
	}
}

// wantJSONTrace makes pace respond itself, and reads from that what becomes of the trace.
func wantJSONTrace(t *testing.T, p *pacetest.Pace, path, want string) {
	t.Helper()
	got := p.Get(path, "Accept", "application/json")
	var body map[string]any
	if err := json.Unmarshal([]byte(got.Body), &body); err != nil || body["trace"] != want || body["trace_id"] != got.Header.Get("X-Trace-Id") {
		t.Errorf("got %q, %v; want the trace %s, %s", got.Body, err, got.Header.Get("X-Trace-Id"), want)
	}
}

// In a storm of one failure the caps hold, a rare failure is still kept, and each trace is counted once.
func TestKeep_UnderAStorm(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		x.Write("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
	})
	cfg := unsampled(upstreams(b))
	cfg["tracing.keep"] = pacetest.Table{"per_second": 4, "per_reason": 3}
	cfg["rate_limit"] = pacetest.Table{"max_requests": 200}
	p, spans := pacetest.StartTraced(t, cfg)
	client := pacetest.H1.Client(t)
	began := time.Now()
	for i := range 200 {
		wantStatus(t, pacetest.Do(client, p.Request("GET", fmt.Sprint("/", i), "")), 503)
	}
	wantStatus(t, pacetest.Do(client, p.Request("GET", "/rejected", "")), 429)
	seconds := int(time.Since(began).Seconds()) + 1
	wantKept(t, p, spans, "/rejected", "rejected", 0)
	var kept, dropped float64
	pacetest.Eventually(t, func() error {
		m := p.Metrics()
		kept, dropped = m.Sum("pace_traces_kept_total"), m.Sum("pace_traces_dropped_total")
		if kept+dropped != 201 {
			return notYet("%v kept and %v dropped, want 201 in all", kept, dropped)
		}
		return nil
	})
	if limit := 3*seconds + 1; kept < 4 || int(kept) > limit {
		t.Errorf("%v were kept in %d s, want 4 to %d", kept, seconds, limit)
	}
	p.WantMetric(dropped, "pace_traces_dropped_total", "reason", "rate")
	said := 0
	for _, line := range p.Lines("request") {
		if line["kept"] != nil {
			said++
		}
	}
	if said != int(kept) || pacetest.Count(spans, otlp.Server) != int(kept) {
		t.Errorf("%d lines say kept, %d SERVER spans came, and %v are counted", said, pacetest.Count(spans, otlp.Server), kept)
	}
}

// While the collector does not take anything, requests go on, and each trace is counted as dropped.
func TestKeep_WhileTheCollectorIsDown(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]otlp.Fault{"it refuses": otlp.Refuse, "it hangs": otlp.Hang} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
				x.Write("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
			})
			cfg := unsampled(upstreams(b))
			cfg["tracing.keep"] = pacetest.Table{"per_second": 0, "per_reason": 0}
			p, spans := pacetest.StartTraced(t, cfg, "OTEL_BSP_MAX_QUEUE_SIZE=20", "OTEL_BSP_EXPORT_TIMEOUT=300", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=10")
			spans.Fail(fault)
			client := pacetest.H1.Client(t)
			for range 300 {
				wantStatus(t, pacetest.Do(client, p.Request("GET", "/x", "")), 500)
			}
			pacetest.Eventually(t, func() error {
				m := p.Metrics()
				full, failed := m.Sum("pace_traces_dropped_total", "reason", "queue_full"), m.Sum("pace_traces_dropped_total", "reason", "export_failed")
				if full+failed != 300 || m.Sum("pace_traces_kept_total") != 0 {
					return notYet("%v did not fit, %v were not taken, want 300 in all", full, failed)
				}
				return nil
			})
			if page := p.Exposition("application/openmetrics-text; version=1.0.0"); strings.Contains(page, "trace_id") {
				t.Error("an exemplar leads to a trace that the collector has not")
			}
			spans.Fail(otlp.None)
			pacetest.Eventually(t, func() error { // the place of what was lost is free again
				wantStatus(t, pacetest.Do(client, p.Request("GET", "/after", "")), 500)
				if p.Metrics().Sum("pace_traces_kept_total") == 0 {
					return notYet("nothing is kept")
				}
				return nil
			})
		})
	}
}

// What a parent says of probability goes on, and what the ratio decides is said; a kept trace says nothing.
func TestKeep_ConsistentProbability(t *testing.T) {
	t.Parallel()
	const id = "0af7651916cd43dd8448eb211c80319c"
	for _, tt := range []struct {
		name, flags, state string
		ratio              float64
		status             int
		wantFlags          string
		wantState          string // to the backend
		exported           string // in the span; "-": there is none
	}{
		{"a sampled parent's threshold goes on", "03", "ot=th:8;rv:e0000000000000,vendor=1", 0, 200, "03", "ot=th:8;rv:e0000000000000,vendor=1", "ot=th:8;rv:e0000000000000,vendor=1"},
		{"a parent without the random flag gets none", "01", "vendor=1", 0, 200, "01", "vendor=1", "vendor=1"},
		{"an unsampled parent is honoured", "02", "ot=rv:e0000000000000", 1, 200, "02", "ot=rv:e0000000000000", "-"},
		{"a trace that is kept has no threshold", "02", "ot=th:8;rv:e0000000000000,vendor=1", 1, 500, "02", "ot=th:8;rv:e0000000000000,vendor=1", "ot=rv:e0000000000000,vendor=1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
				x.Write("HTTP/1.1 %d Word\r\nContent-Length: 0\r\n\r\n", tt.status)
			})
			p, spans := pacetest.StartTraced(t, set(upstreams(b), "tracing", "sample_ratio", tt.ratio))
			wantStatus(t, p.Get("/x", "Traceparent", "00-"+id+"-b7ad6b7169203331-"+tt.flags, "Tracestate", tt.state), tt.status)
			got := b.WantGot(1, "/x")[0].Header
			if state := got.Get("Tracestate"); state != tt.wantState || !strings.HasSuffix(got.Get("Traceparent"), "-"+tt.wantFlags) {
				t.Errorf("the backend got %q, %q; want flags %s, %q", got.Get("Traceparent"), state, tt.wantFlags, tt.wantState)
			}
			if tt.exported == "-" {
				p.Stop()
				if n := len(spans.Spans()); n != 0 {
					t.Errorf("%d spans came", n)
				}
				return
			}
			trace := pacetest.WantTrace(spans, 1, pacetest.Path("/x"))
			if trace.Server.TraceState != tt.exported || trace.Clients[0].TraceState != tt.exported {
				t.Errorf("the spans have %q and %q, want %q", trace.Server.TraceState, trace.Clients[0].TraceState, tt.exported)
			}
		})
	}
	t.Run("the ratio's threshold is said of the traces that it samples", func(t *testing.T) {
		t.Parallel()
		b := pacetest.NewBackend(t, pacetest.Fine)
		p := pacetest.Start(t, set(upstreams(b), "tracing", "sample_ratio", 0.25))
		client, sampled := pacetest.H1.Client(t), 0
		for i := range 100 {
			path := fmt.Sprint("/", i)
			wantStatus(t, pacetest.Do(client, p.Request("GET", path, "")), 200)
			h := b.WantGot(1, path)[0].Header
			parent, state := h.Get("Traceparent"), h.Get("Tracestate")
			random := parent[3+32-14 : 3+32] // the last 56 bits of the trace's id
			if (random >= "c0000000000000") != strings.HasSuffix(parent, "-03") || strings.HasSuffix(parent, "-03") != (state == "ot=th:c") {
				t.Errorf("got %s with the state %q", parent, state)
			}
			if state != "" {
				sampled++
			}
		}
		if sampled == 0 || sampled > 60 {
			t.Errorf("%d of 100 traces were sampled, want about 25", sampled)
		}
	})
}
