// Package limiter decides whether a request of a key may pass now, and if not, when the next one may.
// A [Window] is exact: a key never passes more often than its limit in any span of the window's length.
// A [Group] is several windows that let a request pass together, or not at all.
// Its memory has a bound that follows from its options ([Options.MemoryBound]).
// It must not know HTTP, OpenTelemetry, or any other package of pace.
package limiter

import (
	"cmp"
	"hash/maphash"
	"math/bits"
	"sync/atomic"
	"time"
)

// Options configures a Window; the zero value works. Negative values make NewWindow panic.
type Options struct {
	Max     int           // the limit: requests of one key in a window; 0: 10
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

// Decision says whether one request passes, and what its key has left.
type Decision struct {
	Denied    bool
	Limit     int           // requests of one key in a window
	Remaining int           // requests of the quota that remain after this one, never negative
	Reset     time.Duration // until the next request may pass; 0: one may pass now
}

// Window is an exact sliding window per key: a request that passed at t counts against the quota until
// t+Per, not a nanosecond less or more. It is safe for concurrent use and has no goroutine.
type Window struct {
	id     uint64 // in which order a Group locks
	opts   Options
	start  time.Time
	seed   maphash.Seed // differs in each process, so that no client can aim at one shard
	shards []shard      // 2^n; each holds its share of MaxKeys
}

var windowIDs atomic.Uint64

// NewWindow returns a window in which every key has its whole quota.
func NewWindow(o Options) *Window {
	o = o.withDefaults()
	if o.Max < 0 || o.Per < 0 || o.MaxKeys < 0 {
		panic("pace: BUG: limiter options must not be negative")
	}
	w := &Window{id: windowIDs.Add(1), opts: o, start: time.Now(), seed: maphash.MakeSeed(), shards: make([]shard, o.shardCount())}
	for i := range w.shards {
		s := &w.shards[i]
		s.seed, s.opts = w.seed, &w.opts
		s.limit = (o.MaxKeys + i) / len(w.shards) // adds up to MaxKeys over all i
		s.resize(1)
	}
	return w
}

// shardCount returns the number of shards: 64, or fewer if a shard would hold fewer than 1024 keys. Keys are
// removed in the exact order of their last requests only within a shard.
func (o Options) shardCount() int {
	limit := min(max(o.MaxKeys/1024, 1), 64)
	return 1 << (bits.Len(uint(limit)) - 1) // a power of two
}

// Allow uses one request of k's quota, if one remains. A denied request uses none. now is the time of
// the request, from time.Now.
//
// Callers may race between time.Now and Allow, so times may arrive out of order. Still, at most Max
// requests of a key pass in any span of length Per, measured by the times that callers pass. A time more
// than a second earlier than the latest one counts as one second earlier.
//
// When MaxKeys are held, Allow forgets the key whose last request, passed or denied, is the oldest.
// That key starts again with its whole quota, so for it the limit fails open. [Window.Evicted] counts
// the key if it had used some of its quota.
func (w *Window) Allow(k Key, now time.Time) Decision {
	if k == (Key{}) {
		return w.unlimited()
	}
	s, hash := w.shard(k)
	at := now.Sub(w.start)

	s.mu.Lock()
	d := s.allow(k, hash, at)
	turn := s.allowed
	s.mu.Unlock()

	w.takeTurn(turn, at)
	return d
}

// unlimited returns the decision for a request without a key, which no quota counts.
func (w *Window) unlimited() Decision { return Decision{Limit: w.opts.Max, Remaining: w.opts.Max} }

// shard returns the shard that holds k, and k's hash.
func (w *Window) shard(k Key) (s *shard, hash uint64) {
	hash = maphash.Comparable(w.seed, k)
	return &w.shards[hash>>32&uint64(len(w.shards)-1)], hash // the low bits choose the chain
}

// helpEvery is how many requests of a shard cause one call of help. A call removes up to four keys for
// each of these requests, and a request adds at most one, so removing is faster than adding.
const helpEvery = 16

// takeTurn calls help after every helpEvery requests of a shard; turn counts them.
func (w *Window) takeTurn(turn uint64, now time.Duration) {
	if turn%helpEvery == 0 {
		w.help(turn/helpEvery, now)
	}
}

// help removes expired keys from one shard; successive calls take the shards in turn. If each caller
// cleaned its own shard only, the other shards would stay full after a flood of addresses.
func (w *Window) help(turn uint64, now time.Duration) {
	s := &w.shards[turn%uint64(len(w.shards))]
	if !s.mu.TryLock() {
		return // another call will come for this shard
	}
	defer s.mu.Unlock()
	s.latest = max(s.latest, now)
	s.expire(4 * helpEvery)
}

// Keys returns the number of keys held now. A key expires one second after it has its whole quota again.
// Later requests, of any key, then remove it.
func (w *Window) Keys() (n int) {
	for i := range w.shards {
		s := &w.shards[i]
		s.mu.Lock()
		n += len(s.entries) - 1
		s.mu.Unlock()
	}
	return n
}

// Evicted returns how many keys were forgotten because MaxKeys were held, although they had used some of
// their quota.
func (w *Window) Evicted() (n uint64) {
	for i := range w.shards {
		s := &w.shards[i]
		s.mu.Lock()
		n += s.evicted
		s.mu.Unlock()
	}
	return n
}
