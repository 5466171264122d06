package lb

import (
	"slices"
	"time"
)

// Request is what a pick is for. The zero value is a first attempt without a key.
type Request struct {
	Tried []*Backend // that this exchange has tried already; nil for the first attempt
	Key   uint64     // of the policy hash, as [Key] returns it; 0: none
	Now   time.Time  // for the policy peak_ewma; zero: it is asked for

	// Reserve reports whether a backend may get the request, and reserves room for it there. Pick calls it until one
	// backend has room. nil: all have.
	Reserve func(*Backend) bool
}

// reserves reports whether b gets the request.
func (r *Request) reserves(b *Backend) bool { return r.Reserve == nil || r.Reserve(b) }

// Pick is one choice and its reason.
type Pick struct {
	Backend *Backend // nil: there is none to pick, and Reason says why
	Reason  Reason
	Passed  int // backends that were passed over because this exchange had tried them, or they had no room
}

// Reason says why this backend was picked, or none.
type Reason uint8

const (
	InTurn   Reason = iota // the policy's first choice, or the next of those that remain
	Overflow               // the policy's choice, or the key's own backend, has too many requests in flight
	NoKey                  // the request has no key, so a backend was picked at random
	AllTried               // no backend: this exchange has tried them all
	AllFull                // no backend: none of those that remain has room
	Empty                  // no backend: the pool has none
)

var reasons = [...]string{InTurn: "in_turn", Overflow: "overflow", NoKey: "no_key", AllTried: "all_tried", AllFull: "all_full", Empty: "empty"}

// String returns the reason as one word for logs.
func (r Reason) String() string { return reasons[r] }

// Pick chooses a backend that is not in r.Tried. It is safe for concurrent use.
//
// The first attempt of a request goes where the pool's policy says. Further attempts take turns among the
// backends that remain, each with its weight, whatever the policy is: they are few, and a backend that has just
// failed says nothing about the others. So does a request for which the chosen backend has no room.
func (p *Pool) Pick(r Request) Pick {
	s := p.state.Load()
	if s == nil || len(s.members) == 0 {
		return Pick{Reason: Empty}
	}
	if len(r.Tried) == 0 {
		pick := p.policy().choose(p, s, r)
		if r.reserves(pick.Backend) {
			return pick
		}
	}
	remaining := s.remaining(r.Tried)
	if remaining == 0 {
		return Pick{Reason: AllTried, Passed: len(s.members)}
	}
	pick := s.pickRemaining(r.Tried, int((p.further.Add(1)-1)%uint64(remaining)))
	if !r.reserves(pick.Backend) {
		return s.pickWithRoom(&r, pick.Backend)
	}
	if len(r.Tried) == 0 {
		pick.Reason = Overflow
	}
	return pick
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

// pickWithRoom chooses the first backend after full that is not tried and has room. It asks each of them once: the
// cost of a request that nobody takes grows with the number of backends, and with nothing else.
func (s *snapshot) pickWithRoom(r *Request, full *Backend) Pick {
	at, n := slices.Index(s.backends, full), len(s.backends)
	for i := 1; i < n; i++ {
		b := s.backends[(at+i)%n]
		if !slices.Contains(r.Tried, b) && r.reserves(b) {
			return Pick{Backend: b, Reason: Overflow, Passed: i}
		}
	}
	return Pick{Reason: AllFull, Passed: n}
}
