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
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		spans := otlp.Receiver(t)
		m := mix.New(t, 4, mix.Options{Requests: 540, Houses: []string{"main"}, Mode: mode, Clients: 8, Collector: spans.GRPC})
		m.Play()
		truth := m.Truth()
		truth.HoldMetrics(mix.FromPages())
		m.End()
		truth.HoldLog()
		truth.HoldSpans(spans.Spans())
		truth.Report()
	})
}
