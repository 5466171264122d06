package limiter

import (
	"math"
	"runtime"
	"testing"
	"time"
)

// heap returns the bytes in use after a collection.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestMemoryBound fills windows until keys are evicted, and every key uses its whole quota. What is held
// must stay within the bound, and not far below it: a bound that is too high would reject
// configurations that work.
func TestMemoryBound(t *testing.T) {
	tests := map[string]Options{
		"a limit of one":        {Max: 1, MaxKeys: 15_000},
		"a shard just over 2^n": {Max: 1, MaxKeys: 16 * 1024},
		"the default limit":     {Max: 10, MaxKeys: 15_000},
		"an awkward number":     {Max: 193, MaxKeys: 1_000},
		"large rings":           {Max: 4097, MaxKeys: 50},
	}
	for name, o := range tests {
		t.Run(name, func(t *testing.T) {
			before, now := heap(), time.Now()
			w := NewWindow(o)
			for n := range 2 * o.MaxKeys {
				now = now.Add(time.Nanosecond)
				for range o.Max + 1 {
					w.Allow(client(n), now)
				}
			}
			got, bound := heap()-before, o.MemoryBound()
			runtime.KeepAlive(w)
			t.Logf("%d keys: %d bytes, %d a key, bound %d", w.Keys(), got, got/int64(w.Keys()), bound)
			if got > bound || got < bound*6/10 {
				t.Errorf("%+v: got %d bytes, want 60 to 100 %% of the bound %d", o, got, bound)
			}
		})
	}
}

func TestMemoryIsGivenBack(t *testing.T) {
	const flood = 30_000
	before, now := heap(), time.Now()
	w := NewWindow(Options{})
	for n := range flood {
		w.Allow(client(n), now)
	}
	full := heap() - before
	for range flood {
		w.Allow(client(0), now.Add(time.Hour))
	}
	left := heap() - before
	runtime.KeepAlive(w)
	if left > full/50 {
		t.Errorf("%d bytes with %d keys, still %d with %d", full, flood, left, w.Keys())
	}
}

func TestMemoryBound_OfTheDefaults(t *testing.T) {
	if got := (Options{}).MemoryBound(); got > 200<<20 {
		t.Errorf("a million keys with a limit of 10: got %d MiB, want at most 200", got>>20)
	}
}

func TestMemoryBound_SaysSoWhenItIsTooLargeToSay(t *testing.T) {
	for _, o := range []Options{{Max: math.MaxInt, MaxKeys: 1}, {Max: 1, MaxKeys: math.MaxInt}, {Max: math.MaxInt, MaxKeys: math.MaxInt}} {
		if got := o.MemoryBound(); got != math.MaxInt64 {
			t.Errorf("%+v: got %d, want %d", o, got, int64(math.MaxInt64))
		}
	}
}

// BenchmarkMemory has a million keys use a quota of ten, and reports the bytes per key. The floor is the
// naive limiter, a map of slices, which does not know its oldest key.
func BenchmarkMemory(b *testing.B) {
	const keys, max = 1_000_000, 10
	for name, fill := range map[string]func(now time.Time) any{
		"window": func(now time.Time) any {
			w := NewWindow(Options{Max: max, MaxKeys: keys * 11 / 10})
			for n := range keys * max {
				w.Allow(client(n%keys), now)
			}
			return w
		},
		"floor": func(now time.Time) any {
			m := map[Key][]time.Time{}
			for n := range keys * max {
				k := client(n % keys)
				m[k] = append(m[k], now)
			}
			return m
		},
	} {
		b.Run("impl="+name, func(b *testing.B) {
			for b.Loop() {
				before := heap()
				held := fill(time.Now())
				b.ReportMetric(float64(heap()-before)/keys, "B/key")
				runtime.KeepAlive(held)
			}
		})
	}
}
