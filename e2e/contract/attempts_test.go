package contract

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

// TestFailover runs GETs over one backend that fails in each known way and one that is
// fine: no client may notice.
func TestFailover(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		bad  func(t *testing.T) address
		cfg  pacetest.Table
		sent bool // bytes went out before it failed
		on   bool // retry.on must name it
	}{
		"connect_failed":   {bad: func(t *testing.T) address { return pacetest.NewClosed(t) }},
		"connect_timeout":  {bad: func(t *testing.T) address { return pacetest.NewBlackhole(t) }},
		"upstream_reset":   {bad: func(t *testing.T) address { return pacetest.NewBackend(t, pacetest.ResetBefore) }, sent: true},
		"upstream_invalid": {bad: func(t *testing.T) address { return pacetest.NewBackend(t, pacetest.Garbage) }, sent: true, on: true},
		"upstream_timeout": {
			bad: func(t *testing.T) address { return pacetest.NewBackend(t, pacetest.Hang) },
			cfg: pacetest.Table{"response_timeout": "2s"}, sent: true, on: true,
		},
	}
	for reason, tt := range tests {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			bad, fine := tt.bad(t), pacetest.NewBackend(t, pacetest.Fine)
			cfg := upstreams(bad, fine)
			for key, value := range tt.cfg {
				set(cfg, "upstreams", key, value)
			}
			if tt.on {
				cfg["upstreams.retry"] = pacetest.Table{"on": []string{reason}}
			}
			p, spans := pacetest.StartTraced(t, cfg)
			const requests = 4
			failovers := 0
			for i := range requests {
				got := p.Get(fmt.Sprintf("/%d", i))
				wantStatus(t, got, 200)
				if v := got.Header.Get("X-Backend"); v != fine.Name() {
					t.Errorf("X-Backend = %q, want the one that answered, %s", v, fine.Name())
				}
				trace := pacetest.WantTrace(spans, 1, pacetest.ID(got.Header.Get("X-Trace-Id")))
				if len(trace.Clients) == 2 {
					failovers++
					wantFailover(t, trace, bad.Address(), fine.Address(), reason, tt.sent)
				} else if len(trace.Server.Events) > 0 || len(trace.Clients) != 1 {
					t.Errorf("request %d has %d CLIENT spans and events %v", i, len(trace.Clients), trace.Server.Events)
				}
			}
			if failovers == 0 {
				t.Fatalf("none of %d requests had the bad backend's turn", requests)
			}
			if b, ok := bad.(*pacetest.Backend); ok && len(b.Requests()) != failovers {
				t.Errorf("the bad backend got %d requests, %d traces have a failover", len(b.Requests()), failovers)
			}
			p.WantMetric(float64(failovers), "pace_failovers_total", "reason", reason, "pace_upstream", "default")
			p.WantMetric(float64(failovers), "pace_failovers_total")
			p.WantMetric(0, "pace_retries_total")
			p.WantMetric(float64(requests+failovers), "http_client_request_duration_seconds_count")
			if n := len(fine.Requests()); n != requests {
				t.Errorf("the fine backend got %d requests, want %d", n, requests)
			}
		})
	}
}

func wantFailover(t *testing.T, trace pacetest.Trace, from, to, reason string, sent bool) {
	t.Helper()
	events := trace.Server.Named("pace.failover")
	if len(events) != 1 {
		t.Fatalf("%d failover events, want 1", len(events))
	}
	for key, want := range map[string]any{"from": from, "to": to, "reason": reason, "attempt": 1} {
		wantAttr(t, events[0].Attrs, "pace.failover."+key, want)
	}
	if n, ok := events[0].Attrs["pace.failover.bytes_sent"].(int64); !ok || (n > 0) != sent {
		t.Errorf("pace.failover.bytes_sent = %v, want more than none: %t", events[0].Attrs["pace.failover.bytes_sent"], sent)
	}
	first, second := trace.Clients[0], trace.Clients[1]
	lacksAttr(t, first.Attrs, "http.request.resend_count")
	wantAttr(t, first.Attrs, "error.type", reason)
	wantAttr(t, second.Attrs, "http.request.resend_count", 1)
	wantAttr(t, second.Attrs, "http.response.status_code", 200)
	wantAttr(t, trace.Server.Attrs, "pace.attempts", 2)
	wantAttr(t, trace.Server.Attrs, "pace.outcome", "ok")
	if first.StatusCode != otlp.Error || second.StatusCode == otlp.Error {
		t.Errorf("CLIENT spans have status %d and %d, want error and not", first.StatusCode, second.StatusCode)
	}
}

// TestFailover_OnlyWhatIsSafeToRepeat sends each method to two backends that reset it.
func TestFailover_OnlyWhatIsSafeToRepeat(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		method, body string
		maxSent      int // requests that may reach a backend
		minSent      int
	}{
		"GET":                 {"GET", "", 2, 2},
		"HEAD":                {"HEAD", "", 2, 2},
		"OPTIONS":             {"OPTIONS", "", 2, 2},
		"DELETE":              {"DELETE", "", 2, 2},
		"PUT without body":    {"PUT", "", 2, 2},
		"PUT with a body":     {"PUT", "data", 1, 1}, // which is not kept unless max_replay_bytes says so
		"POST":                {"POST", "data", 1, 1},
		"POST without body":   {"POST", "", 1, 1},
		"PATCH":               {"PATCH", "data", 1, 1},
		"an unknown method":   {"BREW", "", 1, 1},
		"POST with long body": {"POST", strings.Repeat("x", 100_000), 1, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := pacetest.NewBackend(t, pacetest.ResetBefore), pacetest.NewBackend(t, pacetest.ResetBefore)
			p, spans := pacetest.StartTraced(t, upstreams(a, b))
			got := p.Send(tt.method, "/x", tt.body)
			wantStatus(t, got, 502)
			n := len(a.Got("/x")) + len(b.Got("/x"))
			if n > tt.maxSent || n < tt.minSent {
				t.Errorf("the backends got it %d times, want %d to %d", n, tt.minSent, tt.maxSent)
			}
			if len(a.Got("/x")) > 1 || len(b.Got("/x")) > 1 {
				t.Errorf("one backend got it %d times, the other %d: a failover goes to one not yet tried", len(a.Got("/x")), len(b.Got("/x")))
			}
			trace := pacetest.WantTrace(spans, n, pacetest.Path("/x"))
			wantAttr(t, trace.Server.Attrs, "pace.outcome", "upstream_reset")
			wantAttr(t, trace.Server.Attrs, "pace.attempts", n)
			if len(trace.Clients) != n || len(trace.Server.Named("pace.failover")) != n-1 {
				t.Errorf("%d CLIENT spans, %d failover events; the backends got %d", len(trace.Clients), len(trace.Server.Named("pace.failover")), n)
			}
			if line := p.WantAccess("/x"); line.Int("attempts") != n || line.Text("outcome") != "upstream_reset" {
				t.Errorf("log says %s attempts, %s", line.Text("attempts"), line.Text("outcome"))
			}
		})
	}
}

func TestFailover_PostThatNeverLeftGoesElsewhere(t *testing.T) {
	t.Parallel()
	dead, fine := pacetest.NewClosed(t), pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(dead, fine))
	for i := range 4 {
		path := fmt.Sprintf("/%d", i)
		wantStatus(t, p.Send("POST", path, "data"), 200)
		if got := fine.WantGot(1, path)[0]; string(got.Body) != "data" {
			t.Errorf("the backend got body %q", got.Body)
		}
	}
	if n := p.Metrics().Sum("pace_failovers_total", "reason", "connect_failed"); n == 0 {
		t.Error("no request had the dead backend's turn")
	}
}

func TestFailover_MaxRetriesZeroIsOneAttempt(t *testing.T) {
	t.Parallel()
	a, b := pacetest.NewBackend(t, pacetest.ResetBefore), pacetest.NewBackend(t, pacetest.ResetBefore)
	p := pacetest.Start(t, set(upstreams(a, b), "upstreams", "max_retries", 0))
	wantStatus(t, p.Get("/x"), 502)
	if n := len(a.Got("/x")) + len(b.Got("/x")); n != 1 {
		t.Errorf("the backends got it %d times", n)
	}
	p.WantMetric(0, "pace_failovers_total")
}

func TestFailover_EachBackendOnceThenTheLastOneDecides(t *testing.T) {
	t.Parallel()
	a, b := pacetest.NewBackend(t, pacetest.ResetBefore), pacetest.NewBackend(t, pacetest.Garbage)
	dead := pacetest.NewClosed(t)
	cfg := set(upstreams(a, b, dead), "upstreams", "max_retries", 9)
	cfg["upstreams.retry"] = pacetest.Table{"on": []string{"connect_failed", "upstream_reset", "upstream_invalid"}}
	p, spans := pacetest.StartTraced(t, cfg)
	for i := range 3 {
		path := fmt.Sprintf("/%d", i)
		got := p.Get(path)
		wantStatus(t, got, 502)
		if len(a.Got(path)) != 1 || len(b.Got(path)) != 1 {
			t.Errorf("request %d reached the backends %d and %d times, want once each", i, len(a.Got(path)), len(b.Got(path)))
		}
		trace := pacetest.WantTrace(spans, 3, pacetest.Path(path))
		events := trace.Server.Named("pace.failover")
		if len(trace.Clients) != 3 || len(events) != 2 {
			t.Fatalf("%d CLIENT spans, %d failovers; want 3 and 2", len(trace.Clients), len(events))
		}
		for n, event := range events {
			wantAttr(t, event.Attrs, "pace.failover.attempt", n+1)
			wantAttr(t, trace.Clients[n+1].Attrs, "http.request.resend_count", n+1)
		}
		last := trace.Clients[2].Attrs["error.type"]
		if last != trace.Server.Attrs["pace.outcome"] {
			t.Errorf("outcome %v, but the last attempt failed with %v", trace.Server.Attrs["pace.outcome"], last)
		}
	}
	p.WantMetric(6, "pace_failovers_total")
}

// TestRetry is the idle-close race: the only backend closes a reused connection just as a
// request arrives on it.
func TestRetry(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.CloseReused)
	p, spans := pacetest.StartTraced(t, upstreams(b))
	wantStatus(t, p.Get("/warm-up"), 200)
	got := p.Get("/x")
	wantStatus(t, got, 200)
	if reached := b.WantGot(2, "/x"); reached[0].Conn == reached[1].Conn || reached[1].Nth != 1 {
		t.Errorf("the retry came on connection %d as request %d, want a new one", reached[1].Conn, reached[1].Nth)
	}
	trace := pacetest.WantTrace(spans, 2, pacetest.Path("/x"))
	if len(trace.Clients) != 2 || len(trace.Server.Named("pace.retry")) != 1 || len(trace.Server.Named("pace.failover")) != 0 {
		t.Fatalf("%d CLIENT spans, events %+v; want 2 and one retry", len(trace.Clients), trace.Server.Events)
	}
	event := trace.Server.Named("pace.retry")[0]
	for key, want := range map[string]any{"backend": b.Address(), "reason": "stale_connection", "attempt": 1} {
		wantAttr(t, event.Attrs, "pace.retry."+key, want)
	}
	for i, reused := range []bool{true, false} {
		wantAttr(t, trace.Clients[i].Attrs, "pace.connection.reused", reused)
	}
	wantAttr(t, trace.Clients[1].Attrs, "http.request.resend_count", 1)
	wantAttr(t, trace.Server.Attrs, "pace.outcome", "ok")
	p.WantMetric(1, "pace_retries_total", "pace_upstream", "default", "reason", "stale_connection")
	p.WantMetric(0, "pace_failovers_total")
	if line := p.WantAccess("/x"); line.Int("attempts") != 2 {
		t.Errorf("log says %s attempts", line.Text("attempts"))
	}
}

func TestRetry_NeverAPost(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.CloseReused)
	p := pacetest.Start(t, upstreams(b))
	wantStatus(t, p.Get("/warm-up"), 200)
	wantStatus(t, p.Send("POST", "/x", "data"), 502)
	if n := len(b.Got("/x")); n != 1 {
		t.Errorf("the backend got the POST %d times", n)
	}
	p.WantMetric(0, "pace_retries_total")
}

func TestRetry_NotOnAConnectionThatWasNew(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.CloseBefore)
	p := pacetest.Start(t, upstreams(b))
	wantStatus(t, p.Get("/x"), 502)
	if n := len(b.Got("/x")); n != 1 {
		t.Errorf("the backend got it %d times", n)
	}
}

// TestDeadPooledConnection_IsReplacedInsideTheAttempt ends every idle connection before the
// next request, a POST, which must not notice.
func TestDeadPooledConnection_IsReplacedInsideTheAttempt(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*pacetest.Backend){"FIN": (*pacetest.Backend).CloseConns, "RST": (*pacetest.Backend).DropConns} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			deadPooled(t, end)
		})
	}
}

func deadPooled(t *testing.T, end func(*pacetest.Backend)) {
	t.Helper()
	b, open := warmBackend(t)
	p, spans := pacetest.StartTraced(t, upstreams(b))
	warm(t, p, b, open, 5)
	end(b)
	wantStatus(t, p.Send("POST", "/x", "data"), 200)
	b.WantGot(1, "/x")
	trace := pacetest.WantTrace(spans, 1, pacetest.Path("/x"))
	wantAttr(t, trace.Server.Attrs, "pace.attempts", 1)
	if len(trace.Clients) != 1 {
		t.Errorf("%d CLIENT spans, want 1", len(trace.Clients))
	}
	p.WantMetric(0, "pace_retries_total")
	p.WantMetric(0, "pace_failovers_total")
}

// TestPost_NeverTwiceThoughFiveWarmConnectionsDie is issue 4's: the backend gets the POST on
// a warm connection and then dies with all five.
func TestPost_NeverTwiceThoughFiveWarmConnectionsDie(t *testing.T) {
	t.Parallel()
	for method, body := range map[string]string{"POST": "data", "PATCH": "data", "DELETE": "data", "GET": ""} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			open := make(chan struct{})
			var b *pacetest.Backend
			b = pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{
				"/warm-up": pacetest.Gated(open, pacetest.Fine),
				"/": func(x *pacetest.Exchange) {
					x.ReadBody()
					b.DropConns()
					x.Reset()
				},
			}))
			p, spans := pacetest.StartTraced(t, upstreams(b))
			warm(t, p, b, open, 5)
			got := p.Send(method, "/x", body)
			wantStatus(t, got, 502)
			n := len(b.Got("/x"))
			maxSent := map[string]int{"GET": 2, "DELETE": 2}[method] // an attempt and a retry
			if n < 1 || n > max(1, maxSent) {
				t.Errorf("the backend got the %s %d times", method, n)
			}
			trace := pacetest.WantTrace(spans, n, pacetest.Path("/x"))
			retries := p.Metrics().Sum("pace_retries_total")
			if len(trace.Clients) != n || len(trace.Server.Named("pace.retry")) != n-1 || retries != float64(n-1) {
				t.Errorf("%d CLIENT spans, %d retry events, counter %v; the backend got it %d times",
					len(trace.Clients), len(trace.Server.Named("pace.retry")), retries, n)
			}
		})
	}
}

func warmBackend(t *testing.T) (*pacetest.Backend, chan struct{}) {
	open := make(chan struct{})
	return pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{
		"/warm-up": pacetest.Gated(open, pacetest.Fine), "/": pacetest.Fine,
	})), open
}

// warm leaves n idle connections from p to b, whose /warm-up answers once open is closed.
func warm(t *testing.T, p *pacetest.Pace, b *pacetest.Backend, open chan struct{}, n int) {
	t.Helper()
	var clients sync.WaitGroup
	c := pacetest.H1.Client(t)
	for range n {
		clients.Go(func() {
			if got := pacetest.Do(c, p.Request("GET", "/warm-up", "")); got.Status != 200 {
				t.Errorf("warm-up: status %d, %v", got.Status, got.Err)
			}
		})
	}
	b.WantGot(n, "/warm-up")
	close(open)
	clients.Wait()
	if got := b.Open(); got != n {
		t.Fatalf("%d connections are warm, want %d", got, n)
	}
}

func TestRoundRobin_TakesTurns(t *testing.T) {
	t.Parallel()
	a, b, c := pacetest.NewBackend(t, pacetest.Fine), pacetest.NewBackend(t, pacetest.Fine), pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(a, b, c))
	client := pacetest.H1.Client(t)
	for range 30 {
		wantStatus(t, pacetest.Do(client, p.Request("GET", "/x", "")), 200)
	}
	for _, backend := range []*pacetest.Backend{a, b, c} {
		if n, conns := len(backend.Requests()), backend.Accepted(); n != 10 || conns != 1 {
			t.Errorf("%s got %d requests on %d connections, want 10 on 1", backend.Name(), n, conns)
		}
	}
}
