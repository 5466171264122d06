package contract

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

var phases = words("read_request limit pick dns connect tls send wait receive deliver")

// TestPhases_ADelayShowsInItsPhaseAndInNoOther injects one delay at a time, outside of pace.
func TestPhases_ADelayShowsInItsPhaseAndInNoOther(t *testing.T) {
	t.Parallel()
	const delay = 3 * time.Second // a busy machine may need one for a large body
	tests := map[string]struct {
		behaviour pacetest.Behaviour
		act       func(t *testing.T, p *pacetest.Pace)
	}{
		"wait": {pacetest.Later(delay, pacetest.Fine), func(t *testing.T, p *pacetest.Pace) { wantStatus(t, p.Get("/x"), 200) }},
		"receive": {func(x *pacetest.Exchange) {
			x.ReadBody()
			x.Write("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nslow")
			time.Sleep(delay)
			x.Write("body")
		}, func(t *testing.T, p *pacetest.Pace) { wantStatus(t, p.Get("/x"), 200) }},
		"read_request": {pacetest.Fine, func(t *testing.T, p *pacetest.Pace) {
			w := p.Wire()
			w.Send("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nslow")
			time.Sleep(delay)
			w.Send("body")
			wantStatus(t, w.Response("POST"), 200)
		}},
		"deliver": {pacetest.Status(200, strings.Repeat("x", 16<<20)), func(t *testing.T, p *pacetest.Pace) {
			w := p.Wire()
			w.SetReadBuffer(64 << 10)
			w.Send("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
			resp := w.Head("GET")
			io.CopyN(io.Discard, resp.Body, 1<<20)
			time.Sleep(delay)
			if n, err := io.Copy(io.Discard, resp.Body); n != 15<<20 || err != nil {
				t.Errorf("%d bytes came after the pause, %v", n, err)
			}
		}},
	}
	for phase, tt := range tests {
		t.Run(phase, func(t *testing.T) {
			t.Parallel()
			p, spans := pacetest.StartTraced(t, upstreams(pacetest.NewBackend(t, tt.behaviour)))
			tt.act(t, p)
			wantDelayIn(t, p, spans, phase, delay)
		})
	}
}

// wantDelayIn fails t unless every signal of the only request, for /x, shows this delay in the
// phase and in no other.
func wantDelayIn(t *testing.T, p *pacetest.Pace, spans *otlp.Recv, phase string, delay time.Duration) {
	t.Helper()
	server := pacetest.WantTrace(spans, 1, pacetest.Path("/x")).Server
	line := p.WantAccess("/x")
	p.WantMetric(1, "pace_overhead_seconds_count")
	m := p.Metrics()
	own, sum := m.Sum("pace_overhead_seconds_sum"), 0.0
	for _, other := range append([]string{"own"}, phases...) {
		span := number(server.Attrs["pace.phase."+other])
		logged, _ := line[other+"_ms"].(float64)
		metric := 1000 * m.Sum("pace_phase_duration_seconds_sum", "phase", other)
		if other == "own" {
			metric = 1000 * own
		}
		sum += span
		for signal, ms := range map[string]float64{"span": span, "log": logged, "metric": metric} {
			if long := ms >= 0.9*float64(delay.Milliseconds()); long != (other == phase) {
				t.Errorf("%s: %s = %v ms with a delay of %v in %s", signal, other, ms, delay, phase)
			}
		}
	}
	whole := float64(server.End.Sub(server.Start).Microseconds()) / 1000
	if sum < whole-5 || sum > whole+5 {
		t.Errorf("the phases and pace's own time make %v ms, the span %v ms", sum, whole)
	}
	if own <= 0 {
		t.Errorf("pace_overhead_seconds_sum = %v", own)
	}
}

func TestServerTiming_IsForThoseAllowed(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Later(30*time.Millisecond, pacetest.Fine))
	for name, tt := range map[string]struct {
		allow []string
		want  bool
	}{"allowed": {[]string{"127.0.0.0/8"}, true}, "not allowed": {[]string{"198.51.100.0/24"}, false}, "by default": {[]string{}, false}} {
		p := pacetest.Start(t, set(upstreams(b), "server_timing", "allow", tt.allow))
		got := p.Get("/x")
		wantStatus(t, got, 200)
		timing := got.Header.Get("Server-Timing")
		if strings.Contains(timing, "wait;dur=") != tt.want || !tt.want && timing != "" {
			t.Errorf("%s: Server-Timing = %q", name, timing)
		}
	}
}

// TestInFlight_ShowsWhatRunsOldestFirst also covers log.slow_after.
func TestInFlight_ShowsWhatRunsOldestFirst(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	b := pacetest.NewBackend(t, pacetest.Gated(open, pacetest.Fine))
	p := pacetest.Start(t, set(upstreams(b), "log", "slow_after", "200ms"))
	c := pacetest.H1.Client(t)
	responses := make(chan pacetest.Response, 2)
	for _, path := range []string{"/first", "/second"} {
		go func() { responses <- pacetest.Do(c, p.Request("GET", path, "")) }()
		b.WantGot(1, path)
	}
	var running []map[string]any
	pacetest.Eventually(t, func() error { // a backend has its request a moment before pace begins to wait
		running = inFlight(t, p)
		if slices.ContainsFunc(running, func(x map[string]any) bool { return x["phase"] == "send" }) {
			return notYet("in flight: %v", running)
		}
		return nil
	})
	if len(running) != 2 || running[0]["path"] != "/first" || running[1]["path"] != "/second" ||
		running[0]["phase"] != "wait" || running[0]["backend"] != b.Address() || running[0]["age_ms"].(float64) <= running[1]["age_ms"].(float64) {
		t.Errorf("in flight: %v", running)
	}
	pacetest.Eventually(t, func() error { // before it ends
		if n := strings.Count(p.Stderr(), `"path":"/first"`); n != 1 {
			return fmt.Errorf("%d lines name the slow request, want 1", n)
		}
		slow := regexp.MustCompile(`"level":"WARN","msg":"still running",.*"path":"/first",.*"phase":"wait",.*"backend":"` + b.Address())
		if !slow.MatchString(p.Stderr()) {
			return fmt.Errorf("no line matches %v: %s", slow, p.Stderr())
		}
		return nil
	})
	close(open)
	for range 2 {
		wantStatus(t, <-responses, 200)
	}
	pacetest.Eventually(t, func() error {
		if left := inFlight(t, p); len(left) > 0 {
			return fmt.Errorf("still in flight: %v", left)
		}
		return nil
	})
	p.WantAccess("/first")
}

func inFlight(t *testing.T, p *pacetest.Pace) []map[string]any {
	t.Helper()
	got := getURL(t, "http://"+p.Admin+"/api/v1/inflight")
	wantStatus(t, got, 200)
	var list struct {
		InFlight []map[string]any `json:"inflight"`
	}
	if err := json.Unmarshal([]byte(got.Body), &list); err != nil || !strings.HasPrefix(got.Header.Get("Content-Type"), "application/json") {
		t.Fatalf("%s %q: %v", got.Header.Get("Content-Type"), got.Body, err)
	}
	return list.InFlight
}
