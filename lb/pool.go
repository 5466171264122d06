// Package lb chooses the backend for the next attempt, and gives the reason. The backends of a pool are one
// immutable snapshot, which [Pool.Set] replaces by another. So [Pool.Pick] takes no lock and allocates nothing.
// How a backend is chosen is the pool's [Policy], each in a file of its own.
//
// The package must not know HTTP, addresses, OpenTelemetry, or any other package of pace.
package lb

import "sync/atomic"

// Backend is one backend. Its pointer is its identity: a backend that stays in a pool when others come or go, or
// that goes on in another pool, is the same Backend, with the same load.
type Backend struct {
	Addr  string // what people call it; the policy hash goes by it
	Owner any    // what the caller knows of it; lb does not read it

	load    load
	average average // of its response times
}

// Begin notes that an attempt at b begins. One End must follow.
func (b *Backend) Begin() { b.load.v.Add(1) }

// TryBegin is Begin, unless limit attempts are in flight already. It reports whether the attempt may begin. However
// many call it at once, no more than limit of them may. A limit of 0 is none.
func (b *Backend) TryBegin(limit int64) bool {
	if limit == 0 {
		b.Begin()
		return true
	}
	for {
		v := b.load.v.Load()
		if int64(int32(v)) >= limit { // under overload, this is all that a look at a backend costs
			return false
		}
		if b.load.v.CompareAndSwap(v, v+1) {
			return true
		}
	}
}

// End notes that b has nothing more to do for an attempt.
func (b *Backend) End() { b.load.v.Add(oneEnded - 1) }

// InFlight returns how many attempts have begun and not ended.
func (b *Backend) InFlight() int { return int(b.load.inFlight()) }

// Ended returns how many attempts have ended, modulo 2^32.
func (b *Backend) Ended() uint32 { return uint32(b.load.v.Load() >> 32) }

// load is the number of attempts in flight in its lower half, and the number of those that have ended in its upper
// half: so one atomic addition notes both.
type load struct{ v atomic.Int64 }

const oneEnded = 1 << 32

func (l *load) inFlight() int64 { return int64(int32(l.v.Load())) }

// Member is a backend in a pool.
type Member struct {
	Backend *Backend
	Weight  int // its share of the requests is Weight of the sum of all weights; from 1
}

// Pool is a list of backends to pick from. The zero value is an empty pool with the first of [Policies].
type Pool struct {
	Policy *Policy // nil: the first of Policies; set it before Set

	state   atomic.Pointer[snapshot] // nil: empty
	numbers func() uint64            // random ones; nil: those of math/rand. A simulation needs the same each time
	first   atomic.Uint64            // first attempts so far, for round_robin
	further atomic.Uint64            // further attempts so far
}

// snapshot is the members of a pool. It is made once and only read.
type snapshot struct {
	members  []Member
	backends []*Backend // of members
	weights  int        // the sum
	turns    []int32    // indexes into members: the order of turns, repeated forever
	slotOf   []int32    // indexes into members: where each slot of the policy hash goes; nil for other policies
}

// NewPool returns a pool of these members. It keeps the slice, so do not change it.
func NewPool(members []Member) *Pool {
	p := &Pool{}
	p.Set(members)
	return p
}

func (p *Pool) policy() *Policy {
	if p.Policy == nil {
		return RoundRobin
	}
	return p.Policy
}

// Set replaces all members. Picks in progress see either the old members or the new ones. The pool keeps the
// slice, so do not change it.
func (p *Pool) Set(members []Member) {
	s := &snapshot{members: members, backends: make([]*Backend, len(members)), turns: turns(members)}
	for i, m := range members {
		s.backends[i] = m.Backend
		s.weights += m.Weight
	}
	if p.policy() == Hash && len(members) > 0 {
		s.slotOf = s.slots(p.state.Load())
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
