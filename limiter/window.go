// Package limiter answers whether a key may pass now, and how long until it may. A
// [Window] is exact: in no span of its length does a key pass more often than allowed,
// and its memory has a bound that follows from its options ([Options.MemoryBound]).
// It must not know HTTP, OpenTelemetry, or any other package of pace.
package limiter

import (
	"cmp"
	"hash/maphash"
	"math/bits"
	"time"
)

// Options configures a Window; the zero value works. Negative values make NewWindow panic.
type Options struct {
	Max     int           // places in a window, one a request; 0: 10
	Per     time.Duration // length of the window; 0: 1 min
	MaxKeys int           // keys remembered at once; 0: 1,000,000
}

func (o Options) withDefaults() Options {
	return Options{
		Max:     cmp.Or(o.Max, 10),
		Per:     cmp.Or(o.Per, time.Minute),
		MaxKeys: cmp.Or(o.MaxKeys, 1_000_000),
	}
}

// Decision is the limiter's answer to one request.
type Decision struct {
	Denied    bool
	Limit     int           // places in a window
	Remaining int           // places left after this request, never negative
	Reset     time.Duration // until the next place is free; 0: one is free now
}

// Window is an exact sliding window per key: a place taken at t is free again at t+Per, not
// a nanosecond sooner or later. It is safe for concurrent use and has no goroutine.
type Window struct {
	opts   Options
	start  time.Time
	seed   maphash.Seed // of this process alone, so that no client can aim at a shard
	shards []shard      // 2^n; each holds its share of MaxKeys
}

// NewWindow makes a window in which nobody has taken a place.
func NewWindow(o Options) *Window {
	o = o.withDefaults()
	if o.Max < 0 || o.Per < 0 || o.MaxKeys < 0 {
		panic("pace: BUG: limiter options must not be negative")
	}
	w := &Window{opts: o, start: time.Now(), seed: maphash.MakeSeed(), shards: make([]shard, o.shards())}
	for i := range w.shards {
		s := &w.shards[i]
		s.seed, s.opts = w.seed, &w.opts
		s.limit = (o.MaxKeys + i) / len(w.shards) // adds up to MaxKeys over all i
		s.resize(1)
	}
	return w
}

// shards is the number of shards: 64, or fewer if one would hold less than 1024 keys,
// because the order in which keys leave a full window is exact only within a shard.
func (o Options) shards() int {
	most := min(max(o.MaxKeys/1024, 1), 64)
	return 1 << (bits.Len(uint(most)) - 1)
}

// Allow takes one place for k if one is left; a denied request takes none. now is the time
// of the request, from time.Now.
//
// Callers may race from reading now to calling Allow: judged by the times they pass, at
// most Max requests of a key pass in any span of length Per, in whatever order they come.
// A now more than a second behind the latest one counts as one second behind.
//
// When MaxKeys are held, the key that asked least recently is forgotten and starts again
// with all its places: the limit fails open for it, and [Window.Evicted] counts it if it
// held any. A key that goes on asking, passed or denied, is not the one.
func (w *Window) Allow(k Key, now time.Time) Decision {
	if k == (Key{}) {
		return Decision{Limit: w.opts.Max, Remaining: w.opts.Max}
	}
	hash := maphash.Comparable(w.seed, k)
	s := &w.shards[hash>>32&uint64(len(w.shards)-1)] // the low bits choose the chain
	at := now.Sub(w.start)

	s.mu.Lock()
	d := s.allow(k, hash, at)
	s.allowed++
	turn := s.allowed
	s.mu.Unlock()

	if turn%helpEvery == 0 {
		w.help(turn/helpEvery, at)
	}
	return d
}

// helpEvery is how many requests a shard serves until it helps to let keys leave. Each help
// lets go of up to four keys a request, and a request brings one at most.
const helpEvery = 16

// help lets keys leave a shard, in turn every one: not the caller's alone, since after a flood
// of addresses the few clients that remain would keep only their own shards clean.
func (w *Window) help(turn uint64, now time.Duration) {
	s := &w.shards[turn%uint64(len(w.shards))]
	if !s.mu.TryLock() {
		return // its turn comes again
	}
	defer s.mu.Unlock()
	s.latest = max(s.latest, now)
	s.expire(4 * helpEvery)
}

// Keys is the number of keys held now. A key leaves a second after its last place is free
// again, or as soon after that as requests of whatever key give the occasion.
func (w *Window) Keys() (n int) {
	for i := range w.shards {
		s := &w.shards[i]
		s.mu.Lock()
		n += len(s.entries) - 1
		s.mu.Unlock()
	}
	return n
}

// Evicted counts the keys that had to leave while they held places, because MaxKeys was
// reached.
func (w *Window) Evicted() (n uint64) {
	for i := range w.shards {
		s := &w.shards[i]
		s.mu.Lock()
		n += s.evicted
		s.mu.Unlock()
	}
	return n
}
