package upstream

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pace/lb/health"
)

// pickedOf returns which backends get some of the next requests, in order.
func pickedOf(u *Upstream) (addrs []string) {
	for range 20 {
		if a := u.First(&Request{}).Backend.Addr; !slices.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	slices.Sort(addrs)
	return addrs
}

// A backend that asks for a pause has it, up to the limit, while another one is there.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := New(Options{Addresses: threeBackends()}, nil)
		defer u.Close()
		all := pickedOf(u)
		backends := u.Backends()
		a, b, c := backends[0], backends[1], backends[2]
		want := func(what string, want ...string) {
			t.Helper()
			synctest.Wait()
			if got := pickedOf(u); !slices.Equal(got, want) {
				t.Errorf("%s: %v are picked, want %v", what, got, want)
			}
		}
		u.Pause(a, 503, 0)
		want("no pause", all...)
		u.Pause(a, 503, 2*time.Second)
		want("one paused", b.Addr, c.Addr)
		time.Sleep(time.Second)
		u.Pause(a, 503, time.Second/2)
		u.Pause(b, 429, time.Hour)
		want("two paused", c.Addr)
		if m := u.Members(); !strings.HasPrefix(m[0].Reason, "paused until ") || !strings.HasPrefix(m[1].Reason, "paused until ") || m[2].Reason != "" {
			t.Errorf("the reasons of the states are %q, %q and %q", m[0].Reason, m[1].Reason, m[2].Reason)
		}
		time.Sleep(time.Second)
		want("the first is back, at the end of its longest pause", a.Addr, c.Addr)
		u.Pause(a, 503, 3*time.Second)
		u.Pause(c, 503, 5*time.Second)
		want("all asked for a pause, so none has it", all...)
		time.Sleep(2 * time.Second)
		u.Pause(a, 503, 3*time.Second)
		time.Sleep(2 * time.Second)
		want("a pause grows while it lasts, without a moment between", all...)
		time.Sleep(time.Second)
		want("two are back", a.Addr, c.Addr)
		time.Sleep(4 * time.Second)
		want("the longest pause is over", all...)
	})
}

// A pause does not matter for a backend that is out anyway, and survives a reload.
func TestPause_BesideStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{Addresses: threeBackends()}
		u := New(o, nil)
		backends := u.Backends()
		a, b, c := backends[0], backends[1], backends[2]
		u.Pause(a, 503, 5*time.Second)
		u.Command(b.Addr, Drain, "a test")
		if got := pickedOf(u); !slices.Equal(got, []string{c.Addr}) {
			t.Errorf("one paused, one drained: %v are picked", got)
		}
		o.StickyCookie = "at"
		next := New(o, u)
		u.Close()
		defer next.Close()
		if got := pickedOf(next); !slices.Equal(got, []string{c.Addr}) {
			t.Errorf("after a reload: %v are picked", got)
		}
		next.Command(c.Addr, Drain, "a test")
		if got := pickedOf(next); !slices.Equal(got, []string{a.Addr}) {
			t.Errorf("the others are drained: %v are picked", got)
		}
		next.Pause(c, 503, 5*time.Second)
		if got := next.Members()[2].State; got != health.Drained {
			t.Errorf("a pause made the state %v", got)
		}
	})
}
