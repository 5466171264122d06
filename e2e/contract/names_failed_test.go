package contract

import (
	"testing"

	"pace/e2e/pacetest"
)

// named is a backend by a name of its own.
type named string

func (n named) Address() string { return string(n) }

// noSuchName cannot resolve (RFC 6761 §6.4).
const noSuchName = named("backend.invalid:80")

// TestDNSFailed_IsNoConnectFailed: a name that does not resolve has its own word in each signal.
func TestDNSFailed_IsNoConnectFailed(t *testing.T) {
	t.Parallel()
	p, spans := pacetest.StartTraced(t, upstreams(noSuchName))
	got := p.Get("/x")
	wantStatus(t, got, 502)
	if err := has(got.Header.Get("Proxy-Status"), "error=dns_error"); err != nil {
		t.Error(err)
	}
	trace := pacetest.WantTrace(spans, 1, pacetest.Path("/x"))
	wantAttr(t, trace.Server.Attrs, "pace.outcome", "dns_failed")
	wantAttr(t, trace.Clients[0].Attrs, "error.type", "dns_failed")
	p.WantMetric(1, "http_server_request_duration_seconds_count", "pace_outcome", "dns_failed")
	p.WantMetric(1, "http_client_request_duration_seconds_count", "error_type", "dns_failed")
	if line := p.WantAccess("/x"); line.Text("outcome") != "dns_failed" || line.Text("level") != "ERROR" {
		t.Errorf("log says %v", line)
	}
}

// TestDNSFailed_AnotherBackendIsTried as after connect_failed.
func TestDNSFailed_AnotherBackendIsTried(t *testing.T) {
	t.Parallel()
	fine := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(noSuchName, fine))
	for range 4 {
		wantStatus(t, p.Send("POST", "/x", "data"), 200)
	}
	if n := p.Metrics().Sum("pace_failovers_total", "reason", "dns_failed"); n == 0 || n != p.Metrics().Sum("pace_failovers_total") {
		t.Errorf("%v failovers of reason dns_failed of %v", n, p.Metrics().Sum("pace_failovers_total"))
	}
}
