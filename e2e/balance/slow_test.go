package balance

import (
	"testing"
	"time"

	"pace/e2e/pacetest"
)

// TestSlow_OneOfTen is 20 times slower than the others. The policies that look at the backends hide it: the 98th
// percentile is at most a fifth of that by round_robin. The simulation of package lb wants that of the 99th, and
// needs no margin, since no other process takes its time. Here, requests that come in bursts make the slow
// backend look less busy than the others for a moment.
func TestSlow_OneOfTen(t *testing.T) {
	const (
		rate   = 1_500
		usual  = 60 * time.Millisecond // so each backend has nine requests in flight
		slower = 20
		learn  = 2 * slower * usual // until the first responses of the slow one are over
		during = 3 * time.Second
	)
	p98 := map[string]time.Duration{}
	for _, policy := range []string{"round_robin", "least_request", "peak_ewma"} {
		t.Run(policy, func(t *testing.T) {
			slow := startBackend(t, slower*usual)
			list := []interface{ Address() string }{slow}
			for range 9 {
				list = append(list, startBackend(t, usual))
			}
			p := pacetest.Start(t, pacetest.Config{"upstreams": pacetest.Upstreams(list...).With("policy", policy)}.WithRoutes(quiet))
			l := startLoad(t, p, rate, 0)
			time.Sleep(learn)
			from := time.Now()
			time.Sleep(during)
			all := l.end()
			if failed := failures(all); len(failed) > 0 {
				t.Errorf("%d of %d requests failed, the first: %v", len(failed), len(all), failed[0])
			}
			measured := between(all, from, from.Add(during))
			p98[policy] = percentile(measured, 0.98)
			t.Logf("of %d requests: p50 %v, p98 %v, p99 %v; the slow backend got %d", len(measured),
				percentile(measured, 0.5), p98[policy], percentile(measured, 0.99), slow.asked(from, from.Add(during)))
		})
	}
	for _, policy := range []string{"least_request", "peak_ewma"} {
		if limit := p98["round_robin"] / 5; p98[policy] > limit {
			t.Errorf("p98 of %s is %v, want at most a fifth of round_robin's %v", policy, p98[policy], p98["round_robin"])
		}
	}
}
