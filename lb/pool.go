// Package lb chooses the backend for the next attempt, and gives the reason. The backends of a pool are one
// immutable snapshot, which [Pool.Set] replaces by another. So [Pool.Pick] takes no lock and allocates nothing.
// The package must not know HTTP, addresses, OpenTelemetry, or any other package of pace.
package lb

import (
	"slices"
	"sync/atomic"
)

// Backend is one backend. Its pointer is its identity: a backend that stays in a pool when others come or go, or
// that goes on in another pool, is the same Backend.
type Backend struct {
	Addr  string // what people call it; lb does not read it
	Owner any    // what the caller knows of it; lb does not read it
}

// Member is a backend in a pool.
type Member struct {
	Backend *Backend
	Weight  int // its share of the requests is Weight of the sum of all weights; from 1
}

// Pool is a list of backends that are picked in turn. The zero value is an empty pool.
type Pool struct {
	state   atomic.Pointer[snapshot] // nil: empty
	first   atomic.Uint64            // first attempts so far
	further atomic.Uint64            // further attempts so far
}

// snapshot is the members of a pool. It is made once and only read.
type snapshot struct {
	members  []Member
	backends []*Backend // of members
	turns    []*Backend // the order of first attempts, repeated forever
}

// NewPool returns a pool of these members. It keeps the slice, so do not change it.
func NewPool(members []Member) *Pool {
	p := &Pool{}
	p.Set(members)
	return p
}

// Set replaces all members. Picks in progress see either the old members or the new ones. The pool keeps the
// slice, so do not change it.
func (p *Pool) Set(members []Member) {
	s := &snapshot{members: members, backends: make([]*Backend, len(members)), turns: turns(members)}
	for i, m := range members {
		s.backends[i] = m.Backend
	}
	p.state.Store(s)
}

// Backends returns the pool's backends, in the order given. Do not change the slice.
func (p *Pool) Backends() []*Backend {
	s := p.state.Load()
	if s == nil {
		return nil
	}
	return s.backends
}

// Members returns the backends with their weights, in the order given. Do not change the slice.
func (p *Pool) Members() []Member {
	s := p.state.Load()
	if s == nil {
		return nil
	}
	return s.members
}

// Pick chooses a backend that is not in tried. tried holds the backends that this exchange has tried
// already; it is nil for the first attempt. Pick is safe for concurrent use.
//
// First attempts go to the backends in turn, as turns says: of as many consecutive ones as all weights are in
// sum, each backend gets its weight. Further attempts go to the backends that remain, each with its weight,
// with a separate counter. With one counter for both, the attempt after a dead backend would use the turn of a
// live one: with two backends, every exchange would start at the dead one.
func (p *Pool) Pick(tried []*Backend) Pick {
	s := p.state.Load()
	switch {
	case s == nil || len(s.members) == 0:
		return Pick{Reason: Empty}
	case len(tried) == 0:
		return Pick{Backend: s.turns[(p.first.Add(1)-1)%uint64(len(s.turns))], Reason: InTurn}
	}
	remaining := s.remaining(tried)
	if remaining == 0 {
		return Pick{Reason: AllTried, Passed: len(s.members)}
	}
	return s.pickRemaining(tried, int((p.further.Add(1)-1)%uint64(remaining)))
}

// remaining returns the sum of the weights of the backends that are not in tried.
func (s *snapshot) remaining(tried []*Backend) (weights int) {
	for _, m := range s.members {
		if !slices.Contains(tried, m.Backend) {
			weights += m.Weight
		}
	}
	return weights
}

// pickRemaining chooses among the backends that are not in tried: the one at which the sum of their weights, in
// order, exceeds skip.
func (s *snapshot) pickRemaining(tried []*Backend, skip int) Pick {
	passed := 0
	for _, m := range s.members {
		switch {
		case slices.Contains(tried, m.Backend):
			passed++
		case skip < m.Weight:
			return Pick{Backend: m.Backend, Reason: InTurn, Passed: passed}
		default:
			skip -= m.Weight
		}
	}
	panic("pace: BUG: fewer backends remain than were counted")
}
