//go:build linux

package contract

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"pace/e2e/pacetest"
)

// TestPhases_ANameIsResolvedInDNS has its own name server: pace sees another /etc/resolv.conf than the
// machine.
func TestPhases_ANameIsResolvedInDNS(t *testing.T) {
	t.Parallel()
	const delay = 2 * time.Second
	b := pacetest.NewBackend(t, pacetest.Fine)
	_, port, _ := net.SplitHostPort(b.Address())
	cfg := pacetest.Config{
		"upstreams":     pacetest.Table{"backends": []string{"http://backend.test:" + port}, "connect_timeout": "10s"},
		"server_timing": pacetest.Table{"allow": []string{"127.0.0.0/8"}},
	}
	pacetest.Binary(t) // built where the machine's names are known
	resolveBy(t, newNameServer(t, delay, "127.0.0.1").host)
	p, spans := pacetest.StartTraced(t, cfg, "GODEBUG=netdns=go")

	response := make(chan pacetest.Response, 1)
	go func() { response <- p.Get("/x") }()
	pacetest.Eventually(t, func() error {
		if list := inFlight(t, p); len(list) != 1 || list[0]["phase"] != "dns" {
			return fmt.Errorf("in flight: %v", list)
		}
		return nil
	})
	got := <-response
	wantStatus(t, got, 200)
	if timing := got.Header.Get("Server-Timing"); !strings.Contains(timing, "dns;dur=") || !strings.Contains(timing, "connect;dur=") {
		t.Errorf("Server-Timing = %q", timing)
	}
	wantDelayIn(t, p, spans, "dns", delay)

	wantStatus(t, p.Get("/again"), 200) // on the same connection, which has a name no more
	if line := p.WantAccess("/again"); line["dns_ms"] != nil || line["connect_ms"] != nil {
		t.Errorf("a pooled connection was resolved for: %v", line)
	}
}
