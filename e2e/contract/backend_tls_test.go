package contract

import (
	"fmt"
	"strings"
	"testing"

	"pace/e2e/pacetest"
)

// trusting is the configuration of a pace with these backends over TLS, whose certificates ca has signed.
func trusting(ca *pacetest.CA, backends ...interface{ Address() string }) pacetest.Config {
	return set(upstreams(backends...), "upstreams.tls", "ca", ca.File())
}

// A request goes to its backend over TLS, which sees it as over HTTP, and that it is asked for its own name. Span,
// line and metric say the same as without TLS, and how long the handshake took.
func TestBackendTLS_Request(t *testing.T) {
	t.Parallel()
	ca := pacetest.NewCA(t)
	b := pacetest.NewTLSBackend(t, ca.Server("127.0.0.1"), pacetest.Fine)
	p, spans := pacetest.StartTraced(t, trusting(ca, b))
	for i := range 3 {
		got := p.Get(fmt.Sprint("/", i))
		wantStatus(t, got, 200)
		if got.Body != "fine" || got.Header.Get("X-Backend") != b.Name() {
			t.Errorf("the client got %q of %q", got.Body, got.Header.Get("X-Backend"))
		}
	}
	for i, r := range b.Requests() {
		if r.Conn != 1 || r.Nth != i+1 || r.TLS.Version == 0 || r.TLS.NegotiatedProtocol != "http/1.1" || r.TLS.ServerName != "" {
			t.Errorf("the backend got request %d on connection %d, with %+v", r.Nth, r.Conn, r.TLS)
		}
	}
	first := pacetest.WantTrace(spans, 1, pacetest.Path("/0"))
	client := first.Clients[0].Attrs
	wantAttr(t, client, "server.address", "127.0.0.1")
	wantAttr(t, client, "server.port", b.Port())
	wantAttr(t, client, "url.full", b.URL()+"/0")
	wantAttr(t, client, "network.protocol.version", "1.1")
	if ms := number(first.Server.Attrs["pace.phase.tls"]); ms <= 0 {
		t.Errorf("pace.phase.tls = %v", ms)
	}
	if line := p.WantAccess("/0"); line["tls_ms"] == nil || line["tls"] != nil {
		t.Errorf("the line says %v", line)
	}
	if line := p.WantAccess("/1"); line["tls_ms"] != nil {
		t.Errorf("the line of a reused connection says %v", line)
	}
	p.WantMetric(3, "pace_requests_total", "pace_outcome", "ok")
	if p.Metrics().Sum("pace_phase_duration_seconds_sum", "phase", "tls") <= 0 {
		t.Error("the phase tls took no time")
	}
}

// A backend whose certificate does not verify gets nothing, and each signal says why.
func TestBackendTLS_WrongCA(t *testing.T) {
	t.Parallel()
	ca, other := pacetest.NewCA(t), pacetest.NewCA(t)
	b := pacetest.NewTLSBackend(t, other.Server("127.0.0.1"), pacetest.Fine)
	p, spans := pacetest.StartTraced(t, trusting(ca, b))
	got := p.Get("/x")
	wantStatus(t, got, 502)
	if status := got.Header.Get("Proxy-Status"); !strings.Contains(status, "error=tls_certificate_error") {
		t.Errorf("Proxy-Status: %s", status)
	}
	if n := len(b.Requests()); n != 0 {
		t.Errorf("the backend got %d requests", n)
	}
	trace := pacetest.WantTrace(spans, 1, pacetest.Path("/x"))
	wantAttr(t, trace.Server.Attrs, "pace.outcome", "tls_failed")
	wantAttr(t, trace.Clients[0].Attrs, "error.type", "tls_failed")
	wantAttr(t, trace.Clients[0].Attrs, "network.peer.port", b.Port())
	p.WantMetric(1, "pace_requests_total", "pace_outcome", "tls_failed", "pace_side", "backend")
	if line := p.WantAccess("/x"); line.Text("error") != "certificate is signed by an unknown authority: test CA" {
		t.Errorf("the line says %v", line)
	}
}
