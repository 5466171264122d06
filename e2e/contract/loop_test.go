package contract

import (
	"testing"

	"pace/e2e/pacetest"
)

// TestLoop_Ends: two paces have each other for a backend, which no configuration alone can tell.
func TestLoop_Ends(t *testing.T) {
	t.Parallel()
	a, b := pacetest.NewClosed(t), pacetest.NewClosed(t)
	first := pacetest.Start(t, set(upstreams(b), "server", "listen", a.Address()))
	second := pacetest.Start(t, set(upstreams(a), "server", "listen", b.Address()))
	got := first.Get("/x")
	wantStatus(t, got, 400)
	outcomes := map[string]int{}
	for i, p := range []*pacetest.Pace{first, second} {
		p.WantMetric(9, "http_requests_duration_seconds_count", "status", "400")
		p.Stop() // writes what of the log is not written yet
		for _, line := range p.Access("/x") {
			outcomes[line.Text("outcome")]++
		}
		if warned := len(p.Lines("request loop: a backend routes back to pace")); warned != i {
			t.Errorf("pace %d warns %d times", i, warned)
		}
	}
	if outcomes["bad_request"] != 1 || outcomes["client_error"] != 17 {
		t.Errorf("the request ended as %v; want one bad_request, after 17 hops", outcomes)
	}
}
