package limiter

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// client is the key of the nth of many clients.
func client(n int) Key {
	return ClientIP(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}))
}

func TestWindowAllow(t *testing.T) {
	const s, ns = time.Second, time.Nanosecond
	tests := map[string]struct {
		max   int
		waits []time.Duration // before each request
		want  Decision        // on the last one
	}{
		"the first request leaves two of three":           {3, []time.Duration{0}, Decision{Limit: 3, Remaining: 2}},
		"the last request of the quota passes":            {2, []time.Duration{0, 10 * s}, Decision{Limit: 2, Reset: 50 * s}},
		"the third waits until the first is a minute old": {2, []time.Duration{0, 10 * s, 10 * s}, Decision{Denied: true, Limit: 2, Reset: 40 * s}},
		"a request counts until the end of its window":    {2, []time.Duration{0, 10 * s, 50 * s}, Decision{Limit: 2, Reset: 10 * s}},
		"a request is denied a nanosecond before that":    {1, []time.Duration{0, 60*s - ns}, Decision{Denied: true, Limit: 1, Reset: ns}},
		"a request passes at that very nanosecond":        {1, []time.Duration{0, 60 * s}, Decision{Limit: 1, Reset: 60 * s}},
		"a denied request uses no quota":                  {1, []time.Duration{0, 30 * s, 30 * s}, Decision{Limit: 1, Reset: 60 * s}},
		"requests at one instant all count":               {2, []time.Duration{0, 0, 0}, Decision{Denied: true, Limit: 2, Reset: 60 * s}},
		"each request counts until its own window ends":   {2, []time.Duration{0, 10 * s, 50 * s, 9 * s}, Decision{Denied: true, Limit: 2, Reset: s}},
		"the whole quota is back after a long rest":       {3, []time.Duration{0, 0, 0, 500 * s}, Decision{Limit: 3, Remaining: 2}},
		"one expired request of three lets one pass":      {3, []time.Duration{0, 30 * s, 20 * s, 10 * s, 0}, Decision{Denied: true, Limit: 3, Reset: 30 * s}},
		"two that end at once are back at once":           {3, []time.Duration{0, 0, 10 * s, 55 * s}, Decision{Limit: 3, Remaining: 1}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, got := NewWindow(Options{Max: tt.max, Per: time.Minute}), Decision{}
				for _, wait := range tt.waits {
					time.Sleep(wait)
					got = w.Allow(client(7), time.Now())
				}
				if got != tt.want {
					t.Errorf("max %d, after waits %v: got %+v, want %+v", tt.max, tt.waits, got, tt.want)
				}
			})
		})
	}
}

func TestOptions_ZeroValueWorks(t *testing.T) {
	w, now := NewWindow(Options{}), time.Now()
	for range 9 {
		w.Allow(client(1), now)
	}
	if got, want := w.Allow(client(1), now), (Decision{Limit: 10, Reset: time.Minute}); got != want {
		t.Errorf("10th: got %+v, want %+v", got, want)
	}
	if !w.Allow(client(1), now.Add(time.Minute-1)).Denied {
		t.Error("11th in a minute: passed")
	}
}

func TestNewWindow_PanicsOnNegativeOptions(t *testing.T) {
	for _, o := range []Options{{Max: -1}, {Per: -1}, {MaxKeys: -1}} {
		t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v: no panic", o)
				}
			}()
			NewWindow(o)
		})
	}
}

func TestAllow_DoesNotLimitTheZeroKey(t *testing.T) {
	w, now := NewWindow(Options{Max: 1}), time.Now()
	for range 3 {
		if got, want := w.Allow(Key{}, now), (Decision{Limit: 1, Remaining: 1}); got != want {
			t.Fatalf("zero Key: got %+v, want %+v", got, want)
		}
	}
	if w.Keys() != 0 {
		t.Errorf("got %d keys, want 0", w.Keys())
	}
}

// twin is a naive Window: it keeps all times that ever passed, per key, and the keys in the order of
// their last requests.
type twin struct {
	opts    Options
	passed  map[Key][]time.Time
	asked   []Key // oldest request first
	evicted uint64
}

func (w *twin) allow(k Key, now time.Time) Decision {
	w.touch(k, now)
	d := Decision{Limit: w.opts.Max}
	if d.Denied = len(w.held(k, now)) >= w.opts.Max; !d.Denied {
		w.passed[k] = append(w.passed[k], now)
	}
	held := w.held(k, now)
	if d.Remaining = w.opts.Max - len(held); d.Remaining == 0 {
		d.Reset = held[0].Add(w.opts.Per).Sub(now)
	}
	return d
}

// touch makes k the key that asked last. If there are too many keys, it forgets the one that asked least
// recently. It keeps keys with their whole quota: nobody could see the difference.
func (w *twin) touch(k Key, now time.Time) {
	i := slices.Index(w.asked, k)
	if i >= 0 {
		w.asked = slices.Delete(w.asked, i, i+1)
	} else if len(w.asked) == w.opts.MaxKeys {
		if len(w.held(w.asked[0], now)) > 0 {
			w.evicted++
		}
		delete(w.passed, w.asked[0])
		w.asked = w.asked[1:]
	}
	w.asked = append(w.asked, k)
}

func (w *twin) held(k Key, now time.Time) (held []time.Time) {
	for _, at := range w.passed[k] {
		if at.Add(w.opts.Per).After(now) {
			held = append(held, at)
		}
	}
	return held
}

// largestInASpan returns the largest number of times in any span [t, t+per).
func largestInASpan(times []time.Time, per time.Duration) (largest int) {
	slices.SortFunc(times, time.Time.Compare)
	for i, from := range times {
		n := 0
		for _, at := range times[i:] {
			if at.Before(from.Add(per)) {
				n++
			}
		}
		largest = max(largest, n)
	}
	return largest
}

// schedule draws random options, and times between requests that suit them: bursts at one instant, steps
// that end exactly on a boundary, and rests in which keys expire.
type schedule struct {
	*rand.Rand
	opts Options
	keys int
}

func newSchedule(seed uint64) schedule {
	r := rand.New(rand.NewPCG(seed, 1))
	pers := []time.Duration{1, 7, time.Millisecond, time.Second, time.Minute, 30 * 24 * time.Hour}
	o := Options{Max: 1 + r.IntN(12), Per: pers[r.IntN(len(pers))], MaxKeys: 1 + r.IntN(60)}
	return schedule{r, o, 1 + r.IntN(40)}
}

func (s schedule) step() time.Duration {
	per := s.opts.Per
	switch s.IntN(10) {
	case 0:
		return per
	case 1:
		return per - 1
	case 2:
		return per + 1
	case 3:
		return per / time.Duration(s.opts.Max)
	case 4:
		if s.IntN(10) == 0 {
			return 2*per + 2*lateness
		}
		return 0
	case 5, 6:
		return time.Duration(s.Int64N(int64(per)/4 + 1))
	default:
		return 0
	}
}

func TestAllow_AgreesWithItsTwin(t *testing.T) {
	for seed := range uint64(150) {
		s := newSchedule(seed)
		w := NewWindow(s.opts)
		dumb := &twin{opts: s.opts, passed: map[Key][]time.Time{}}
		now := time.Now()
		for i := range 1000 {
			now = now.Add(s.step())
			k := client(s.IntN(s.keys))
			if got, want := w.Allow(k, now), dumb.allow(k, now); got != want {
				t.Fatalf("seed %d, %+v, request %d: got %+v, want %+v", seed, s.opts, i, got, want)
			}
		}
		if w.Evicted() != dumb.evicted {
			t.Fatalf("seed %d, %+v: got %d evicted, want %d", seed, s.opts, w.Evicted(), dumb.evicted)
		}
	}
}

// TestAllow_IsExactForLateCallers passes times out of order, as racing callers do. By the times passed,
// no span may hold more than Max requests, even if the key expired in between.
func TestAllow_IsExactForLateCallers(t *testing.T) {
	for seed := range uint64(150) {
		s := newSchedule(seed)
		s.opts.MaxKeys = s.keys // enough for all: a forgotten key may pass again
		w, passed := NewWindow(s.opts), map[Key][]time.Time{}
		now := time.Now()
		for range 500 {
			now = now.Add(s.step())
			at := now
			if s.IntN(2) == 0 {
				at = now.Add(-time.Duration(s.Int64N(int64(min(lateness, 2*s.opts.Per)) + 1)))
			}
			if k := client(s.IntN(s.keys)); !w.Allow(k, at).Denied {
				passed[k] = append(passed[k], at)
			}
		}
		for k, times := range passed {
			if n := largestInASpan(times, s.opts.Per); n > s.opts.Max {
				t.Fatalf("seed %d, %+v: %x passed %d times in a window", seed, s.opts, k, n)
			}
		}
	}
}

func TestAllow_LateCaller(t *testing.T) {
	const s = time.Second
	tests := map[string]struct {
		times []time.Duration // since the start; the last is late
		want  Decision        // on the last one
	}{
		"a late request passes while quota remains":                   {[]time.Duration{10 * s, 10*s - 1}, Decision{Limit: 2, Reset: 60*s + 1}},
		"a late request counts what had passed by its time":           {[]time.Duration{0, s, 61 * s, 61*s - 1}, Decision{Denied: true, Limit: 2, Reset: 1}},
		"a late request is noted as late as the newest":               {[]time.Duration{2 * s, s, 62 * s, 61*s + s/2}, Decision{Denied: true, Limit: 2, Reset: s / 2}},
		"a lateness of more than a second counts as one second":       {[]time.Duration{0, 30 * s, 62 * s, 0}, Decision{Denied: true, Limit: 2, Reset: 29 * s}},
		"a time before the window was made counts as one second late": {[]time.Duration{0, -time.Hour}, Decision{Limit: 2, Reset: 61 * s}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, start, got := NewWindow(Options{Max: 2, Per: time.Minute}), time.Now(), Decision{}
				for _, at := range tt.times {
					got = w.Allow(client(1), start.Add(at))
				}
				if got != tt.want {
					t.Errorf("times %v: got %+v on the last, want %+v", tt.times, got, tt.want)
				}
			})
		})
	}
}

func TestAllow_ConcurrentSafe(t *testing.T) {
	const workers, each, limit, keys = 8, 200, 100, 3
	w := NewWindow(Options{Max: limit, Per: time.Hour})
	var passed [keys]atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				for k := range keys {
					if !w.Allow(client(k), time.Now()).Denied {
						passed[k].Add(1)
					}
				}
			}
		})
	}
	wg.Wait()
	for k := range passed {
		if got := passed[k].Load(); got != limit {
			t.Errorf("client %d: %d of %d requests passed, want %d", k, got, workers*each, limit)
		}
	}
}

// TestKeys_ConcurrentSafe adds keys, lets them expire and evicts them in all shards at once.
func TestKeys_ConcurrentSafe(t *testing.T) {
	const workers, each, limit = 8, 4000, 4096
	w := NewWindow(Options{Max: 1, Per: time.Microsecond, MaxKeys: limit})
	start := time.Now()
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			for i := range each {
				w.Allow(client(worker*each+i), start.Add(time.Duration(i)*time.Millisecond))
				if n := w.Keys(); n > limit {
					t.Errorf("got %d keys, want at most %d", n, limit)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestAllow_FullWindowForgetsTheKeyThatAskedLeastRecently(t *testing.T) {
	w, now := NewWindow(Options{Max: 1, Per: time.Minute, MaxKeys: 3}), time.Now()
	for _, n := range []int{1, 2, 3, 1, 4, 5} { // 1 is denied at its second, and that counts
		w.Allow(client(n), now)
	}
	if w.Keys() != 3 || w.Evicted() != 2 {
		t.Errorf("got %d keys and %d evicted, want 3 and 2", w.Keys(), w.Evicted())
	}
	for n, remembered := range map[int]bool{1: true, 4: true, 5: true} {
		if w.Allow(client(n), now).Denied != remembered {
			t.Errorf("client %d: remembered is not %v", n, remembered)
		}
	}
	if w.Allow(client(2), now).Denied {
		t.Error("client 2 asked least recently and is still remembered")
	}
}

func TestEvicted_CountsOnlyKeysThatHadUsedQuota(t *testing.T) {
	w, now := NewWindow(Options{Max: 1, Per: time.Minute, MaxKeys: 1}), time.Now()
	w.Allow(client(1), now)
	w.Allow(client(2), now.Add(time.Minute)) // 1 has its whole quota again, but is still held
	if w.Keys() != 1 || w.Evicted() != 0 {
		t.Errorf("got %d keys and %d evicted, want 1 and 0", w.Keys(), w.Evicted())
	}
}

func TestAllow_OneKeyIsEnough(t *testing.T) {
	w, now := NewWindow(Options{Max: 2, MaxKeys: 1}), time.Now()
	for range 2 {
		for range 2 {
			if w.Allow(client(1), now).Denied {
				t.Fatal("denied although quota remains")
			}
		}
		if !w.Allow(client(1), now).Denied {
			t.Fatal("a third request passed, the limit is two")
		}
		w.Allow(client(2), now)
	}
}

func TestKeys_StayWithinTheirLimit(t *testing.T) {
	for _, limit := range []int{1, 2, 1000, 1025, 5000, 70_001} {
		w, now := NewWindow(Options{Max: 1, MaxKeys: limit}), time.Now()
		for n := range 2 * limit {
			w.Allow(client(n), now)
		}
		if got := w.Keys(); got > limit || got < limit*9/10 {
			t.Errorf("MaxKeys %d, after twice as many: got %d keys", limit, got)
		}
		if got, want := w.Evicted(), uint64(2*limit-w.Keys()); got != want {
			t.Errorf("MaxKeys %d, after twice as many: got %d evicted, want %d", limit, got, want)
		}
	}
}

// TestKeys_UntouchedOnesExpire is the end of a flood: of very many clients one remains, and its requests
// alone must clean all shards.
func TestKeys_UntouchedOnesExpire(t *testing.T) {
	const flood = 100_000
	w, now := NewWindow(Options{Max: 10, Per: time.Minute}), time.Now()
	for n := range flood {
		w.Allow(client(n), now)
	}
	if got := w.Keys(); got != flood {
		t.Fatalf("after the flood: got %d keys, want %d", got, flood)
	}
	now = now.Add(time.Minute + lateness)
	requests := 0
	for ; w.Keys() > 1 && requests < flood; requests++ {
		w.Allow(client(flood), now)
	}
	if got := w.Keys(); got != 1 {
		t.Errorf("after %d requests of the one that remains: got %d keys, want 1", requests, got)
	}
	if w.Evicted() != 0 {
		t.Errorf("got %d evicted, want 0", w.Evicted())
	}
}

func TestAllow_AllocatesNothingForAKnownKey(t *testing.T) {
	w, now := NewWindow(Options{}), time.Now()
	for range 11 {
		w.Allow(client(1), now)
	}
	if n := testing.AllocsPerRun(1000, func() {
		now = now.Add(time.Second) // passed and denied by turns
		w.Allow(client(1), now)
	}); n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}

// floor is the least work that a limiter can do: a lock and a map.
type floor struct {
	mu   sync.Mutex
	last map[Key]time.Time
}

func (f *floor) allow(k Key, now time.Time) Decision {
	f.mu.Lock()
	f.last[k] = now
	f.mu.Unlock()
	return Decision{}
}

func BenchmarkAllow(b *testing.B) {
	for _, clients := range []int{1, 1000, 900_000} {
		keys := make([]Key, clients)
		for i := range keys {
			keys[i] = client(i)
		}
		rand.Shuffle(clients, func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		for _, impl := range []struct {
			name  string
			allow func(Key, time.Time) Decision
		}{
			{"floor", (&floor{last: map[Key]time.Time{}}).allow},
			{"window", NewWindow(Options{}).Allow},
		} {
			now := time.Now()
			for _, k := range keys {
				impl.allow(k, now)
			}
			b.Run(fmt.Sprintf("clients=%d/impl=%s", clients, impl.name), func(b *testing.B) {
				for i := 0; b.Loop(); i++ {
					impl.allow(keys[i%clients], now)
				}
			})
			b.Run(fmt.Sprintf("parallel/clients=%d/impl=%s", clients, impl.name), func(b *testing.B) {
				b.RunParallel(func(pb *testing.PB) {
					for i := rand.IntN(clients); pb.Next(); i++ {
						impl.allow(keys[i%clients], now)
					}
				})
			})
		}
	}
}
