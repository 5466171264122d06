// Package audit sends a large mix through real paces. It fails for any difference between their telemetry
// and the records of clients, backends and traffic. It also counts what is lost when telemetry fails.
package audit

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"

	"pace/e2e/mix"
	"pace/e2e/otlp"
	"pace/e2e/pacetest"
	"pace/e2e/parts"
)

// raced says that pace runs with the race detector: about ten times slower, with a memory of its own.
var raced = os.Getenv("PACE_AUDIT_RACE") != ""

func TestMain(m *testing.M) {
	pacetest.ServeProcess(mix.Live)
	if raced {
		pacetest.Main(m)
	}
	pacetest.MainPlain(m)
}

var requests = flag.Int("requests", 20_000, "how many requests a mix has, about")

// seeds are those of the mixes; PACE_AUDIT_SEED asks for a single one.
func seeds(t *testing.T) []uint64 {
	asked := os.Getenv("PACE_AUDIT_SEED")
	if asked == "" {
		return []uint64{1, 2, 3}
	}
	seed, err := strconv.ParseUint(asked, 10, 64)
	if err != nil {
		t.Fatalf("PACE_AUDIT_SEED: %v", err)
	}
	return []uint64{seed}
}

// TestAudit wants no difference at all between the truth and what pace says of it.
func TestAudit(t *testing.T) {
	for _, seed := range seeds(t) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { audit(t, seed) })
	}
}

func audit(t *testing.T, seed uint64) {
	spans := otlp.Receiver(t)
	m := mix.New(t, seed, mix.Options{Requests: *requests, Drain: true, TLS: 0.5, Sealed: 0.5, Collector: spans.GRPC})
	prometheus := parts.Prometheus(t, m.Admins()...)
	m.Play()
	drain := m.BeginDrain()

	truth := m.Truth()
	truth.HoldMetrics(mix.FromPrometheus(prometheus)) // while main is still there to be asked
	drain.End(truth)
	truth.HoldLog()
	truth.HoldSpans(spans.Spans())
	truth.Report()
}
