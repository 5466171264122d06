package observability

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"pace/e2e/mix"
	"pace/e2e/parts"
)

var (
	seedFlag = flag.Uint64("seed", 0, "run the mix with this seed only; 0: with three")
	large    = flag.Bool("large", false, "run the mix at 1 % with 20,000 requests and all houses; it takes minutes")
)

func seeds() []uint64 {
	if *seedFlag != 0 {
		return []uint64{*seedFlag}
	}
	return []uint64{1, 2, 3}
}

// TestMix sends exchanges with every outcome through real paces, and compares what Prometheus and Jaeger have
// with the records of clients, backends and traffic. At its end a request is in flight while pace drains.
// pace rejects the requests that arrive then: Prometheus must count them before pace ends, and Jaeger must
// have their traces afterwards.
func TestMix(t *testing.T) {
	o := mix.Options{
		Requests: 1000, Clients: 12, Drain: true, Houses: []string{"main", "strict", "brief", "lone", "half", "dead", "far"},
	}
	for _, seed := range seeds() {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { checkMix(t, seed, o) })
	}
}

// TestMix_AtOnePercent is the same with 1 % of the traces sampled: Jaeger has each one that failed, failed over,
// was retried, rejected or slow, or whose client left, by the trace id of its access line, and no other. Spans, lines,
// counters and the ring give one reason for each, and every exemplar leads to a span.
func TestMix_AtOnePercent(t *testing.T) {
	o := mix.Options{Requests: 500, Clients: 12, Sampled: 0.01, Houses: []string{"main", "strict", "brief", "lone", "half", "dead", "slow"}}
	if *large {
		o = mix.Options{Requests: 20_000, Drain: true, Sampled: 0.01}
	}
	for _, seed := range seeds() {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { checkMix(t, seed, o) })
	}
}

func checkMix(t *testing.T, seed uint64, o mix.Options) {
	jaeger := parts.Jaeger(t)
	began := time.Now()
	o.Collector = jaeger.GRPC
	m := mix.New(t, seed, o)
	prometheus := parts.Prometheus(t, m.Admins()...)
	m.Play()
	end := func(*mix.Truth) { m.End() }
	if o.Drain {
		end = m.BeginDrain().End
	}
	truth := m.Truth()
	truth.HoldMetrics(mix.FromPrometheus(prometheus))
	truth.HoldRing()
	exemplars := truth.Exemplars()
	end(truth)
	truth.HoldLog()
	spans := truth.FromJaeger(jaeger, began)
	truth.HoldSpans(spans)
	truth.HoldExemplars(exemplars, spans)
	truth.HoldTraces(jaeger)
	truth.Report()
}
