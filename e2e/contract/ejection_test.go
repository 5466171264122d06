package contract

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

// long is a time after which no test runs any more.
const long = "1h"

// ejecting is the configuration of an upstream that ejects a backend after three failures in a row, with more keys of
// [upstreams.ejection] in pairs.
func ejecting(backends []*pacetest.Backend, pairs ...any) pacetest.Config {
	cfg := balanced("round_robin", backends)
	table := pacetest.Table{"consecutive_failures": 3, "base": long, "max": long}
	for i := 0; i < len(pairs); i += 2 {
		table[pairs[i].(string)] = pairs[i+1]
	}
	cfg["upstreams.ejection"] = table
	return cfg
}

// patient is a backend that responds with 503 while it is sick.
type patient struct {
	*pacetest.Backend
	sick atomic.Bool
}

func newPatient(t *testing.T, sick bool) *patient {
	p := &patient{}
	p.sick.Store(sick)
	p.Backend = pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		if p.sick.Load() {
			pacetest.With(503, "", "sick")(x)
		} else {
			pacetest.Fine(x)
		}
	})
	return p
}

// backendState is a row of the API.
type backendState struct {
	Address, State, Reason string
	Since                  time.Time
}

// stateOf returns the state of a backend as the API has it.
func stateOf(t *testing.T, p *pacetest.Pace, address string) backendState {
	t.Helper()
	_, body := callAPI(t, p, "", "GET", "/api/v1/upstreams", "")
	raw, _ := json.Marshal(body)
	var all struct {
		Upstreams []struct{ Backends []backendState }
	}
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	for _, u := range all.Upstreams {
		for _, b := range u.Backends {
			if b.Address == address {
				return b
			}
		}
	}
	return backendState{State: "gone"}
}

// awaitState asks pace with requests until a backend is in the state.
func awaitState(t *testing.T, p *pacetest.Pace, address, state string) backendState {
	t.Helper()
	var got backendState
	pacetest.Eventually(t, func() error {
		p.Get("/await")
		if got = stateOf(t, p, address); got.State != state {
			return notYet("%s is %s, want %s", address, got.State, state)
		}
		return nil
	})
	return got
}

// changes are the lines about changes of state so far, as "from to by" of the backend.
func changes(p *pacetest.Pace, address string) (list []string) {
	for _, l := range p.Lines("backend state") {
		if l.Text("backend") == address {
			list = append(list, l.Text("from")+" "+l.Text("to")+" "+l.Text("by"))
		}
	}
	return list
}

func wantChanges(t *testing.T, p *pacetest.Pace, address string, want ...string) {
	t.Helper()
	pacetest.Eventually(t, func() error {
		if got := changes(p, address); !slices.Equal(got, want) {
			return notYet("the log has the changes %q, want %q", got, want)
		}
		return nil
	})
	counts := map[string]float64{}
	for _, change := range want {
		counts[strings.Fields(change)[1]]++
	}
	_, port, _ := strings.Cut(address, ":")
	for _, state := range []string{"healthy", "starting", "unhealthy", "ejected", "drained"} {
		p.WantMetric(counts[state], "pace_backend_transitions_total", "pace_upstream", "default", "server_port", port, "to", state)
	}
}

// The backend that fails is ejected, and is asked no more. Log, API, metrics, span and explanation say the same.
func TestEjection_IsSaidEverywhere(t *testing.T) {
	t.Parallel()
	sick, fine := newPatient(t, true), pacetest.NewBackend(t, pacetest.Fine)
	p, spans := pacetest.StartTraced(t, ejecting([]*pacetest.Backend{sick.Backend, fine}))
	p.WantMetric(1, "pace_backend_up", "pace_upstream", "default", "server_address", "127.0.0.1", "server_port", fmt.Sprint(sick.Port()))
	p.WantMetric(0, "pace_backend_transitions_total")
	if got := stateOf(t, p, sick.Address()); got.State != "healthy" || got.Reason != "" || got.Since.IsZero() {
		t.Errorf("at the start: %+v", got)
	}
	for i := range 6 { // each backend's turn comes three times
		p.Get(fmt.Sprint("/", i))
	}
	for range 10 {
		wantStatus(t, p.Get("/after"), 200)
	}
	if n := len(sick.Requests()); n != 3 {
		t.Errorf("the backend that is ejected got %d requests, want 3", n)
	}
	wantChanges(t, p, sick.Address(), "healthy ejected requests")
	line := p.Lines("backend state")[0]
	reason := line.Text("reason")
	if line.Text("level") != "WARN" || line.Text("upstream") != "default" || !strings.HasPrefix(reason, "3 responses with 503 in ") {
		t.Errorf("the line is %v", line)
	}
	p.WantMetric(0, "pace_backend_up", "server_port", fmt.Sprint(sick.Port()))
	p.WantMetric(1, "pace_backend_up", "server_port", fmt.Sprint(fine.Port()))
	if got := stateOf(t, p, sick.Address()); got.State != "ejected" || got.Reason != reason {
		t.Errorf("the API says %+v", got)
	}
	trace := pacetest.WantTrace(spans, 1, func(s otlp.Span) bool {
		return slices.Contains([]any{"/4", "/5"}, s.Attrs["url.path"]) && len(s.Events) > 0
	})
	if e := trace.Server.Events; len(e) != 1 || e[0].Name != "pace.ejected" || e[0].Attrs["pace.backend"] != sick.Address() || e[0].Attrs["pace.reason"] != reason {
		t.Errorf("the events are %+v", e)
	}
	if got := pacetest.CountEvents(spans, "pace.ejected"); got != 1 {
		t.Errorf("%d events pace.ejected", got)
	}
	text, _ := explained(t, trace.Server.TraceID, "--admin", p.Admin)
	if want := "That ejected " + sick.Address() + ": " + reason + "."; !strings.Contains(text, want) {
		t.Errorf("explain says %q, want %q in it", text, want)
	}
}

// When its time is up, a backend gets exactly one request, and what becomes of that decides.
func TestEjection_OneRequestIsTheTrial(t *testing.T) {
	t.Parallel()
	open, sick := make(chan struct{}), atomic.Bool{}
	sick.Store(true)
	ill := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		switch {
		case sick.Load():
			x.Reset()
		case x.Target == "/trial":
			pacetest.Gated(open, pacetest.Fine)(x)
		default:
			pacetest.Fine(x)
		}
	})
	fine := pacetest.NewBackend(t, pacetest.Fine)
	p, spans := pacetest.StartTraced(t, ejecting([]*pacetest.Backend{ill, fine}, "base", "200ms"))
	awaitState(t, p, ill.Address(), "ejected")
	pacetest.Eventually(t, func() error { // the first trial fails
		wantStatus(t, p.Get("/x"), 200)
		if got := changes(p, ill.Address()); len(got) < 2 {
			return notYet("changes: %q", got)
		}
		return nil
	})
	sick.Store(false)
	held := make(chan pacetest.Response, 1000)
	pacetest.Eventually(t, func() error {
		go func() { held <- p.Get("/trial") }()
		if n := len(ill.Got("/trial")); n == 0 {
			return notYet("no request is the trial")
		}
		return nil
	})
	for range 20 {
		wantStatus(t, p.Get("/trial"), 200)
	}
	if n := len(ill.Got("/trial")); n != 1 {
		t.Errorf("the backend got %d requests at once for its trial", n)
	}
	if got := stateOf(t, p, ill.Address()); got.State != "ejected" {
		t.Errorf("before the trial has ended, the state is %+v", got)
	}
	close(open)
	got := awaitState(t, p, ill.Address(), "healthy")
	if !strings.HasPrefix(got.Reason, "the trial passed, ") {
		t.Errorf("the reason is %q", got.Reason)
	}
	list := changes(p, ill.Address())
	if list[0] != "healthy ejected requests" || list[len(list)-1] != "ejected healthy requests" {
		t.Errorf("changes: %q", list)
	}
	for _, again := range list[1 : len(list)-1] {
		if again != "ejected ejected requests" {
			t.Errorf("changes: %q", list)
		}
	}
	wantChanges(t, p, ill.Address(), list...)
	wantEvents(t, spans, len(list)-1)
	for _, s := range awaitTrials(t, spans, len(list)-1) {
		wantAttr(t, s.Attrs, "server.port", int64(ill.Port()))
		wantAttr(t, s.Attrs, "pace.connection.reused", false)
	}
}

// awaitTrials waits until the spans of n trials have arrived, and returns them.
func awaitTrials(t *testing.T, spans *otlp.Recv, n int) (trials []otlp.Span) {
	t.Helper()
	pacetest.Eventually(t, func() error {
		trials = slices.DeleteFunc(spans.Spans(), func(s otlp.Span) bool {
			return s.Kind != otlp.Client || s.Attrs["pace.pick.reason"] != "trial"
		})
		if len(trials) != n {
			return notYet("%d spans of trials, want %d", len(trials), n)
		}
		return nil
	})
	return trials
}

// wantEvents waits until n events pace.ejected have arrived.
func wantEvents(t *testing.T, spans *otlp.Recv, n int) {
	t.Helper()
	pacetest.Eventually(t, func() error {
		if got := pacetest.CountEvents(spans, "pace.ejected"); got != n {
			return notYet("%d events pace.ejected, want %d", got, n)
		}
		return nil
	})
}

// No more than max_share of the backends is ejected, so a single one never is.
func TestEjection_NeverMoreThanMaxShare(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		backends int
		share    float64
		ejected  int
	}{{1, 0.5, 0}, {2, 0.5, 1}, {3, 0.5, 1}, {4, 0.25, 1}, {3, 0, 0}} {
		t.Run(fmt.Sprintf("%v of %d", tt.share, tt.backends), func(t *testing.T) {
			t.Parallel()
			var backends []*pacetest.Backend
			for range tt.backends {
				backends = append(backends, newPatient(t, true).Backend)
			}
			p := pacetest.Start(t, ejecting(backends, "max_share", tt.share))
			for range 40 {
				wantStatus(t, p.Get("/x"), 503)
			}
			p.WantMetric(float64(tt.ejected), "pace_backend_transitions_total", "to", "ejected")
			p.WantMetric(float64(tt.backends-tt.ejected), "pace_backend_up")
			p.WantMetric(0, "pace_panic_picks_total", "pace_upstream", "default")
		})
	}
}

// If all are ejected, all are asked, and everybody is told.
func TestEjection_PanicAsksAll(t *testing.T) {
	t.Parallel()
	a, b := newPatient(t, true), newPatient(t, true)
	cfg := ejecting([]*pacetest.Backend{a.Backend, b.Backend}, "max_share", 1.0)
	p, spans := pacetest.StartTraced(t, set(cfg, "upstreams", "sticky_cookie", "at"))
	for range 6 {
		wantStatus(t, p.Get("/x"), 503)
	}
	p.WantMetric(0, "pace_backend_up")
	a.sick.Store(false)
	b.sick.Store(false)
	for range 4 {
		wantStatus(t, p.Get("/panic"), 200)
	}
	a.WantGot(2, "/panic")
	b.WantGot(2, "/panic")
	p.WantMetric(4, "pace_panic_picks_total", "pace_upstream", "default")
	if n := len(p.AwaitLines(1, "panic: no backend may be picked, so pace asks all that are not drained")); n != 1 {
		t.Errorf("%d lines about panic", n)
	}
	trace := pacetest.WantTrace(spans, 1, pacetest.Path("/panic"))
	wantAttr(t, trace.Clients[0].Attrs, "pace.pick.reason", "panic")
}

// What clients do says nothing about a backend, nor do responses below 500.
func TestEjection_CountsOnlyWhatTheBackendDoes(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{
		"/hang": pacetest.Hang, "/404": pacetest.With(404, "", ""), "/429": pacetest.With(429, "", ""), "/": pacetest.Fine,
	}))
	p := pacetest.Start(t, ejecting([]*pacetest.Backend{b}, "max_share", 1.0))
	for i := range 6 {
		left := p.Wire()
		left.Send(fmt.Sprintf("GET /hang HTTP/1.1\r\nHost: x\r\nX: %d\r\n\r\n", i))
		b.WantGot(i+1, "/hang")
		left.Leave()
		p.WantMetric(float64(i+1), "pace_requests_total", "pace_outcome", "client_gone")
		wantStatus(t, p.Get("/404"), 404)
		wantStatus(t, p.Get("/429"), 429)
	}
	wantChanges(t, p, b.Address())
}

// A backend counts as failing if it does not respond whole, and a success ends a series of failures.
func TestEjection_CountsWhatBreaksInTheBody(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{
		"/cut": func(x *pacetest.Exchange) { x.Write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"); x.Reset() },
		"/":    pacetest.Fine,
	}))
	p := pacetest.Start(t, ejecting([]*pacetest.Backend{b}, "max_share", 1.0))
	for range 3 {
		p.Get("/cut")
		p.Get("/cut")
		wantStatus(t, p.Get("/x"), 200)
	}
	wantChanges(t, p, b.Address())
	for range 3 {
		p.Get("/cut")
	}
	wantChanges(t, p, b.Address(), "healthy ejected requests")
	if reason := p.Lines("backend state")[0].Text("reason"); !strings.HasPrefix(reason, "3 truncated responses in ") {
		t.Errorf("the reason is %q", reason)
	}
}

// A share of failures ejects where they never come in a row.
func TestEjection_ByTheShareOfFailures(t *testing.T) {
	t.Parallel()
	shaky := pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{"/bad": pacetest.With(500, "", ""), "/": pacetest.Fine}))
	p := pacetest.Start(t, ejecting([]*pacetest.Backend{shaky}, "max_share", 1.0, "consecutive_failures", 0, "failure_share", 0.25, "min_requests", 12, "window", long))
	for i := range 3 {
		for range 3 {
			wantStatus(t, p.Get("/good"), 200)
		}
		if i == 2 { // the twelfth request is the third failure
			wantChanges(t, p, shaky.Address())
		}
		wantStatus(t, p.Get("/bad"), 500)
	}
	wantChanges(t, p, shaky.Address(), "healthy ejected requests")
	if reason := p.Lines("backend state")[0].Text("reason"); reason != "3 of 12 requests failed within 1h0m0s" {
		t.Errorf("the reason is %q", reason)
	}
}

func TestEjection_Off(t *testing.T) {
	t.Parallel()
	sick, fine := newPatient(t, true), pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, ejecting([]*pacetest.Backend{sick.Backend, fine}, "enabled", false))
	for range 60 {
		p.Get("/x")
	}
	sick.WantGot(30, "/x")
	wantChanges(t, p, sick.Address())
}

// With slow_start, a backend that is back gets a tenth of its share at first.
func TestEjection_SlowStart(t *testing.T) {
	t.Parallel()
	sick, fine := newPatient(t, true), pacetest.NewBackend(t, pacetest.Fine)
	backends := []*pacetest.Backend{sick.Backend, fine}
	cfg := set(ejecting(backends, "base", "100ms"), "upstreams", "slow_start", long)
	p := pacetest.Start(t, cfg)
	awaitState(t, p, sick.Address(), "ejected")
	sick.sick.Store(false)
	awaitState(t, p, sick.Address(), "starting")
	p.WantMetric(2, "pace_backend_up")
	for range 110 {
		wantStatus(t, p.Get("/slowly"), 200)
	}
	sick.WantGot(10, "/slowly")
	fine.WantGot(100, "/slowly")
	p.Reload(set(cfg, "upstreams", "slow_start", "10ms"))
	awaitState(t, p, sick.Address(), "healthy")
	before := len(sick.Got("/fast"))
	for range 10 {
		wantStatus(t, p.Get("/fast"), 200)
	}
	sick.WantGot(before+5, "/fast")
}

// A reload keeps the state of a backend that stays, and its counters. One that leaves takes its gauges along.
func TestEjection_SurvivesAReload(t *testing.T) {
	t.Parallel()
	sick, fine, more := newPatient(t, true), pacetest.NewBackend(t, pacetest.Fine), pacetest.NewBackend(t, pacetest.Fine)
	with := func(backends ...*pacetest.Backend) pacetest.Config { return ejecting(backends) }
	p := pacetest.Start(t, with(sick.Backend, fine))
	ejected := awaitState(t, p, sick.Address(), "ejected")
	n := len(sick.Requests())
	p.Reload(set(with(sick.Backend, fine, more), "upstreams", "connect_timeout", "3s"))
	if got := stateOf(t, p, sick.Address()); got != ejected {
		t.Errorf("after the reload: %+v, before: %+v", got, ejected)
	}
	for range 20 {
		wantStatus(t, p.Get("/x"), 200)
	}
	if got := len(sick.Requests()); got != n {
		t.Errorf("after the reload the ejected backend got %d requests", got-n)
	}
	wantChanges(t, p, sick.Address(), "healthy ejected requests")
	p.Reload(with(fine, more))
	for _, name := range []string{"pace_backend_up", "pace_backend_transitions_total"} {
		for _, s := range p.Metrics()[name].GetMetric() {
			if pacetest.Label(s, "server_port") == fmt.Sprint(sick.Port()) {
				t.Errorf("%s still has the backend that has left", name)
			}
		}
	}
	p.Reload(with(sick.Backend, fine))
	if got := stateOf(t, p, sick.Address()); got.State != "healthy" {
		t.Errorf("a backend that comes again is %+v", got)
	}
}

// A cookie does not lead to a backend that is ejected.
func TestEjection_HoldsForCookies(t *testing.T) {
	t.Parallel()
	sick, fine := newPatient(t, false), pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, set(ejecting([]*pacetest.Backend{sick.Backend, fine}), "upstreams", "sticky_cookie", "at"))
	first := p.Get("/x")
	for ; first.Header.Get("X-Backend") != sick.Name(); first = p.Get("/x") {
	}
	cookie, _, _ := strings.Cut(first.Header.Get("Set-Cookie"), ";")
	sick.sick.Store(true)
	for range 3 {
		wantStatus(t, p.Get("/mine", "Cookie", cookie), 503)
	}
	got := p.Get("/mine", "Cookie", cookie)
	if wantStatus(t, got, 200); got.Header.Get("Set-Cookie") == "" || strings.HasPrefix(got.Header.Get("Set-Cookie"), cookie) {
		t.Errorf("the client stays at the ejected backend: Set-Cookie is %q", got.Header.Get("Set-Cookie"))
	}
	sick.WantGot(3, "/mine")
}
