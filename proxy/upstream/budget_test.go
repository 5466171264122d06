package upstream

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func newBudget(share float64) budget { return budget{share, &spending{start: time.Now()}} }

// ledger is the budget as its definition reads: it keeps every time, and adds up.
type ledger struct {
	share              float64
	requests, attempts []time.Time
}

// within counts the times after now-span, up to now.
func within(times []time.Time, now time.Time, span time.Duration) (n int) {
	for _, t := range times {
		if t.After(now.Add(-span)) && !t.After(now) {
			n++
		}
	}
	return n
}

// allows reports whether one more attempt is within the budget, with the requests of a span.
func (l *ledger) allows(now time.Time, span time.Duration) bool {
	return float64(within(l.attempts, now, window)+1) <= l.share*float64(within(l.requests, now, span))+spare
}

// TestBudget_IsTheLedger runs random schedules of requests and attempts: what the budget allows, the ledger allows,
// and what it denies, the ledger denies as well but for the step that is only in part within the window.
func TestBudget_IsTheLedger(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 14))
			l := &ledger{share: []float64{0, 0.01, 0.2, 0.5, 1}[seed%5]}
			b := newBudget(l.share)
			allowed, denied := 0, 0
			for range 1000 {
				switch random.IntN(8) { // long pauses, short ones, and events at one instant
				case 0:
					time.Sleep(time.Duration(random.Int64N(int64(200 * time.Millisecond))))
				case 1:
					time.Sleep(time.Duration(random.Int64N(int64(time.Millisecond))))
				}
				if random.IntN(300) == 0 {
					time.Sleep(time.Duration(random.Int64N(int64(3 * window))))
				}
				now := time.Now()
				if random.IntN(2) == 0 {
					b.request(now)
					l.requests = append(l.requests, now)
					continue
				}
				if b.attempt(now) {
					if !l.allows(now, window) {
						t.Fatalf("seed %d: an attempt at %v exceeds the budget", seed, now.Sub(b.start))
					}
					l.attempts = append(l.attempts, now)
					allowed++
					continue
				}
				if strict := (&ledger{l.share, l.requests, extended(l.attempts, now)}); strict.allows(now, window-stepLength) {
					t.Fatalf("seed %d: an attempt at %v is within the budget, and was denied", seed, now.Sub(b.start))
				}
				denied++
			}
			if allowed == 0 || denied == 0 && l.share < 0.5 {
				t.Errorf("seed %d: %d allowed and %d denied: the schedule shows nothing", seed, allowed, denied)
			}
		})
	}
}

// extended moves the attempts of the step that is partly outside the window into it.
func extended(attempts []time.Time, now time.Time) []time.Time {
	moved := slices.Clone(attempts)
	for i, at := range moved {
		if at.After(now.Add(-window-stepLength)) && !at.After(now.Add(-window)) {
			moved[i] = now
		}
	}
	return moved
}

func TestBudget_ByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(0.2)
		spend := func() (n int) {
			for b.attempt(time.Now()) {
				n++
			}
			return n
		}
		if n := spend(); n != 30 {
			t.Errorf("without requests %d attempts are allowed, want 30", n)
		}
		for range 100 {
			b.request(time.Now())
		}
		if n := spend(); n != 20 {
			t.Errorf("100 requests allow %d more attempts, want 20", n)
		}
		time.Sleep(window - stepLength)
		if n := spend(); n != 0 {
			t.Errorf("almost 10 s later %d more are allowed, want none", n)
		}
		time.Sleep(2 * stepLength)
		if n := spend(); n != 30 {
			t.Errorf("10 s later %d are allowed, want 30", n)
		}
		time.Sleep(time.Hour)
		after := budget{1, b.spending}
		for range 50 {
			b.request(time.Now())
		}
		if b = after; spend() != 80 {
			t.Error("a reload that changes the share must go on with the counts")
		}
	})
}

// TestBudget_ConcurrentSafe: no request is lost, and no attempt too many is allowed.
func TestBudget_ConcurrentSafe(t *testing.T) {
	b := newBudget(0.5)
	var all sync.WaitGroup
	var allowed atomic.Int64
	now := time.Now()
	for range 8 {
		all.Go(func() {
			for i := range 1000 {
				b.request(now.Add(time.Duration(i) * time.Millisecond))
				if b.attempt(now.Add(time.Duration(i) * time.Millisecond)) {
					allowed.Add(1)
				}
			}
		})
	}
	all.Wait()
	for b.attempt(now.Add(time.Second)) {
		allowed.Add(1)
	}
	if n := allowed.Load(); n != 4030 {
		t.Errorf("8000 requests allowed %d attempts, want 4030", n)
	}
}

// A step that comes late, because its goroutine was not run, does not disturb the step that has its place now.
func TestStep_OfAnOlderTimeIsNotCounted(t *testing.T) {
	var s step
	s.add(300)
	s.add(300 - steps)
	s.add(300)
	if n := count(s.Load(), 300, 300); n != 2 {
		t.Errorf("counted %d, want 2", n)
	}
	s.add(300 + steps)
	if got := fmt.Sprint(count(s.Load(), 300, 300), count(s.Load(), 300, 300+steps)); got != "0 1" {
		t.Errorf("got %s, want the new step alone", got)
	}
}

// BenchmarkBudget: what a request costs, beside a plain atomic counter.
func BenchmarkBudget(b *testing.B) {
	b.Run("impl=budget", func(b *testing.B) {
		budget, now := newBudget(0.2), time.Now()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				budget.request(now)
			}
		})
	})
	b.Run("impl=floor", func(b *testing.B) {
		var n atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				n.Add(1)
			}
		})
	})
}
