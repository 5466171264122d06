package limiter

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"time"
)

// lateness is how much earlier a caller's time may be than the latest one seen. A key is kept that much
// longer than its quota needs; otherwise a late caller would find the quota unused.
const lateness = time.Second

// shard holds a part of the keys in its own hash table. Go's map never shrinks, promises no size, and
// would hash the key a second time. The entries need a list by age in any case.
type shard struct {
	opts  *Options
	seed  maphash.Seed
	limit int // len(entries)-1 <= limit

	mu      sync.Mutex    // guards all below
	entries []entry       // dense; entries[0] holds no key: it anchors the list by age
	chains  []uint32      // len 2^n; index of the first entry of each hash chain, 0: none
	latest  time.Duration // the latest time that a caller passed
	allowed uint64        // calls of allow
	evicted uint64        // keys that were removed although they had used some of their quota

	_ [24]byte // pads to 128 bytes, so that no two shards share a cache line
}

// entry is a key and its quota. It is linked by index into two lists: the circular list by age, which
// goes through the anchor, and the hash chain, which ends at 0.
type entry struct {
	key          Key
	quota        quota
	older, newer uint32 // by last request; the anchor's newer is the oldest key
	chained      uint32 // the next entry of the hash chain
}

// allow is Window.Allow, for a caller that holds mu. now counts from the window's start.
func (s *shard) allow(k Key, hash uint64, now time.Duration) Decision {
	s.latest = max(s.latest, now)
	i := s.find(k, hash)
	if i == 0 {
		i = s.add(k, hash)
	} else {
		s.unlink(i)
	}
	s.linkNewest(i)
	s.allowed++
	return s.entries[i].quota.take(max(now, s.latest-lateness), s.opts.Max, s.opts.Per)
}

// wouldDeny reports whether allow would deny the request, for a caller that holds mu. It changes nothing.
func (s *shard) wouldDeny(k Key, hash uint64, now time.Duration) bool {
	i := s.find(k, hash)
	return i != 0 && s.entries[i].quota.exhausted(max(now, s.latest-lateness), s.opts.Max, s.opts.Per)
}

// find returns the index of k's entry, 0 if there is none.
func (s *shard) find(k Key, hash uint64) uint32 {
	i := *s.chain(hash)
	for i != 0 && s.entries[i].key != k {
		i = s.entries[i].chained
	}
	return i
}

// chain returns the start of the hash chain that keys of this hash are in.
func (s *shard) chain(hash uint64) *uint32 {
	return &s.chains[hash&uint64(len(s.chains)-1)]
}

// expire removes at most n keys that have their whole quota again, the oldest first.
func (s *shard) expire(n int) {
	for ; n > 0 && len(s.entries) > 1; n-- {
		oldest := s.entries[0].newer
		if s.entries[oldest].quota.newest()+s.opts.Per > s.latest-lateness {
			return
		}
		s.remove(oldest)
	}
}

// add makes an entry for k, which is not in the list by age yet. A full shard removes its oldest entry.
func (s *shard) add(k Key, hash uint64) uint32 {
	if len(s.entries)-1 == s.limit {
		oldest := s.entries[0].newer
		if s.entries[oldest].quota.newest()+s.opts.Per > s.latest {
			s.evicted++
		}
		s.remove(oldest)
	}
	if len(s.entries) == cap(s.entries) {
		s.resize(min(2*cap(s.entries), s.limit+1))
	}
	c, i := s.chain(hash), uint32(len(s.entries))
	s.entries = append(s.entries, entry{key: k, chained: *c})
	*c = i
	return i
}

// remove forgets the key of entry i, and moves the last entry to index i.
func (s *shard) remove(i uint32) {
	s.unlink(i)
	*s.chainedTo(i) = s.entries[i].chained
	last := uint32(len(s.entries) - 1)
	if i != last {
		*s.chainedTo(last) = i
		e := s.entries[last]
		s.entries[i] = e
		s.entries[e.older].newer, s.entries[e.newer].older = i, i
	}
	s.entries[last] = entry{} // frees its quota
	s.entries = s.entries[:last]
	if len(s.entries) < cap(s.entries)/4 {
		s.resize(cap(s.entries) / 2)
	}
}

// chainedTo returns the link to entry i in its hash chain.
func (s *shard) chainedTo(i uint32) *uint32 {
	link := s.chain(maphash.Comparable(s.seed, s.entries[i].key))
	for *link != i {
		link = &s.entries[*link].chained
	}
	return link
}

// unlink takes entry i out of the list by age.
func (s *shard) unlink(i uint32) {
	e := &s.entries[i]
	s.entries[e.older].newer, s.entries[e.newer].older = e.newer, e.older
}

// linkNewest adds entry i to the list by age, as the newest.
func (s *shard) linkNewest(i uint32) {
	was := s.entries[0].older
	s.entries[i].older, s.entries[i].newer = was, 0
	s.entries[was].newer, s.entries[0].older = i, i
}

// resize moves the entries to a table for n entries, the anchor included.
func (s *shard) resize(n int) {
	entries := make([]entry, max(len(s.entries), 1), n)
	copy(entries, s.entries)
	s.entries, s.chains = entries, make([]uint32, 1<<bits.Len(uint(n-1)))
	for i := 1; i < len(entries); i++ {
		c := s.chain(maphash.Comparable(s.seed, entries[i].key))
		entries[i].chained, *c = *c, uint32(i)
	}
}
