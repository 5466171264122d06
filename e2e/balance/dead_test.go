package balance

import (
	"io"
	"net/http"
	"testing"
	"time"

	"pace/e2e/pacetest"
)

// TestDead_AllBackends refuse connections under load, for six seconds. Clients get their responses at once, pace
// holds no more memory than before, and extra attempts stay within the budget. When the backends return, they are
// asked again within an interval of the checks, or after the next trial.
func TestDead_AllBackends(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config func(pacetest.Config) pacetest.Config
		within time.Duration // they are asked again
	}{
		{"with checks", checked, everyCheck},
		{"without checks", func(cfg pacetest.Config) pacetest.Config { return cfg }, 2 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			backends := []*backend{startBackend(t, 0), startBackend(t, 0), startBackend(t, 0)}
			p := pacetest.Start(t, tt.config(balanced(t, []interface{ Address() string }{backends[0], backends[1], backends[2]})))
			l, account := startLoad(t, p, *rate, 0), keepAccount(t, p)
			time.Sleep(2 * time.Second)
			for _, b := range backends {
				b.die()
			}
			died := time.Now()
			time.Sleep(2 * time.Second)
			before := inUse(t, p)
			time.Sleep(4 * time.Second)
			grown := inUse(t, p) - before
			account.end()
			revived := time.Now()
			for _, b := range backends {
				b.revive()
			}
			time.Sleep(tt.within + time.Second)
			for _, b := range backends {
				awaitState(t, p, b.Address(), "healthy")
			}
			all := l.end()
			account.wantWithinBudget(all)

			dead := between(all, died.Add(perRequest), revived)
			for _, r := range failures(dead) { // the last ones may have been served after all
				if r.status != http.StatusBadGateway && r.status != http.StatusServiceUnavailable {
					t.Fatalf("while all are dead: %v", r)
				}
			}
			if p50 := percentile(dead, 0.5); p50 > perRequest/2 { // others use the machine, too; nothing waits here
				t.Errorf("while all are dead, p50 is %v", p50)
			}
			if grown > 8<<20 {
				t.Errorf("the memory in use has grown by %.1f MiB", grown/(1<<20))
			}
			if late := failures(between(all, revived.Add(tt.within), time.Now())); len(late) > 0 {
				t.Errorf("%d requests failed that began %v after the return, or later: %v", len(late), tt.within, late[0])
			}
			t.Logf("%d requests, %d of them while all were dead: p50 %v, p99 %v, longest %v; the memory in use has grown by %.1f MiB",
				len(all), len(dead), percentile(dead, 0.5), percentile(dead, 0.99), percentile(dead, 1), grown/(1<<20))
			wantRate(t, all)
		})
	}
}

// inUse returns the bytes of memory that pace has in use after a garbage collection.
func inUse(t *testing.T, p *pacetest.Pace) float64 {
	t.Helper()
	resp, err := http.Get("http://" + p.Admin + "/debug/pprof/heap?gc=1")
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return p.Metrics().Sum("go_memstats_heap_alloc_bytes")
}
