package contract

import (
	"testing"

	"pace/e2e/mix"
	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

// TestMix is issue 4's: every request is in both histograms, the log and the spans exactly once, with
// the status and outcome that client and backends know it to have had.
func TestMix(t *testing.T) {
	t.Parallel()
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) { holdMix(t, mix.Options{Mode: mode}) })
}

// The same holds for clients that speak TLS.
func TestMix_OverTLS(t *testing.T) {
	t.Parallel()
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) { holdMix(t, mix.Options{Mode: mode, TLS: 1}) })
}

func holdMix(t *testing.T, o mix.Options) {
	spans := otlp.Receiver(t)
	o.Requests, o.Houses, o.Clients, o.Collector = 540, []string{"main"}, 8, spans.GRPC
	m := mix.New(t, 4, o)
	m.Play()
	truth := m.Truth()
	truth.HoldMetrics(mix.FromPages())
	m.End()
	truth.HoldLog()
	truth.HoldSpans(spans.Spans())
	truth.Report()
}
