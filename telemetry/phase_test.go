package telemetry

import (
	"context"
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
			var want [phaseCount]time.Duration
			begin := time.Now()
			c.start(begin)
			now := Own
			for range random.IntN(50) {
				d := time.Duration(random.IntN(1e6))
				time.Sleep(d)
				want[now] += d
				now = Phase(random.IntN(int(phaseCount)))
				if at := c.enter(now); !at.Equal(time.Now()) {
					t.Fatalf("entered at %v, it is %v", at, time.Now())
				}
				if s := c.state(); s.phase != now || !s.since.Equal(time.Now()) {
					t.Fatalf("state is %+v, want %v since now", s, now)
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
					c.enter(Phase((n + i) % int(phaseCount)))
					c.state()
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

func total(spent [phaseCount]time.Duration) (d time.Duration) {
	for _, s := range spent {
		d += s
	}
	return d
}

// The record's phases add up to its duration, in the histograms as in the line.
func TestPhases_AddUpToTheDuration(t *testing.T) {
	b := newBench(t, nil)
	synctest.Test(t, func(t *testing.T) {
		b.request(nil, func(_ context.Context, r *Record) {
			for p := range phaseCount {
				time.Sleep(time.Duration(p+1) * time.Millisecond)
				r.Enter(p)
			}
			time.Sleep(time.Millisecond)
			r.Outcome, r.Status = OK, 200
			r.End()
		})
	})
	metrics := scrape(t, b.Telemetry)
	b.close()
	line, sum := b.logged(t, "request")[0], 0.0
	for p, word := range phaseWords {
		want := float64(p + 2)
		if p == int(phaseCount)-1 {
			want = 1
		}
		if p == int(Own) { // also before the first phase
			want += 1
		}
		if got := line[word+"_ms"]; got != want {
			t.Errorf("%s: got %v ms, want %v", word, got, want)
		}
		sum += line[word+"_ms"].(float64)
		if Phase(p) != Own {
			if n, ok := value(metrics[MetricPhaseDuration], LabelPhase, word); n != 1 || !ok {
				t.Errorf("%s: %v in the histogram, %v", word, n, ok)
			}
		}
	}
	if line["duration_ms"] != sum {
		t.Errorf("the phases are %v ms, the request took %v", sum, line["duration_ms"])
	}
}

func TestServerTiming(t *testing.T) {
	b := newBench(t, nil)
	synctest.Test(t, func(t *testing.T) {
		b.request(nil, func(_ context.Context, r *Record) {
			time.Sleep(time.Millisecond)
			r.Enter(Connect)
			time.Sleep(1500 * time.Microsecond)
			r.Enter(Send)
			time.Sleep(999 * time.Nanosecond) // less than is shown
			r.Enter(Wait)
			time.Sleep(2 * time.Second)
			got := r.ServerTiming()
			if want := "own;dur=1, connect;dur=1.5, wait;dur=2000"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			r.End()
		})
	})
}

func TestPhaseWords(t *testing.T) {
	words := slices.Clone(phaseWords[:])
	slices.Sort(words)
	if len(slices.Compact(words)) != int(phaseCount) || slices.ContainsFunc(words, func(w string) bool { return w == "" || w != strings.ToLower(w) }) {
		t.Errorf("got %v", phaseWords)
	}
}
