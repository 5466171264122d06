// Package audit sends a great mix of requests of known fate through real paces, and holds the log,
// the spans and the metrics to what clients, backends and the wire wrote down, request by request.
// It knows nothing of pace but its configuration and docs/interface.md; no output of pace is proof
// of another.
package audit

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"

	"pace/e2e/pacetest"
	"pace/e2e/parts"
)

// raced says that pace runs with the race detector: about ten times slower, with a memory of its own.
var raced = os.Getenv("PACE_AUDIT_RACE") != ""

func TestMain(m *testing.M) {
	pacetest.ServeProcess(live)
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
	tw := newTown(t, seed)
	tw.write(*requests)
	prometheus := parts.Prometheus(t, tw.admins()...)
	tw.play()
	d := tw.beginDrain()

	b := newBooks(tw)
	b.againstPrometheus(prometheus) // while main is still there to be asked
	d.end()
	b.client(tw.held)
	// What pace has not said when it has ended, it never will.
	b.againstLog()
	b.againstSpans()
	b.conclude()
}
