package observability

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"pace/e2e/mix"
	"pace/e2e/parts"
)

var seedFlag = flag.Uint64("seed", 0, "run the mix with this seed only; 0: with three")

// TestMix sends exchanges with every outcome through real paces, and compares what Prometheus and Jaeger have
// with the records of clients, backends and traffic. At its end a request is in flight while pace drains.
// pace rejects the requests that arrive then: Prometheus must count them before pace ends, and Jaeger must
// have their traces afterwards.
func TestMix(t *testing.T) {
	seeds := []uint64{1, 2, 3}
	if *seedFlag != 0 {
		seeds = []uint64{*seedFlag}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { checkMix(t, seed) })
	}
}

// TestMix_AtOnePercent is the same with 1 % of the traces sampled: Jaeger has each one that failed, failed over,
// was retried or rejected, or whose client left, and no other; spans, lines and counters give one reason for each.
func TestMix_AtOnePercent(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprintf("seed=%d", seed+1), func(t *testing.T) {
			checkMixOf(t, seed+1, mix.Options{Requests: 500, Clients: 12, Sampled: 0.01, Houses: []string{"main", "strict", "brief", "lone"}})
		})
	}
}

func checkMix(t *testing.T, seed uint64) {
	checkMixOf(t, seed, mix.Options{
		Requests: 1000, Clients: 12, Drain: true, Houses: []string{"main", "strict", "brief", "lone", "half", "dead", "far"},
	})
}

func checkMixOf(t *testing.T, seed uint64, o mix.Options) {
	jaeger := parts.Jaeger(t)
	began := time.Now()
	o.Collector = jaeger.GRPC
	m := mix.New(t, seed, o)
	prometheus := parts.Prometheus(t, m.Admins()...)
	m.Play()
	if !o.Drain {
		truth := m.Truth()
		truth.HoldMetrics(mix.FromPrometheus(prometheus))
		m.End()
		truth.HoldLog()
		truth.HoldSpans(truth.FromJaeger(jaeger, began))
		truth.Report()
		return
	}
	drain := m.BeginDrain()

	truth := m.Truth()
	truth.HoldMetrics(mix.FromPrometheus(prometheus))
	drain.End(truth)
	truth.HoldLog()
	truth.HoldSpans(truth.FromJaeger(jaeger, began))
	truth.Report()
}
