package upstream

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pace/lb"
	"pace/lb/health"
	"pace/proxy/transport"
	"pace/proxy/upstream/check"
)

var refused = Result{Failure, health.Failure{One: "connect failure", Many: "connect failures"}}

// ward is an upstream of backends 10.0.0.1:80 and so on, with the changes of state so far, one line each.
type ward struct {
	*Upstream
	t   *testing.T
	o   Options
	log []string
}

func newWard(t *testing.T, n int, change func(*Options)) *ward {
	w := &ward{t: t}
	w.o = Options{
		Name: "default", Retry: RetryOptions{Failovers: 1}, MaxShare: 0.5,
		Health: health.Rules{Ejection: health.Ejection{
			Enabled: true, ConsecutiveFailures: 5, FailureShare: 0.5, MinRequests: 20, Window: 10 * time.Second, Base: 10 * time.Second, Max: 5 * time.Minute,
		}},
		OnChange: func(c Change) {
			w.log = append(w.log, fmt.Sprintf("%s/%s %s → %s by %s: %s", c.Upstream, c.Backend.Addr, c.From, c.To, c.By, c.Reason))
		},
	}
	for i := range n {
		w.o.Addresses = append(w.o.Addresses, Address{Addr: fmt.Sprintf("10.0.0.%d:80", i+1)})
	}
	if change != nil {
		change(&w.o)
	}
	w.Upstream = New(w.o, nil)
	t.Cleanup(func() { w.Close() })
	return w
}

// end makes an attempt of the step that ends so.
func (w *ward) end(s Step, r Result) string {
	s.Backend.Begin()
	s.Backend.End()
	if r.Kind == Success {
		w.Responded(&s, time.Now())
	}
	return w.Ended(s, time.Now(), r)
}

// fail fails n attempts at the backend with this number, and returns why it was ejected.
func (w *ward) fail(number, n int) (reason string) {
	for range n {
		reason = w.end(Step{Backend: w.members[number-1].Backend}, refused)
	}
	return reason
}

// picks returns how often each backend is picked within n requests that succeed, as in "1:5 2:5 trial:1".
func (w *ward) picks(n int, r *Request) string {
	counts := map[string]int{}
	for range n {
		s := w.First(r)
		name := "none"
		if s.Backend != nil {
			name = strings.TrimSuffix(strings.TrimPrefix(s.Backend.Addr, "10.0.0."), ":80")
			w.end(s, Result{Kind: Success})
		}
		counts[name]++
		if s.Reason != "" {
			counts[s.Reason]++
		}
	}
	var list []string
	for name, n := range counts {
		list = append(list, fmt.Sprintf("%s:%d", name, n))
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

func (w *ward) wantPicks(n int, want string) {
	w.t.Helper()
	synctest.Wait() // for the timer
	if got := w.picks(n, &Request{Repeatable: true}); got != want {
		w.t.Errorf("picks: %s, want %s", got, want)
	}
}

func (w *ward) wantLog(want ...string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if got := strings.Join(w.log, "\n"); got != strings.Join(want, "\n") {
		w.t.Errorf("changes:\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	w.log = nil
}

// forget forgets the changes so far.
func (w *ward) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = nil
}

func (w *ward) wantStates(want string) {
	w.t.Helper()
	var got []string
	for _, m := range w.Members() {
		got = append(got, m.State.String())
	}
	if s := strings.Join(got, " "); s != want {
		w.t.Errorf("states: %s, want %s", s, want)
	}
}

func TestEjection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(t, 3, nil)
		w.fail(1, 4)
		w.wantPicks(6, "1:2 2:2 3:2")
		if got := w.fail(1, 4); got != "" {
			t.Errorf("ejected because of %q, although a request succeeded in between", got)
		}
		if got := w.fail(1, 1); got != "5 connect failures in less than 1 ms" {
			t.Errorf("ejected because of %q", got)
		}
		w.wantPicks(6, "2:3 3:3")
		w.fail(2, 50)
		w.wantLog("default/10.0.0.1:80 healthy → ejected by requests: 5 connect failures in less than 1 ms") // half of 3 is 1
		w.end(Step{Backend: w.members[1].Backend}, Result{Kind: Success})

		time.Sleep(10 * time.Second)
		w.wantPicks(7, "1:3 2:2 3:2 trial:1")
		w.wantLog("default/10.0.0.1:80 ejected → healthy by requests: the trial passed, 10 s after the ejection")
		if m := w.Members()[0]; m.Changes != [health.StateCount]int64{health.Ejected: 1, health.Healthy: 1} || m.State != health.Healthy || m.Since != time.Now() {
			t.Errorf("%+v", m)
		}
	})
}

func TestEjection_TrialOfOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(t, 2, nil)
		w.fail(1, 5)
		w.wantLog("default/10.0.0.1:80 healthy → ejected by requests: 5 connect failures in less than 1 ms")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if s := w.First(&Request{}); s.Trial {
			t.Errorf("a request that may not be done twice is the trial at once")
		}
		trial := w.First(&Request{Repeatable: true})
		if !trial.Trial || trial.Reason != "trial" || trial.Backend.Addr != "10.0.0.1:80" {
			t.Fatalf("the trial is %+v", trial)
		}
		w.wantPicks(4, "2:4")
		w.end(trial, Result{}) // its client left
		time.Sleep(time.Second)
		trial = w.First(&Request{})
		if !trial.Trial {
			t.Fatalf("no request is the trial after a second: %+v", trial)
		}
		if got := w.end(trial, refused); got != "the trial failed: connect failure" {
			t.Errorf("ejected because of %q", got)
		}
		w.wantLog("default/10.0.0.1:80 ejected → ejected by requests: the trial failed: connect failure")
		time.Sleep(19 * time.Second)
		w.wantPicks(4, "2:4")
		time.Sleep(time.Second)
		w.wantPicks(4, "1:2 2:2 trial:1")
	})
}

func TestEjection_OfASingleBackend(t *testing.T) {
	w := newWard(t, 1, nil)
	w.fail(1, 100)
	w.wantLog()
	w = newWard(t, 2, nil)
	w.Command("10.0.0.2:80", Drain, "ops")
	w.fail(1, 100)
	w.wantLog("default/10.0.0.2:80 healthy → drained by operator: drained by ops")
}

// A connection that had been closed says little about its backend: it is asked again rather than one that is out.
func TestEjection_ARetryGoesBeforeABackendThatIsOut(t *testing.T) {
	w := newWard(t, 2, func(o *Options) { o.Retry.On, o.Retry.Failovers, o.Retry.Budget = []string{"upstream_reset"}, 1, 1 })
	tries := Tries{At: []*lb.Backend{w.members[0].Backend.Backend}}
	stale := &transport.Error{Kind: transport.Reset, Reused: true}
	if got := w.Further(tries, "upstream_reset", stale, time.Now()); got != Failover {
		t.Errorf("while the other one is healthy: %v", got)
	}
	w.fail(2, 5)
	if got := w.Further(tries, "upstream_reset", stale, time.Now()); got != Retry {
		t.Errorf("while the other one is ejected: %v", got)
	}
	tries.Retries = 1
	if got := w.Further(tries, "upstream_reset", stale, time.Now()); got != Failover {
		t.Errorf("after the retry: %v", got)
	}
}

func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(t, 3, func(o *Options) { o.MaxShare = 1 })
		w.Command("10.0.0.3:80", Drain, "ops")
		w.fail(1, 5)
		w.fail(2, 5)
		w.wantStates("ejected ejected drained")
		w.wantPicks(4, "1:2 2:2 panic:4")
		if got := w.PanicPicks(); got != 4 {
			t.Errorf("%d picks in panic", got)
		}
		time.Sleep(10 * time.Second)
		w.wantPicks(4, "1:2 2:2 trial:2")
		w.wantStates("healthy healthy drained")
		w.Command("10.0.0.1:80", Drain, "ops")
		w.Command("10.0.0.2:80", Drain, "ops")
		w.wantPicks(2, "empty:2 none:2")
		if got := w.PanicPicks(); got != 4 {
			t.Errorf("%d picks in panic", got)
		}
	})
}

func TestChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(t, 2, func(o *Options) { o.Health.Checked, o.Health.Fall, o.Health.Rise = true, 2, 1 })
		learn := func(r check.Result) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.checked(w.members[0].Backend, r)
		}
		failed := check.Result{At: time.Now(), Status: 500, Error: "status 500"}
		learn(failed)
		learn(failed)
		w.wantPicks(2, "2:2")
		if m := w.Members()[0]; m.State != health.Unhealthy || *m.LastCheck != failed {
			t.Errorf("%+v", m)
		}
		learn(check.Result{At: time.Now(), Passed: true})
		w.wantPicks(2, "1:1 2:1")
		w.fail(1, 5)
		time.Sleep(10 * time.Second)
		w.wantPicks(2, "2:2") // no request is the trial, where there are checks
		learn(check.Result{At: time.Now(), Passed: true})
		w.wantStates("healthy healthy")
	})
}

func TestCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(t, 2, func(o *Options) { o.StickyCookie = "at" })
		cookie := &Request{Header: http.Header{"Cookie": {"at=" + w.members[0].token}}}
		if got := w.picks(3, cookie); got != "1:3 sticky:3" {
			t.Errorf("picks: %s", got)
		}
		for _, tt := range []struct {
			order, back Order
			state       health.State
		}{{Drain, Undrain, health.Drained}, {Eject, Readmit, health.Ejected}} {
			m, ok := w.Command("10.0.0.1:80", tt.order, "ops")
			if !ok || m.State != tt.state || !strings.HasSuffix(m.Reason, "ed by ops") {
				t.Errorf("%s: %+v", tt.order, m)
			}
			if got := w.picks(3, cookie); got != "2:3" {
				t.Errorf("%s: picks: %s", tt.order, got)
			}
			time.Sleep(time.Hour)
			w.wantPicks(3, "2:3")
			if m, _ := w.Command("10.0.0.1:80", tt.back, "ops"); m.State != health.Healthy {
				t.Errorf("%s: %+v", tt.back, m)
			}
			if got := w.picks(3, cookie); got != "1:3 sticky:3" {
				t.Errorf("%s: picks: %s", tt.back, got)
			}
		}
		if _, ok := w.Command("10.0.0.9:80", Drain, "ops"); ok {
			t.Error("a backend that is not there was drained")
		}
	})
}

func TestSlowStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(t, 2, func(o *Options) { o.Health.SlowStart = 10 * time.Second })
		w.fail(1, 5)
		time.Sleep(10 * time.Second)
		w.wantPicks(1, "1:1 trial:1")
		w.wantPicks(11, "1:1 2:10")
		time.Sleep(4 * time.Second)
		w.wantPicks(30, "1:10 2:20")
		time.Sleep(5 * time.Second)
		w.wantStates("starting healthy")
		time.Sleep(time.Second)
		w.wantPicks(10, "1:5 2:5")
		w.wantStates("healthy healthy")
		w.wantLog("default/10.0.0.1:80 healthy → ejected by requests: 5 connect failures in less than 1 ms",
			"default/10.0.0.1:80 ejected → starting by requests: the trial passed, 10 s after the ejection",
			"default/10.0.0.1:80 starting → healthy by requests: it has started, in 10 s")
	})
}

// What a reload leaves as it was keeps its state: also a backend that gets other connections.
func TestNew_KeepsStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(t, 4, nil)
		w.fail(1, 5)
		w.Command("10.0.0.2:80", Drain, "ops")
		w.wantStates("ejected drained healthy healthy")
		reload := func(change func(*Options)) {
			t.Helper()
			change(&w.o)
			before := w.Upstream
			w.Upstream = New(w.o, before)
			before.Close()
		}
		reload(func(o *Options) { o.Health.SlowStart = time.Second })
		w.wantStates("ejected drained healthy healthy")
		reload(func(o *Options) { o.Transport.ConnectTimeout = 3 * time.Second })
		w.wantStates("ejected drained healthy healthy")
		reload(func(o *Options) { o.Addresses = append(slices.Clone(o.Addresses[:2]), Address{Addr: "10.0.0.5:80"}) })
		w.wantStates("ejected drained starting")
		w.forget()
		time.Sleep(time.Second)
		synctest.Wait()
		w.wantLog("default/10.0.0.5:80 starting → healthy by requests: it has started, in 1 s")
		time.Sleep(9 * time.Second)
		w.wantPicks(1, "1:1 trial:1")
		w.forget()
		w.fail(1, 5)
		reload(func(o *Options) { o.Health.Ejection.Enabled = false })
		w.wantStates("starting drained healthy")
		w.wantLog("default/10.0.0.1:80 starting → ejected by requests: 5 connect failures in less than 1 ms",
			"default/10.0.0.1:80 ejected → starting by operator: ejection is not enabled any more")
	})
}

// A backend that is starting is done at once if a reload leaves it less time than it has had.
func TestNew_ShortensASlowStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(t, 2, func(o *Options) { o.Health.SlowStart = time.Hour })
		w.Command("10.0.0.1:80", Drain, "ops")
		w.Command("10.0.0.1:80", Undrain, "ops")
		time.Sleep(time.Minute)
		w.wantStates("starting healthy")
		w.o.Health.SlowStart = time.Second
		before := w.Upstream
		w.Upstream = New(w.o, before)
		synctest.Wait()
		w.wantStates("healthy healthy")
		before.Close()
	})
}

// No more than the maximum share stays ejected when a pool becomes smaller.
func TestNew_KeepsTheShare(t *testing.T) {
	w := newWard(t, 4, nil)
	w.fail(1, 5)
	w.fail(2, 5)
	w.wantStates("ejected ejected healthy healthy")
	w.Command("10.0.0.3:80", Drain, "ops")
	w.wantStates("healthy ejected drained healthy")
	if got := w.log[len(w.log)-1]; got != "default/10.0.0.1:80 ejected → healthy by operator: of 3 backends no more than 1 may be ejected" {
		t.Error(got)
	}
}

// A stream that begins is a success, and its end says nothing.
func TestBecameStream(t *testing.T) {
	w := newWard(t, 2, func(o *Options) { o.Health.Ejection.FailureShare = 0 })
	s := Step{Backend: w.members[0].Backend}
	for range 10 {
		w.fail(1, 3)
		s.Backend.Begin()
		w.BecameStream(s, time.Now(), Result{Kind: Success})
	}
	w.fail(1, 4)
	for range 10 {
		s.Backend.End()
		w.Ended(s, time.Now(), Result{})
	}
	w.wantLog()
	w.fail(1, 1)
	if len(w.log) != 1 {
		t.Error("the ends of streams have begun a new series")
	}
	if got := s.Backend.condition.total(); got != 45 {
		t.Errorf("%d attempts were counted, of 35 failures and 10 streams", got)
	}
}

// When all that may be picked have failed, one that is out is asked before the client gets a failure. A drained one is not.
func TestNext_AsksWhatIsOutAtLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(t, 3, func(o *Options) { o.Retry.Failovers = 2 })
		ejected, good, drained := w.members[0].Backend, w.members[1].Backend, w.members[2].Backend
		w.fail(1, 5)
		w.Command(drained.Addr, Drain, "a test")
		w.wantPicks(2, "2:2")
		for _, tt := range []struct {
			name  string
			tried []*Backend
			want  *Backend
		}{
			{"the others have failed", []*Backend{good}, ejected},
			{"it has failed itself", []*Backend{good, ejected}, nil},
			{"another one may be picked", []*Backend{ejected}, good},
		} {
			tries := Tries{}
			for _, b := range tt.tried {
				tries.At = append(tries.At, b.Backend)
			}
			if got := w.stepAfter(tries, &transport.Error{}).Backend; got != tt.want {
				t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
			}
		}
	})
}
