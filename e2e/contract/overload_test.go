package contract

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

// counting is a behaviour that counts how many requests a backend has at once. It holds each for a moment, and counts
// it no more before it responds: so it never counts a request that pace has let go of.
func counting(largest *atomic.Int64) pacetest.Behaviour {
	var now atomic.Int64
	return func(x *pacetest.Exchange) {
		n := now.Add(1)
		for seen := largest.Load(); n > seen && !largest.CompareAndSwap(seen, n); seen = largest.Load() {
		}
		x.ReadBody()
		time.Sleep(2 * time.Millisecond)
		now.Add(-1)
		pacetest.Fine(x)
	}
}

// TestLimits_HoldAsTheBackendsCount: many clients ask at once; no backend ever has more requests or connections than
// it may, by its own count, and every request is either served or rejected at once.
func TestLimits_HoldAsTheBackendsCount(t *testing.T) {
	for _, tt := range []struct {
		key    string
		policy string
	}{
		{"max_requests", "round_robin"},
		{"max_requests", "least_request"},
		{"max_connections", "round_robin"},
		{"max_connections", "hash"},
	} {
		t.Run(tt.key+" with "+tt.policy, func(t *testing.T) {
			t.Parallel()
			const limit, clients, rounds = 3, 24, 15
			var largest [2]atomic.Int64
			backends := []*pacetest.Backend{
				pacetest.NewBackend(t, counting(&largest[0])), pacetest.NewBackend(t, counting(&largest[1])),
			}
			p := pacetest.Start(t, set(balanced(tt.policy, backends), "upstreams", tt.key, limit))
			var served, rejected atomic.Int64
			var all sync.WaitGroup
			for range clients {
				all.Go(func() {
					for range rounds {
						switch got := p.Get("/x"); {
						case got.Err == nil && got.Status == 200:
							served.Add(1)
						case got.Status == 503 && strings.Contains(got.Body, "Outcome: overload"):
							rejected.Add(1)
						default:
							t.Errorf("got status %d, body %q, error %v", got.Status, got.Body, got.Err)
						}
					}
				})
			}
			all.Wait()
			for i, b := range backends {
				if n := largest[i].Load(); n > limit || n == 0 {
					t.Errorf("%s had %d requests at once, and the limit is %d", b.Address(), n, limit)
				}
				if n := b.Accepted(); tt.key == "max_connections" && n > limit { // none was ever closed
					t.Errorf("%s had %d connections, and the limit is %d", b.Address(), n, limit)
				}
			}
			if n := int64(len(backends[0].Got("/x")) + len(backends[1].Got("/x"))); n != served.Load() {
				t.Errorf("the backends got %d requests, and %d were served", n, served.Load())
			}
			if served.Load()+rejected.Load() != clients*rounds || rejected.Load() == 0 {
				t.Errorf("%d served and %d rejected, want %d in all, some of them rejected", served.Load(), rejected.Load(), clients*rounds)
			}
			p.WantMetric(float64(rejected.Load()), "pace_rejections_total", "reason", "overload")
			p.WantMetric(0, "pace_backend_active_requests")
			p.WantMetric(0, "pace_backend_connections", "state", "active")
		})
	}
}

// held is a pace with requests at a backend that holds them until release, or until the test ends.
func held(t *testing.T, n int, cfg func(*pacetest.Backend) pacetest.Config) (p *pacetest.Pace, r *otlp.Recv, b *pacetest.Backend, release func()) {
	open := make(chan struct{})
	release = sync.OnceFunc(func() { close(open) })
	b = pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{
		"/hold": pacetest.Gated(open, pacetest.Fine), "/stream": pacetest.UpgradeEcho, "/": pacetest.Fine,
	}))
	p, r = pacetest.StartTraced(t, cfg(b))
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if got := p.Get("/hold"); got.Status != 200 {
				t.Errorf("a request that is in flight got %d %q", got.Status, got.Body)
			}
		})
	}
	t.Cleanup(func() { release(); all.Wait() })
	b.WantGot(n, "/hold")
	return p, r, b, release
}

// TestOverload_IsSaidAtOnce in the response, the metrics, the trace and the log.
func TestOverload_IsSaidAtOnce(t *testing.T) {
	t.Parallel()
	p, r, b, release := held(t, 2, func(b *pacetest.Backend) pacetest.Config {
		return set(upstreams(b), "upstreams", "max_requests", 2)
	})
	got := p.Get("/x")
	wantStatus(t, got, 503)
	if status := got.Header.Get("Proxy-Status"); status != `pace; error=connection_limit_reached; details="overload"` {
		t.Errorf("Proxy-Status is %q", status)
	}
	if !strings.Contains(got.Body, "Outcome: overload") || len(b.Got("/x")) != 0 {
		t.Errorf("got %q, and the backend got %d requests", got.Body, len(b.Got("/x")))
	}
	line := p.WantAccess("/x")
	if line.Text("outcome") != "overload" || line.Text("level") != "ERROR" || line.Int("attempts") != 0 || line.Int("status") != 503 {
		t.Errorf("the line says %v", line)
	}
	if took, _ := line["duration_ms"].(float64); took > 1000 {
		t.Errorf("it took %v ms to reject a request", took)
	}
	trace := pacetest.WantTrace(r, 0, pacetest.Path("/x"))
	wantAttr(t, trace.Server.Attrs, "pace.outcome", "overload")
	wantAttr(t, trace.Server.Attrs, "error.type", "overload")
	p.WantMetric(1, "pace_rejections_total", "reason", "overload", "http_route", "/")
	p.WantMetric(1, "pace_requests_total", "pace_outcome", "overload", "pace_side", "pace")
	at := []string{"pace_upstream", "default", "server_address", "127.0.0.1", "server_port", fmt.Sprint(b.Port())}
	p.WantMetric(2, "pace_backend_active_requests", at...)
	p.WantMetric(2, "pace_backend_connections", append(at, "state", "active")...)
	release()
	p.WantMetric(0, "pace_backend_active_requests", at...)
	p.WantMetric(2, "pace_backend_connections", append(at, "state", "idle")...)
	wantStatus(t, p.Get("/x"), 200)
}

// TestOverload_AnotherBackendIsPicked, and the span says why.
func TestOverload_AnotherBackendIsPicked(t *testing.T) {
	t.Parallel()
	other := pacetest.NewBackend(t, pacetest.Fine)
	p, r, _, _ := held(t, 1, func(b *pacetest.Backend) pacetest.Config {
		return set(upstreams(b, other), "upstreams", "max_requests", 1)
	})
	for i := range 4 { // two of them are the turn of the backend that is full
		got := p.Get(fmt.Sprintf("/%d", i))
		wantStatus(t, got, 200)
		if got.Header.Get("X-Backend") != other.Name() {
			t.Errorf("request %d went to %s", i, got.Header.Get("X-Backend"))
		}
	}
	overflow := 0
	for i := range 4 {
		trace := pacetest.WantTrace(r, 1, pacetest.Path(fmt.Sprintf("/%d", i)))
		if len(trace.Clients) != 1 {
			t.Errorf("request %d took %d attempts, want 1", i, len(trace.Clients))
			continue
		}
		if trace.Clients[0].Attrs["pace.pick.reason"] == "overflow" {
			overflow++
		}
	}
	if overflow != 2 {
		t.Errorf("%d attempts have the pick reason overflow, want 2", overflow)
	}
	p.WantMetric(0, "pace_failovers_total")
}

// TestMaxConnections_CountsStreams, and lets a request always use an idle connection.
func TestMaxConnections_CountsStreams(t *testing.T) {
	t.Parallel()
	p, _, b, _ := held(t, 0, func(b *pacetest.Backend) pacetest.Config {
		return set(upstreams(b), "upstreams", "max_connections", 1)
	})
	for range 3 {
		wantStatus(t, p.Get("/x"), 200)
	}
	if n := b.Accepted(); n != 1 {
		t.Errorf("%d connections for one request after the other, want 1", n)
	}
	w := p.Wire()
	w.Send("GET /stream HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	if resp := w.Head("GET"); resp.StatusCode != 101 {
		t.Fatalf("got %v, want a stream", resp.Status)
	}
	p.WantMetric(1, "pace_backend_connections", "state", "active")
	p.WantMetric(1, "pace_backend_active_requests")
	wantStatus(t, p.Get("/x"), 503)
	w.Close()
	p.WantMetric(0, "pace_backend_connections", "state", "active")
	wantStatus(t, p.Get("/x"), 200)
}

// TestLimits_AreThoseOfTheLastReload, and the metrics of a backend that leaves go with it.
func TestLimits_AreThoseOfTheLastReload(t *testing.T) {
	t.Parallel()
	p, _, b, release := held(t, 1, func(b *pacetest.Backend) pacetest.Config {
		return set(upstreams(b), "upstreams", "max_requests", 1)
	})
	wantStatus(t, p.Get("/x"), 503)
	p.Reload(set(upstreams(b), "upstreams", "max_requests", 2))
	wantStatus(t, p.Get("/x"), 200)
	p.WantMetric(1, "pace_backend_active_requests", "server_port", fmt.Sprint(b.Port()))
	release()
	other := pacetest.NewBackend(t, pacetest.Fine)
	p.Reload(upstreams(other))
	text := p.Exposition("text/plain")
	for _, name := range []string{"pace_backend_active_requests", "pace_backend_connections"} {
		if !strings.Contains(text, name+"{") || strings.Contains(text, fmt.Sprintf("%s{pace_upstream=\"default\",server_address=\"127.0.0.1\",server_port=%q", name, fmt.Sprint(b.Port()))) {
			t.Errorf("%s has no series, or one of the backend that is gone", name)
		}
	}
}
