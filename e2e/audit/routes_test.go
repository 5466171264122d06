package audit

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

// TestRoutes sends a seeded mix over three routes and two upstreams, with a reload in its middle that adds a
// fourth route. For each route, metrics, lines and spans say what clients and backends wrote down.
func TestRoutes(t *testing.T) {
	t.Parallel()
	for _, seed := range seeds(t) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { auditRoutes(t, seed) })
	}
}

// taken is what is known of the requests of a kind: the route that takes them, its path, and their outcome.
type taken struct{ name, path, method, outcome string }

// routed counts requests, and attempts by upstream. It is what each signal says, and the truth.
type routed struct {
	requests map[taken]int
	attempts map[string]int
}

func auditRoutes(t *testing.T, seed uint64) {
	truth := routed{map[taken]int{}, map[string]int{}}
	var mu sync.Mutex
	backend := func(upstream string) *pacetest.Backend {
		return pacetest.NewBackend(t, func(x *pacetest.Exchange) {
			mu.Lock()
			truth.attempts[upstream]++
			mu.Unlock()
			_, kind, _ := strings.Cut(x.Target, "?")
			map[string]pacetest.Behaviour{
				"ok": pacetest.Fine, "client_error": pacetest.Status(404, "no"), "upstream_error": pacetest.Status(503, "down"),
				"upstream_reset":     func(x *pacetest.Exchange) { x.ReadBody(); x.Reset() },
				"upstream_truncated": pacetest.Raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"),
				"upstream_invalid":   pacetest.Raw("220 smtp.example ESMTP\r\n"),
			}[kind](x)
		})
	}
	receiver := otlp.Receiver(t)
	cfg := pacetest.Config{
		"upstream.api":    pacetest.Upstreams(backend("api")).With("max_retries", 0),
		"upstream.orders": pacetest.Upstreams(backend("orders")).With("max_retries", 0),
		"limit.few":       {"max_requests": 40, "window_seconds": 3600},
	}
	routes := []pacetest.Table{
		{"match": "GET /users/{id}", "name": "users", "upstream": "api"},
		{"match": "/orders/", "name": "orders", "upstream": "orders", "limits": []string{"few"}},
		{"match": "POST /files/{path...}", "upstream": "api"},
	}
	p := pacetest.Start(t, cfg.WithRoutes(routes...), pacetest.ExportTo(receiver)...)
	const n = 600
	kinds := strings.Fields("ok ok ok ok client_error upstream_error upstream_reset upstream_truncated upstream_invalid")
	random := rand.New(rand.NewPCG(seed, 12))
	orders := 0
	for i := range n {
		if i == n/2 {
			if line := p.Reload(cfg.WithRoutes(append(routes, pacetest.Table{"match": "/late/", "upstream": "orders"})...)); line.Text("msg") != "configuration reloaded" {
				t.Fatalf("got %v", line)
			}
		}
		outcome := kinds[random.IntN(len(kinds))]
		var k taken
		switch random.IntN(5) {
		case 0:
			k = taken{"users", "/users/{id}", "GET", outcome}
			p.Send("GET", fmt.Sprintf("/users/%d?%s", i, outcome), "")
		case 1:
			k = taken{"orders", "/orders/", "PUT", outcome}
			if orders++; orders > 40 {
				k.outcome = "rate_limited"
			}
			p.Send("PUT", "/orders/7?"+outcome, "order")
		case 2:
			k = taken{"POST /files/{path...}", "/files/{path...}", "POST", outcome}
			p.Send("POST", "/files/a/b?"+outcome, "file")
		case 3:
			k = taken{"", "", "GET", "no_route"}
			if p.Send("GET", "/late/x?ok", ""); i >= n/2 {
				k = taken{"/late/", "/late/", "GET", "ok"}
			}
		case 4:
			k = taken{"", "", "POST", "method_not_allowed"}
			p.Send("POST", "/users/7?ok", "x")
		}
		truth.requests[k]++
	}
	p.WantMetric(n, "pace_requests_total")
	mu.Lock()
	defer mu.Unlock()
	for name, got := range map[string]routed{"metrics": inMetrics(p), "log": inLog(t, p, n), "spans": inSpans(t, receiver, n)} {
		differ(t, name+": requests", got.requests, truth.requests)
		differ(t, name+": attempts", got.attempts, truth.attempts)
	}
	t.Logf("%d requests over %d kinds of routes and outcomes; attempts %v", n, len(truth.requests), truth.attempts)
}

func differ[K comparable](t *testing.T, what string, got, want map[K]int) {
	t.Helper()
	differences := 0
	for k, n := range want {
		if got[k] != n {
			differences++
			t.Errorf("%s of %v: got %d, want %d", what, k, got[k], n)
		}
	}
	for k, n := range got {
		if want[k] == 0 && n != 0 {
			differences++
			t.Errorf("%s of %v: got %d, want none", what, k, n)
		}
	}
	t.Logf("%s: %d differences", what, differences)
}

func inMetrics(p *pacetest.Pace) routed {
	said := routed{map[taken]int{}, map[string]int{}}
	m := p.Metrics()
	counted := map[[3]string]int{}
	for _, s := range m["http_server_request_duration_seconds"].GetMetric() {
		k := taken{pacetest.Label(s, "pace_route"), pacetest.Label(s, "http_route"), pacetest.Label(s, "http_request_method"), pacetest.Label(s, "pace_outcome")}
		said.requests[k] += int(s.GetHistogram().GetSampleCount())
		counted[[3]string{k.name, k.path, k.outcome}] += int(s.GetHistogram().GetSampleCount())
	}
	for _, s := range m["pace_requests_total"].GetMetric() { // the same without the method
		k := [3]string{pacetest.Label(s, "pace_route"), pacetest.Label(s, "http_route"), pacetest.Label(s, "pace_outcome")}
		if n := int(s.GetCounter().GetValue()); n != counted[k] {
			said.requests[taken{k[0], k[1], "pace_requests_total", k[2]}] = n
		}
	}
	for _, s := range m["http_client_request_duration_seconds"].GetMetric() {
		said.attempts[pacetest.Label(s, "pace_upstream")] += int(s.GetHistogram().GetSampleCount())
	}
	return said
}

func inLog(t *testing.T, p *pacetest.Pace, n int) routed {
	said := routed{map[taken]int{}, map[string]int{}}
	pacetest.Eventually(t, func() error {
		if got := len(p.Lines("request")); got != n {
			return fmt.Errorf("%d lines, want %d", got, n)
		}
		return nil
	})
	for _, l := range p.Lines("request") {
		said.requests[taken{l.Text("route_name"), l.Text("route"), l.Text("method"), l.Text("outcome")}]++
		if u := l.Text("upstream"); u != "" {
			said.attempts[u] += l.Int("attempts")
		}
	}
	return said
}

func inSpans(t *testing.T, r *otlp.Recv, n int) routed {
	said := routed{map[taken]int{}, map[string]int{}}
	all := r.Wait(func(spans []otlp.Span) bool {
		servers := 0
		for _, s := range spans {
			if s.Kind == otlp.Server {
				servers++
			}
		}
		return servers >= n
	})
	text := func(v any) string { return strings.TrimPrefix(fmt.Sprint(v), "<nil>") }
	for _, s := range all {
		if s.Kind == otlp.Client {
			upstream, _, _ := strings.Cut(text(s.Attrs["peer.service"]), "/")
			said.attempts[upstream]++
			continue
		}
		k := taken{text(s.Attrs["pace.route"]), text(s.Attrs["http.route"]), text(s.Attrs["http.request.method"]), text(s.Attrs["pace.outcome"])}
		said.requests[k]++
		if want := strings.TrimSpace(k.method + " " + k.path); s.Name != want {
			t.Errorf("a span is named %q, want %q", s.Name, want)
		}
	}
	return said
}
