package audit

import (
	"testing"

	"pace/e2e/mix"
	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

// The kinds of exchanges in which a client leaves, or a backend does: before anything of the response, with half of
// its header, in a body of each framing, in a small and in a large one, in a stream; by a FIN, an RST, a RST_STREAM, or
// over HTTP/3 a RESET_STREAM or CONNECTION_CLOSE.
var (
	clientsLeave  = []string{"leave", "leavepost", "leaveupload", "abort", "abortlarge", "endless", "socketlost", "eventsleft"}
	backendsLeave = []string{"reset", "close", "halfhead", "resetpost", "once", "oncedelete", "cut", "cutchunk", "cutreset", "cutpost", "cutlarge", "resetlarge", "eventsbroken", "socketbroken"}
)

// TestDepartures has more than a thousand clients leave, and more than a thousand backends, over TLS with HTTP/1.1 and
// with HTTP/2, over HTTP/2 in clear text, also where the backends speak TLS, and over HTTP/3. pace says of each who
// left, as both of them know it.
func TestDepartures(t *testing.T) {
	for _, over := range []struct {
		name   string
		mode   pacetest.Mode
		tls    float64
		sealed float64
	}{
		{"HTTP 1.1 over TLS on both sides", pacetest.H1, 1, 1},
		{"HTTP 2 over TLS", pacetest.H2C, 1, 0},
		{"HTTP 2 in clear text, backends over TLS", pacetest.H2C, 0, 1},
		{"HTTP 3", pacetest.H3, 1, 0},
	} {
		t.Run(over.name, func(t *testing.T) {
			spans := otlp.Receiver(t)
			m := mix.New(t, 15, mix.Options{
				Requests: 15_000, Houses: []string{"main"}, Kinds: append(clientsLeave, backendsLeave...), Mode: over.mode, TLS: over.tls,
				Sealed: over.sealed, Clients: 24, Collector: spans.GRPC,
			})
			m.Play()
			truth := m.Truth()
			for side, kinds := range map[string][]string{"client": clientsLeave, "backend": backendsLeave} {
				if n := m.Played(kinds...); n < 1000 {
					t.Errorf("only %d exchanges are left by the %s", n, side)
				}
			}
			truth.HoldMetrics(mix.FromPages())
			m.End()
			truth.HoldLog()
			truth.HoldSpans(spans.Spans())
			truth.Report()
		})
	}
}
