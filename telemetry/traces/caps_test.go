package traces

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pace/telemetry"
)

func TestCaps_CapsWhatIsKeptWithinAnySecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaps(KeepOptions{Enabled: true, PerSecond: 50, PerReason: 10})
		var times []time.Time
		for range 5000 { // 1,000 a second
			if c.allow(telemetry.KeepError, "/") {
				times = append(times, time.Now())
			}
			time.Sleep(time.Millisecond)
		}
		if len(times) != 50 {
			t.Errorf("%d were kept in 5 s, want 10 a second", len(times))
		}
		for i := 10; i < len(times); i++ {
			if times[i].Sub(times[i-10]) < time.Second {
				t.Errorf("11 were kept within %v", times[i].Sub(times[i-10]))
			}
		}
	})
}

func TestCaps_FirstOfAKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaps(KeepOptions{Enabled: true, PerSecond: 20, PerReason: 10})
		keepMany := func(reason telemetry.KeepReason, route string, n int) (kept int) {
			for range n {
				if c.allow(reason, route) {
					kept++
				}
			}
			return kept
		}
		for _, tt := range []struct {
			name   string
			reason telemetry.KeepReason
			route  string
			n      int
			want   int
		}{
			{"a storm gets its cap", telemetry.KeepError, "/storm", 1000, 10},
			{"the first of another route is kept, and no second one", telemetry.KeepError, "/rare", 5, 1},
			{"another reason has a cap of its own", telemetry.KeepSlow, "/storm", 1000, 10},
			{"the cap of all is reached, and the first of a third reason is kept", telemetry.KeepRejected, "/storm", 5, 1},
			{"so it is on another route", telemetry.KeepRejected, "/rare", 5, 1},
		} {
			if got := keepMany(tt.reason, tt.route, tt.n); got != tt.want {
				t.Errorf("%s: %d of %d were kept, want %d", tt.name, got, tt.n, tt.want)
			}
		}
		beyond := 3
		for i := range 100 {
			beyond += keepMany(telemetry.KeepError, fmt.Sprint("/", i), 1)
		}
		if beyond != 20 {
			t.Errorf("%d were kept beyond the caps, want as many as the cap of all", beyond)
		}
	})
}

// A hundred routes fail all the time, more than even the second bound allows. None of them goes without.
func TestCaps_TheRouteKeptLeastGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const routes, bound, seconds = 100, 10, 60
		c := newCaps(KeepOptions{Enabled: true, PerSecond: bound, PerReason: 1})
		got := make([]int, routes)
		for range seconds * 20 {
			for i := range routes { // always in the same order: without fairness the first ones get everything
				if c.allow(telemetry.KeepError, fmt.Sprint("/", i)) {
					got[i]++
				}
			}
			time.Sleep(50 * time.Millisecond)
		}
		all := 0
		for i, n := range got {
			all += n
			if n == 0 {
				t.Errorf("route %d had nothing kept in %d s; all: %v", i, seconds, got)
			}
		}
		if all < seconds*bound || all > seconds*(bound+1)+bound+1 {
			t.Errorf("%d were kept in %d s, want %d a second within the caps and beyond", all, seconds, bound+1)
		}
	})
}

func TestCaps_NoBounds(t *testing.T) {
	for name, o := range map[string]KeepOptions{
		"none at all":               {},
		"none for all, one for one": {PerReason: 1},
		"none for one, one for all": {PerSecond: 1000},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, kept := newCaps(o), 0
			for i := range 1000 {
				if c.allow(telemetry.KeepError, fmt.Sprint("/", i)) {
					kept++
				}
			}
			if kept != 1000 {
				t.Errorf("%s: %d of 1000 first ones were kept", name, kept)
			}
		})
	}
}

func BenchmarkCaps_InAStorm(b *testing.B) {
	c := newCaps(KeepOptions{Enabled: true, PerSecond: 50, PerReason: 10})
	for b.Loop() {
		c.allow(telemetry.KeepRejected, "/")
	}
}
