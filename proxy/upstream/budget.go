package upstream

import (
	"sync"
	"sync/atomic"
	"time"
)

// budget bounds the attempts that a request makes after its first: when one is about to be made, those of the last
// 10 s, with it, are at most share × the requests of the last 10 s + 30. So the load on backends that fail grows by
// a known share at most, however many requests fail, and an upstream with few requests still has 3 a second.
//
// Time is divided into steps of 100 ms. Where a step is only in part within the last 10 s, its requests do not
// count and its attempts do: the bound holds exactly, and at most 100 ms of requests are lost to it.
type budget struct {
	share float64
	*spending
}

// spending is what a budget counts. It outlives a reload that changes the share.
type spending struct {
	start    time.Time
	requests [steps]step // an ordinary request only adds one

	mu       sync.Mutex    // guards what follows
	attempts [steps]uint64 // as requests
	latest   uint32        // number of the last step in which an attempt was asked for
}

const (
	stepLength = 100 * time.Millisecond
	window     = 10 * time.Second
	steps      = 128 // more than a window has, and a power of two
	spare      = 30  // attempts in a window that need no requests: 3 a second
)

// step counts in one step of time: its number in the upper half, and the count in the lower one. The number says
// whether the count is of this step, or of an old one in the same place.
type step struct{ atomic.Uint64 }

// add counts one more in the step with this number. Who comes after a later step has taken the place, which is
// more than a window later, is not counted.
func (s *step) add(number uint32) {
	for {
		old := s.Load()
		if uint32(old>>32) > number || s.CompareAndSwap(old, oneMore(old, number)) {
			return
		}
	}
}

func oneMore(old uint64, number uint32) uint64 {
	if uint32(old>>32) != number {
		old = uint64(number) << 32
	}
	return old + 1
}

// count returns the count of old if it is of a step from first to last.
func count(old uint64, first, last uint32) int {
	if n := uint32(old >> 32); n < first || n > last {
		return 0
	}
	return int(uint32(old))
}

// number returns the number of the step of a time. The first is more than a window, so that none is negative.
func (s *spending) number(now time.Time) uint32 {
	return steps + uint32(max(0, now.Sub(s.start))/stepLength)
}

// request counts a request that begins. It is safe for concurrent use, and so is attempt.
func (s *spending) request(now time.Time) {
	n := s.number(now)
	s.requests[n%steps].add(n)
}

// attempt counts an attempt that is about to be made, or returns false if that would exceed the budget.
func (b budget) attempt(now time.Time) bool {
	s := b.spending
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latest = max(s.latest, s.number(now)) // who waited for the lock has an older time
	first := s.latest - uint32(window/stepLength)
	requests, attempts := 0, 1
	for i := range s.attempts {
		requests += count(s.requests[i].Load(), first+1, s.latest)
		attempts += count(s.attempts[i], first, s.latest)
	}
	if float64(attempts) > b.share*float64(requests)+spare {
		return false
	}
	place := &s.attempts[s.latest%steps]
	*place = oneMore(*place, s.latest)
	return true
}
