package grpc

import (
	"fmt"
	"testing"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"pace/e2e/pacetest"
)

// TestChecks_OverTLS: a check of type grpc speaks HTTP/2 to backends over TLS, too, whatever they choose for requests.
// A backend that says that it does not serve is picked no more. One whose certificate does not verify never passes.
func TestChecks_OverTLS(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		scheme  string
		trusted bool
	}{{"h2", true}, {"https", true}, {"h2c", true}, {"h2", false}} {
		t.Run(fmt.Sprintf("%s, trusted: %t", tt.scheme, tt.trusted), func(t *testing.T) {
			t.Parallel()
			ca := pacetest.NewCA(t)
			certificate := ca.Issue("backend.test")
			over := &certificate
			if tt.scheme == "h2c" {
				over = nil
			}
			s := newServer(t, "127.0.0.1:0", over)
			pool := pacetest.Table{"backends": []string{tt.scheme + "://" + s.address}, "health": pacetest.Table{"type": "grpc", "interval": "100ms"}}
			if over != nil {
				if !tt.trusted {
					ca = pacetest.NewCA(t)
				}
				pool = pool.With("tls", pacetest.Table{"ca": ca.File(), "server_name": "backend.test"})
			}
			p := pacetest.Start(t, pacetest.Config{"upstreams": pool})
			if !tt.trusted {
				p.WantMetric(1, "pace_backend_transitions_total", "to", "unhealthy")
				p.WantMetric(0, "pace_health_checks_total", "result", "passed")
				return
			}
			wantSome(t, p, "passed")
			p.WantMetric(0, "pace_health_checks_total", "result", "failed")
			s.health.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
			p.WantMetric(1, "pace_backend_transitions_total", "to", "unhealthy")
		})
	}
}

func wantSome(t *testing.T, p *pacetest.Pace, result string) {
	t.Helper()
	pacetest.Eventually(t, func() error {
		if n := p.Metrics().Sum("pace_health_checks_total", "result", result); n < 1 {
			return fmt.Errorf("%v checks have %s", n, result)
		}
		return nil
	})
}
