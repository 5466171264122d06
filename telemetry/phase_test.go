package telemetry

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestClock_LosesNoTime walks at random through the phases and keeps its own books.
func TestClock_LosesNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(3, 4))
		for range 100 {
			var c clock
			var want [PhaseCount]time.Duration
			begin := time.Now()
			c.start(begin)
			phase := Own
			for range random.IntN(50) {
				d := time.Duration(random.IntN(1e6))
				time.Sleep(d)
				want[phase] += d
				phase = Phase(random.IntN(int(PhaseCount)))
				if at := c.enter(phase); !at.Equal(time.Now()) {
					t.Fatalf("entered at %v, it is %v", at, time.Now())
				}
				if s := c.now(); s.Phase != phase || !s.Since.Equal(time.Now()) {
					t.Fatalf("present is %+v, want %v since now", s, phase)
				}
			}
			c.enter(Own)
			if c.spent != want {
				t.Fatalf("got %v, want %v", c.spent, want)
			}
			if got := total(c.spent); got != time.Since(begin) {
				t.Fatalf("the phases are %v in all, the exchange lived %v", got, time.Since(begin))
			}
		}
	})
}

// A sender and a reader enter phases at once; no time is counted twice or lost.
func TestClock_ConcurrentSafe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c clock
		begin := time.Now()
		c.start(begin)
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for n := range 200 {
					time.Sleep(time.Duration(n*i) * time.Microsecond)
					c.enter(Phase((n + i) % int(PhaseCount)))
					c.now()
				}
			})
		}
		all.Wait()
		end := c.enter(Own)
		if got := total(c.spent); got != end.Sub(begin) {
			t.Errorf("the phases are %v in all, the exchange lived %v", got, end.Sub(begin))
		}
	})
}

func total(spent [PhaseCount]time.Duration) (d time.Duration) {
	for _, s := range spent {
		d += s
	}
	return d
}

func TestPhaseWords(t *testing.T) {
	words := slices.Clone(phaseWords[:])
	slices.Sort(words)
	if len(slices.Compact(words)) != int(PhaseCount) || slices.ContainsFunc(words, func(w string) bool { return w == "" || w != strings.ToLower(w) }) {
		t.Errorf("got %v", phaseWords)
	}
}
