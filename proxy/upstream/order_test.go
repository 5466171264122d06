package upstream

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pace/lb/health"
)

func state(t *testing.T, u *Upstream, address string) health.State {
	t.Helper()
	for _, m := range u.Members() {
		if m.Addr == address {
			return m.State
		}
	}
	t.Fatalf("%s is no backend", address)
	return 0
}

func TestCommand_TakesABackendOut(t *testing.T) {
	for _, tt := range []struct {
		out, in Order
		state   health.State
	}{
		{Drain, Undrain, health.Drained},
		{Eject, Readmit, health.Ejected},
	} {
		o := Options{Addresses: threeBackends(), StickyCookie: "at"}
		u := New(o, nil)
		b := u.Backends()[1]
		mine := header("Cookie", "at="+b.token)
		if m, ok := u.Command(b.Addr, tt.out, "test"); !ok || m.State != tt.state || m.Reason != orders[tt.out].done+" by test" {
			t.Errorf("%s: got %+v, %v", tt.out, m, ok)
		}
		o.Resolve = time.Second // a reload that changes the upstream
		next := New(o, u)
		u.Close()
		if s := state(t, next, b.Addr); s != tt.state {
			t.Errorf("%s: after a reload it is %s", tt.out, s)
		}
		for i := range 30 {
			if step := next.First(&Request{Header: mine}); step.Backend == nil || step.Backend == b {
				t.Fatalf("%s: request %d, with its cookie, got %+v, want another backend", tt.out, i, step)
			}
		}
		if m, ok := next.Command(b.Addr, tt.in, "test"); !ok || m.State != health.Healthy {
			t.Errorf("%s: got %+v, %v", tt.in, m, ok)
		}
		if step := next.First(&Request{Header: mine}); step.Backend != b {
			t.Errorf("%s: its cookie leads to %+v", tt.in, step)
		}
	}
	if _, ok := New(Options{Addresses: threeBackends()}, nil).Command("10.9.9.9:80", Drain, "test"); ok {
		t.Error("an address that is no backend was drained")
	}
}

func TestCommand_OnlyAllDrainedIsNoBackend(t *testing.T) {
	u := New(Options{Addresses: threeBackends()}, nil)
	all := u.Backends()
	for _, b := range all[:2] {
		u.Command(b.Addr, Drain, "test")
	}
	u.Command(all[2].Addr, Eject, "test")
	if step := u.First(&Request{}); step.Backend != all[2] {
		t.Errorf("two are drained, and one is ejected: got %+v, want that one, in panic", step)
	}
	u.Command(all[2].Addr, Drain, "test")
	if step := u.First(&Request{}); step.Backend != nil || step.Full {
		t.Errorf("all are drained: got %+v, want none", step)
	}
}

func TestCommand_DrainEndsIdleConnections(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network, o Options) {
		o.Addresses = []Address{{Addr: "10.0.0.1:80"}}
		u := New(o, nil)
		defer u.Close()
		ask(t, u, 1)
		inFlight := u.First(&Request{}).Backend
		u.Command("10.0.0.1:80", Drain, "test")
		if _, open, _, _ := n.seen(); open["10.0.0.1:80"] != 0 {
			t.Errorf("%d connections are open at a drained backend, want none", open["10.0.0.1:80"])
		}
		if err := get(t, inFlight, nil); err != nil {
			t.Errorf("a request that had picked it: %v", err)
		}
		if _, open, _, _ := n.seen(); open["10.0.0.1:80"] != 0 {
			t.Errorf("%d connections are open after it, want none", open["10.0.0.1:80"])
		}
		u.Command("10.0.0.1:80", Undrain, "test")
		ask(t, u, 2)
		if _, open, _, _ := n.seen(); open["10.0.0.1:80"] != 1 {
			t.Errorf("%d connections are open after undrain, want 1", open["10.0.0.1:80"])
		}
	})
}

func TestOpenStream_EndsWhenItsTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := New(Options{Addresses: threeBackends(), DrainStreams: time.Minute}, nil)
		b := u.Backends()[0]
		var mu sync.Mutex // guards ended
		ended := map[string]int{}
		open := func(name string) (closed func()) {
			return b.OpenStream(func() {
				mu.Lock()
				defer mu.Unlock()
				ended[name]++
			})
		}
		want := func(when string, names ...string) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if len(ended) != len(names) {
				t.Errorf("%s: ended are %v, want %v", when, ended, names)
			}
			for _, name := range names {
				if ended[name] != 1 {
					t.Errorf("%s: %s was ended %d times, want once", when, name, ended[name])
				}
			}
		}
		defer open("lasting")()
		open("short")()
		u.Command(b.Addr, Drain, "test")
		time.Sleep(30 * time.Second)
		defer open("switched meanwhile")() // of a request that was in flight
		u.Command(b.Addr, Drain, "test")   // once more
		time.Sleep(29 * time.Second)
		want("before the time is up")
		time.Sleep(2 * time.Second)
		want("after it", "lasting", "switched meanwhile")
		defer open("late")()
		want("of a stream that comes then", "lasting", "switched meanwhile", "late")
		u.Command(b.Addr, Undrain, "test")
		defer open("after undrain")()
		u.Command(b.Addr, Drain, "test")
		time.Sleep(30 * time.Second)
		u.Command(b.Addr, Undrain, "test")
		time.Sleep(time.Hour)
		want("undrained in time", "lasting", "switched meanwhile", "late")
	})
}

func TestOpenStream_WithoutALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := New(Options{Addresses: threeBackends()}, nil)
		defer u.Backends()[0].OpenStream(func() { t.Error("a stream was ended") })()
		u.Command(u.Backends()[0].Addr, Drain, "test")
		time.Sleep(100 * time.Hour)
	})
}

// A name may be resolved by a request that had picked it before it was drained.
func TestCommand_AboutANameHoldsForItsAddresses(t *testing.T) {
	for order, want := range map[Order]health.State{Drain: health.Drained, Eject: health.Ejected} {
		inBubble(t, func(t *testing.T, n *network, o Options) {
			n.names, n.takes = "10.0.0.1 10.0.0.2", time.Second/2
			u := New(o, nil)
			defer u.Close()
			b := u.First(&Request{}).Backend
			done := make(chan error)
			go func() { done <- get(t, b, nil) }()
			synctest.Wait()
			u.Command("backend:80", order, "test")
			if err := <-done; err != nil {
				t.Errorf("the request in flight: %v", err)
			}
			for _, address := range []string{"10.0.0.1:80", "10.0.0.2:80"} {
				if s := state(t, u, address); s != want {
					t.Errorf("after %s of the name, %s is %s", order, address, s)
				}
			}
		})
	}
}
