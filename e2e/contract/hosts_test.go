package contract

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"pace/e2e/pacetest"
)

// ask sends a request by hand, so that its Host may be anything, and returns the response.
func ask(t *testing.T, addr, method, path, host string, fields ...string) pacetest.Response {
	t.Helper()
	w := pacetest.DialWire(t, addr)
	w.Send(fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n%sConnection: close\r\n\r\n", method, path, host, strings.Join(fields, "")))
	return w.Response(method)
}

// TestAdmin_HostIsChecked: no web page can have a browser ask the admin listener by a name of its own.
func TestAdmin_HostIsChecked(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(b))
	named := pacetest.Start(t, set(upstreams(b), "admin", "hosts", []string{"Pace.Internal"}))
	everywhere := pacetest.Start(t, set(set(upstreams(b), "admin", "listen", "0.0.0.0:0"), "admin", "hosts", []string{"pace.internal"}))
	_, port, _ := net.SplitHostPort(everywhere.Admin)
	tests := []struct {
		name string
		at   string
		host string
		want int
	}{
		{"loopback by its address", p.Admin, p.Admin, 200},
		{"loopback by localhost", p.Admin, "localhost:9464", 200},
		{"loopback by IPv6's address", p.Admin, "[::1]:9464", 200},
		{"loopback by no Host", p.Admin, "", 200},
		{"loopback by another site's name", p.Admin, "rebind.example:9464", 403},
		{"loopback by a name that looks like an address", p.Admin, "127.0.0.1.rebind.example", 403},
		{"loopback by another machine's address", p.Admin, "10.0.0.1", 403},
		{"loopback by a name that is not in admin.hosts", p.Admin, "pace.internal", 403},
		{"loopback by a name of admin.hosts", named.Admin, "pace.internal:9464", 200},
		{"all addresses by one of them", "127.0.0.1:" + port, "10.0.0.1:9464", 200},
		{"all addresses by a name of admin.hosts", "127.0.0.1:" + port, "PACE.internal.", 200},
		{"all addresses by another site's name", "127.0.0.1:" + port, "rebind.example", 403},
	}
	for _, tt := range tests {
		for _, path := range words("/metrics /livez /readyz /api/v1/inflight") {
			got := ask(t, tt.at, "GET", path, tt.host)
			if got.Status != tt.want || tt.want == 403 && (!strings.Contains(got.Body, "admin.hosts") || strings.Contains(got.Body, "rebind")) {
				t.Errorf("%s: %s answers %d %.90q, want %d", tt.name, path, got.Status, got.Body, tt.want)
			}
		}
	}
}

// TestMetricsOnProxy_RefusesWhatCameThroughAProxy: whatever mark the proxy leaves.
func TestMetricsOnProxy_RefusesWhatCameThroughAProxy(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(b))
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		for _, name := range words("Via X-Forwarded-For X-Forwarded-Port X-Forwarded-Server X_Forwarded_For Forwarded X-Real-Ip True-Client-Ip X-Client-Ip Cf-Connecting-Ip X-Original-Url X-Rewrite-Url Front-End-Https") {
			if got := pacetest.Do(mode.Client(t), p.Request("GET", "/metrics", "", name, "1.1 x")); got.Status != 404 || strings.Contains(got.Body, "pace_") {
				t.Errorf("with %s: status %d, %d bytes", name, got.Status, len(got.Body))
			}
		}
		wantStatus(t, pacetest.Do(mode.Client(t), p.Request("GET", "/metrics", "")), 200)
	})
}

// TestMetricsOnProxy_AnswersGETAndHEAD only, and hands nothing else to a backend either.
func TestMetricsOnProxy_AnswersGETAndHEAD(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(b))
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		for method, want := range map[string]int{"GET": 200, "HEAD": 200, "POST": 405, "PUT": 405, "DELETE": 405, "OPTIONS": 405, "TRACE": 405, "BREW": 405} {
			got := pacetest.Do(mode.Client(t), p.Request(method, "/metrics", ""))
			if got.Status != want || want == 405 && (got.Header.Get("Allow") != "GET, HEAD" || strings.Contains(got.Body, "pace_")) || method == "HEAD" && got.Body != "" {
				t.Errorf("%s: status %d, Allow %q, %d bytes", method, got.Status, got.Header.Get("Allow"), len(got.Body))
			}
			if got := pacetest.Do(mode.Client(t), p.Request(method, "/metrics", "", "Via", "1.1 x")); got.Status != 404 {
				t.Errorf("%s through a proxy: status %d, want 404", method, got.Status)
			}
		}
	})
	if n := len(b.Requests()); n != 0 {
		t.Errorf("the backend got %d requests", n)
	}
}

// TestMetricsOnProxy_NotAtAll: with metrics.endpoint "" the path is the backend's, its own metrics included.
func TestMetricsOnProxy_NotAtAll(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		x.ReadBody()
		x.Write("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nbackend_up 1")
	})
	p := pacetest.Start(t, set(upstreams(b), "metrics", "endpoint", ""))
	for i, got := range []pacetest.Response{p.Get("/metrics"), p.Get("/metrics", "Via", "1.1 x"), p.Send("POST", "/metrics", "x")} {
		if got.Status != 200 || got.Body != "backend_up 1" || got.Header.Get("X-Backend") != b.Name() {
			t.Errorf("request %d: status %d, body %.80q", i, got.Status, got.Body)
		}
	}
	b.WantGot(3, "/metrics")
	p.WantMetric(3, "http_server_request_duration_seconds_count", "pace_outcome", "ok")
	pacetest.Eventually(t, func() error {
		if n := len(p.Access("/metrics")); n != 3 {
			return notYet("%d access lines, want 3", n)
		}
		return nil
	})
	if got := ask(t, p.Admin, "GET", "/metrics", "localhost"); !strings.Contains(got.Body, "pace_build_info") {
		t.Errorf("the admin listener's /metrics answers %d", got.Status)
	}
}
