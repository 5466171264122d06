package lb

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// peakEWMA is the policy peak_ewma, as Finagle has it: of two backends at random, the one that is expected to
// respond sooner. The expectation is the average of the response times, once for each request in flight and once
// more for this one.
func (p *Pool) peakEWMA(s *snapshot, r Request) Pick {
	a, b := p.drawTwo(s)
	if r.Now.IsZero() {
		r.Now = time.Now()
	}
	now := sinceStart(r.Now)
	if b.expected(now) < a.expected(now) {
		a = b
	}
	return Pick{Backend: a.Backend, Reason: InTurn}
}

const (
	memory  = 10 * time.Second // after which a response time counts about a third
	unknown = time.Second      // what each request in flight counts at a backend that has not responded yet
)

// expected returns how long m is expected to take for one more request, in any unit.
func (m *Member) expected(now time.Duration) float64 {
	average, inFlight := m.Backend.average.at(now), float64(m.Backend.load.inFlight())
	if average == 0 { // a new backend gets one request, and no more until it has responded
		return inFlight * float64(unknown)
	}
	return average * (1 + inFlight/float64(m.Weight))
}

// Observe notes that b responded to an attempt, and how long it took. A failure should count as longer than any
// response, or a backend that fails at once would get the most requests.
func (b *Backend) Observe(now time.Time, took time.Duration) {
	b.average.add(sinceStart(now), took)
}

// average is a moving average of durations. A duration above it replaces it at once (the peak); one below it
// counts the more, the longer ago the last one was. While nothing comes, it falls towards 0: a backend that was
// slow once, and is therefore not picked, gets another chance.
type average struct {
	mu    sync.Mutex    // orders writers
	value atomic.Uint64 // bits of a float64, in nanoseconds; 0: nothing came yet
	when  atomic.Int64  // nanoseconds since start, when value was set
}

func (a *average) add(now, took time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	value, t := math.Float64frombits(a.value.Load()), max(1, float64(took))
	if t < value {
		keep := fade(now - time.Duration(a.when.Load()))
		t = value*keep + t*(1-keep)
	}
	a.value.Store(math.Float64bits(t))
	a.when.Store(int64(now))
}

// at returns the average at a time; 0: nothing came yet.
func (a *average) at(now time.Duration) float64 {
	value := math.Float64frombits(a.value.Load())
	if value == 0 {
		return 0
	}
	return value * fade(now-time.Duration(a.when.Load()))
}

// fade returns how much something counts after this time: 1 at once, less later, and never 0.
func fade(after time.Duration) float64 {
	x := float64(after) / float64(memory)
	if x < 0.01 { // nearly always, under load; the exact value costs as much as the rest of a pick
		return 1 - max(0, x)
	}
	return math.Exp(-min(x, 100))
}

var start = time.Now()

// sinceStart returns t as a number.
func sinceStart(t time.Time) time.Duration { return t.Sub(start) }
