package balance

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pace/e2e/pacetest"
)

const token = "0123456789abcdef0123"

// rate is that of the tests that have faults. A machine of two cores with nothing else to do bears much more.
var rate = flag.Int("rate", 500, "requests a second")

// What else the load is, and what pace is told to do about faults.
const (
	posts      = 20 // one of so many is a POST
	budget     = 0.2
	perRequest = 500 * time.Millisecond // response_timeout
	everyCheck = 500 * time.Millisecond
)

// balanced is the configuration of an upstream whose failures are retried, within the budget.
func balanced(t *testing.T, list []interface{ Address() string }) pacetest.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	return pacetest.Config{
		"admin":                     {"token_file": file, "pprof": true},
		"upstream.default":          pacetest.Upstreams(list...).With("max_retries", 2),
		"upstream.default.ejection": {"base": "1s", "max": "2s", "max_share": 0.7},
		"upstream.default.retry": {
			"on":     []string{"connect_failed", "connect_timeout", "upstream_reset", "upstream_timeout", "upstream_invalid", "503"},
			"budget": budget,
		},
	}.WithRoutes(quiet)
}

// checked adds checks to it.
func checked(cfg pacetest.Config) pacetest.Config {
	cfg["upstream.default.health"] = pacetest.Table{"path": checkPath, "interval": everyCheck.String(), "timeout": "1s", "fall": 3, "rise": 1}
	return cfg
}

// TestFaults_UnderLoad has three backends. One is killed and restarted five times. Then another one hangs, responds
// 503, and is drained. No client notices, but those whose request must not be sent twice.
func TestFaults_UnderLoad(t *testing.T) {
	killed, faulty := pacetest.StartProcess(t), startBackend(t, 0)
	list := []interface{ Address() string }{killed, faulty, startBackend(t, 0)}
	cfg := checked(balanced(t, list))
	cfg["upstream.default"]["response_timeout"] = perRequest.String()
	p := pacetest.Start(t, cfg)
	l, account := startLoad(t, p, *rate, posts), keepAccount(t, p)
	time.Sleep(2 * time.Second)

	for range 5 {
		killed.Kill()
		time.Sleep(time.Second)
		awaitState(t, p, killed.Address(), "ejected", "unhealthy")
		killed.Restart()
		awaitState(t, p, killed.Address(), "healthy")
	}

	for _, fault := range []struct {
		name string
		mode int32
	}{{"hangs", hangs}, {"responds 503", busy}} {
		from := time.Now()
		faulty.mode.Store(fault.mode)
		time.Sleep(10 * time.Second)
		to := time.Now()
		faulty.mode.Store(fine)
		asked, late := faulty.asked(from, to), faulty.asked(from.Add(time.Second), to)
		if late > 0 || asked == 0 {
			t.Errorf("a backend that %s got %d requests, %d of them after a second", fault.name, asked, late)
		}
		awaitState(t, p, faulty.Address(), "healthy")
	}

	operate(t, p, faulty.Address(), "drain")
	from := time.Now().Add(50 * time.Millisecond) // for what was picked before
	time.Sleep(time.Second)
	if n := faulty.asked(from, time.Now()); n > 0 {
		t.Errorf("a drained backend got %d requests", n)
	}
	operate(t, p, faulty.Address(), "undrain")
	awaitAsked(t, faulty)

	all := l.end()
	account.end()
	logStates(t, p)
	wantNoneNoticed(t, p, all)
	account.wantWithinBudget(all)
	got := len(killed.Served())
	for _, b := range list[1:] {
		got += len(b.(*backend).arrivals)
	}
	if limit := float64(len(all))*(1+budget) + 30; float64(got) > limit {
		t.Errorf("the backends got %d requests for %d of the clients", got, len(all))
	}
	t.Logf("%d requests, %d extra attempts, p50 %v, p99 %v, longest %v", len(all), got-len(all), percentile(all, 0.5), percentile(all, 0.99), percentile(all, 1))
	wantRate(t, all)
}

// wantNoneNoticed wants no request to fail but for those that must not be sent twice: each of them had one
// attempt, and its access line says how that ended.
func wantNoneNoticed(t *testing.T, p *pacetest.Pace, all []result) {
	t.Helper()
	lines := map[string]pacetest.Line{}
	for _, line := range p.Lines("request") {
		lines[line.Text("path")] = line
	}
	unsafe := map[string]int{}
	for _, r := range failures(all) {
		line := lines[r.path]
		outcome := line.Text("outcome")
		if r.method != "POST" || line.Int("attempts") != 1 || !slices.Contains(ofBackend, outcome) {
			t.Errorf("%v; its access line: %v", r, line)
			continue
		}
		unsafe[outcome]++
	}
	t.Logf("requests that were not safe to repeat and failed: %v", unsafe)
}

// ofBackend are the outcomes of a backend that failed while it had the request.
var ofBackend = []string{"upstream_reset", "upstream_timeout", "upstream_error", "upstream_truncated"}

// wantRate wants the clients to have kept their rate.
func wantRate(t *testing.T, all []result) {
	t.Helper()
	began := slices.MinFunc(all, func(a, b result) int { return a.began.Compare(b.began) }).began
	ended := slices.MaxFunc(all, func(a, b result) int { return a.began.Compare(b.began) }).began
	if got := float64(len(all)) / ended.Sub(began).Seconds(); got < 0.98*float64(*rate) {
		t.Errorf("%.0f requests a second were sent, want %d", got, *rate)
	}
}

// extra returns how many attempts were made beyond one for each request.
func extra(m pacetest.Metrics) float64 {
	return m.Sum("pace_failovers_total") + m.Sum("pace_retries_total")
}

// operate has an operator's call made.
func operate(t *testing.T, p *pacetest.Pace, address, verb string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", fmt.Sprintf("http://%s/api/v1/upstreams/default/backends/%s/%s", p.Admin, address, verb), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 {
		t.Fatalf("%s: %s: %s", verb, resp.Status, body)
	}
}

// awaitState waits until a backend is in one of these states.
func awaitState(t *testing.T, p *pacetest.Pace, address string, states ...string) {
	t.Helper()
	pacetest.Eventually(t, func() error {
		state := stateOf(t, p, address)
		if !slices.Contains(states, state) {
			return fmt.Errorf("%s is %s, want %s", address, state, strings.Join(states, " or "))
		}
		return nil
	})
}

// awaitAsked waits until a backend gets a request.
func awaitAsked(t *testing.T, b *backend) {
	t.Helper()
	from := time.Now()
	pacetest.Eventually(t, func() error {
		if b.asked(from, time.Now()) == 0 {
			return fmt.Errorf("%s gets no requests", b.Address())
		}
		return nil
	})
}

// logStates logs what pace logged of the states of its backends.
func logStates(t *testing.T, p *pacetest.Pace) {
	t.Helper()
	for _, line := range p.Lines("backend state") {
		t.Logf("%s %s: %s, was %s, by %s: %s", line.Text("time"), line.Text("backend"), line.Text("to"), line.Text("from"), line.Text("by"), line.Text("reason"))
	}
}
