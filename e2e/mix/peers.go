package mix

import (
	"testing"
	"time"

	"pace/e2e/pacetest"
)

// Result is what client and backends say of one exchange.
type Result struct {
	Path, Outcome string
	Got           pacetest.Response
	Attempts      int // that a backend got
}

// Other makes a mix for another proxy, which has no need of pace's settings, in front of one backend.
// start starts the proxy, and returns the host:port that it listens on.
func Other(t testing.TB, seed uint64, n int, start func(backend string) string) *Mix {
	mx := bare(t, seed)
	proxy := start(mx.Backend(nil).Address())
	for i := range kinds {
		if k := &kinds[i]; k.peers {
			for range n * k.share / 1000 {
				x := mx.exchange(k)
				x.proxy, x.mode, x.patience = proxy, pacetest.H1, 3*time.Second
				mx.script = append(mx.script, x)
			}
		}
	}
	return mx
}

// Results are those of the script, when it has been played.
func (mx *Mix) Results() (all []Result) {
	for _, x := range mx.script {
		outcome, _ := x.ends()
		x.mu.Lock()
		all = append(all, Result{x.path, outcome, x.got, len(x.attempts)})
		x.mu.Unlock()
	}
	return all
}
