package contract

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"pace/e2e/pacetest"
)

func TestMetricsOnProxy_AnswersLoopbackWithoutForwardingHeader(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(b))
	wantStatus(t, p.Get("/x"), 200)
	got := p.Get("/metrics")
	wantStatus(t, got, 200)
	if m, err := pacetest.ParseMetrics(got.Body); err != nil || m.Sum("http_requests_duration_seconds_count") != 1 {
		t.Errorf("the proxy's /metrics has not the one request (%v):\n%s", err, got.Body)
	}
	for _, header := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "X-Real-IP"} {
		if got := p.Get("/metrics", header, "127.0.0.1"); got.Status != 404 || strings.Contains(got.Body, "http_requests") {
			t.Errorf("with %s: status %d, %d bytes; want 404", header, got.Status, len(got.Body))
		}
	}
}

func TestMetricsOnProxy_IsInNoSignalAndUnderNoLimit(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	cfg := upstreams(b)
	cfg["rate_limit"] = pacetest.Table{"max_requests": 1}
	p, spans := pacetest.StartTraced(t, cfg)
	for range 5 {
		wantStatus(t, p.Get("/metrics"), 200)
		wantStatus(t, p.Get("/metrics", "X-Forwarded-For", "10.0.0.1"), 404)
	}
	wantStatus(t, p.Get("/x"), 200) // the limit's one place is still free
	pacetest.WantTrace(spans, 1, pacetest.Path("/x"))
	p.WantAccess("/x")
	p.WantMetric(1, "http_requests_duration_seconds_count")
	p.WantMetric(1, "http_server_request_duration_seconds_count")
	p.WantMetric(0, "pace_rejections_total")
	if got := len(p.Access("/metrics")); got != 0 {
		t.Errorf("%d access lines for /metrics", got)
	}
	for _, s := range spans.Spans() {
		if s.Attrs["url.path"] == "/metrics" {
			t.Errorf("a span for /metrics: %+v", s)
		}
	}
	if got := b.Requests(); len(got) != 1 {
		t.Errorf("the backend got %d requests, want the one for /x", len(got))
	}
}

func TestMetricsOnProxy_AllowedPeers(t *testing.T) {
	t.Parallel()
	own := outerAddress(t)
	for name, allow := range map[string][]string{"allowed": {own + "/32"}, "not allowed": {"198.51.100.0/24"}} {
		b := pacetest.NewBackend(t, pacetest.Fine)
		cfg := set(upstreams(b), "metrics", "allow", allow)
		p := pacetest.Start(t, set(cfg, "server", "listen", own+":0"))
		want := map[string]int{"allowed": 200, "not allowed": 404}[name]
		if got := p.Get("/metrics"); got.Status != want {
			t.Errorf("%s: status %d, want %d", name, got.Status, want)
		}
		if n := len(b.Requests()); n != 0 {
			t.Errorf("%s: the backend got %d requests", name, n)
		}
	}
}

// outerAddress returns an IPv4 address of this machine that is not loopback. What is sent
// to it comes from it, and leaves the machine nowhere.
func outerAddress(t *testing.T) string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err == nil && prefix.Addr().Is4() && !prefix.Addr().IsLoopback() {
			return prefix.Addr().String()
		}
	}
	t.Skip("this machine has no address but loopback, which is always answered")
	return ""
}

func TestMetricsOnProxy_EndpointAndSwitch(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, set(upstreams(b), "metrics", "endpoint", "/-/numbers"))
	if got := p.Get("/-/numbers"); got.Status != 200 || !strings.Contains(got.Body, "pace_build_info") {
		t.Errorf("the endpoint answers %d, %d bytes", got.Status, len(got.Body))
	}
	wantStatus(t, p.Get("/metrics"), 200)
	b.WantGot(1, "/metrics") // an ordinary path now

	off := pacetest.Start(t, set(upstreams(b), "metrics", "enabled", false))
	wantStatus(t, off.Get("/metrics"), 404) // for nobody, and never proxied
	wantStatus(t, off.Get("/x"), 200)
	off.WantAccess("/x")
	if n := len(off.Access("/metrics")); n > 0 || len(b.Got("/metrics")) != 1 {
		t.Errorf("switched off, /metrics has %d access lines and reached the backend %d times", n, len(b.Got("/metrics"))-1)
	}
}

func TestAdmin_Paths(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	tests := map[string]struct {
		pprof bool
		path  string
		want  int
		says  string
	}{
		"metrics":                 {false, "/metrics", 200, "pace_build_info"},
		"alive":                   {false, "/livez", 200, ""},
		"ready":                   {false, "/readyz", 200, ""},
		"profiles are off":        {false, "/debug/pprof/", 404, ""},
		"one profile is off":      {false, "/debug/pprof/heap", 404, ""},
		"profiles switched on":    {true, "/debug/pprof/", 200, "goroutine"},
		"a profile switched on":   {true, "/debug/pprof/heap?debug=1", 200, "heap profile"},
		"nothing else is proxied": {false, "/nothing", 404, ""},
	}
	cfg := upstreams(b)
	p := pacetest.Start(t, cfg)
	profiled := pacetest.Start(t, set(upstreams(b), "admin", "pprof", true))
	for name, tt := range tests {
		admin := p
		if tt.pprof {
			admin = profiled
		}
		got := getURL(t, "http://"+admin.Admin+tt.path)
		if got.Status != tt.want || !strings.Contains(got.Body, tt.says) {
			t.Errorf("%s: %s answers %d %.80q, want %d and %q", name, tt.path, got.Status, got.Body, tt.want, tt.says)
		}
		if tt.path == "/livez" || tt.path == "/readyz" {
			if kind := got.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/plain") {
				t.Errorf("%s is %q, want text", tt.path, kind)
			}
		}
	}
	p.WantMetric(0, "http_server_request_duration_seconds_count")
}

func TestAdmin_SwitchedOff(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, set(upstreams(b), "admin", "listen", ""))
	if p.Admin != "" {
		t.Errorf("admin listens on %s", p.Admin)
	}
	wantStatus(t, p.Get("/x"), 200)
	if got := p.Get("/metrics"); !strings.Contains(got.Body, "pace_build_info") {
		t.Errorf("without admin the proxy's own /metrics answers %d", got.Status)
	}
}

func getURL(t *testing.T, url string) pacetest.Response {
	t.Helper()
	c := pacetest.H1.Client(t)
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	return pacetest.Read(resp)
}
