package check

import (
	"maps"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// A thousand backends that are started in one instant are not checked in one instant, neither at first nor later.
func TestStart_SpreadsTheChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		o := Options{Type: "tcp", Interval: 5 * time.Second, Timeout: time.Second}
		backends := make([]*backend, 1000)
		for i := range backends {
			backends[i] = &backend{serve: func(net.Conn) {}}
			started(t, o, backends[i])
		}
		time.Sleep(time.Minute)
		inTenth := map[time.Duration]int{} // checks that began in that tenth of a second
		waits := map[time.Duration]bool{}  // between two checks of a backend
		for _, b := range backends {
			b.mu.Lock()
			if n := len(b.accepted); n < 11 || n > 14 {
				t.Errorf("%d checks in a minute", n)
			}
			for i, at := range b.accepted {
				inTenth[at.Sub(began).Truncate(100*time.Millisecond)]++
				wait := at.Sub(append([]time.Time{began}, b.accepted...)[i])
				waits[wait] = waits[wait] || i > 0
				switch {
				case i == 0 && wait > time.Second:
					t.Errorf("the first check began after %v", wait)
				case i > 0 && (wait < 4500*time.Millisecond || wait > 5500*time.Millisecond):
					t.Errorf("a check began %v after the one before", wait)
				}
			}
			b.mu.Unlock()
		}
		maps.DeleteFunc(waits, func(_ time.Duration, later bool) bool { return !later })
		if len(waits) < 1000 {
			t.Errorf("only %d different waits between checks", len(waits))
		}
		for at, n := range inTenth { // of 1000 in the first second, and then even more spread
			if n > 200 {
				t.Errorf("%d checks began within 100 ms, %v after the start", n, at)
			}
		}
	})
}

// A check that takes longer than the interval delays the next one; they are never in flight together.
func TestRunner_ChecksOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{serve: hangs}
		o := httpOptions(t)
		o.Interval, o.Timeout = 100*time.Millisecond, time.Second
		results := started(t, o, b)
		for range 10 {
			<-results
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		for i := range 9 {
			if wait := b.accepted[i+1].Sub(b.accepted[i]); wait < time.Second {
				t.Errorf("a check began %v after one that takes a second", wait)
			}
		}
	})
}

// After Stop nothing is reported, and no goroutine or timer is left: the bubble would not end.
func TestStop_EndsAtOnce(t *testing.T) {
	for _, name := range Types() {
		for _, when := range []time.Duration{0, 1200 * time.Millisecond, 30 * time.Second} { // before the first check, in one, after some
			synctest.Test(t, func(t *testing.T) {
				o := httpOptions(t)
				o.Type, o.Timeout = name, time.Hour
				stopped := false
				r := Start(o, Backend{Authority: "backend:80", Dial: (&backend{serve: hangs}).dial}, func(result Result) {
					if stopped {
						t.Errorf("%s: after Stop came %+v", name, result)
					}
				})
				time.Sleep(when)
				synctest.Wait()
				r.Stop()
				stopped = true
				began := time.Now()
				synctest.Wait()
				if waited := time.Since(began); waited > 0 {
					t.Errorf("%s: it ended after %v", name, waited)
				}
				time.Sleep(time.Hour)
			})
		}
	}
}
