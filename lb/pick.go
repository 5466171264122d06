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
}

// Pick is one choice and its reason.
type Pick struct {
	Backend *Backend // nil: there is none to pick, and Reason says why
	Reason  Reason
	Passed  int // backends that were passed over because this exchange had tried them
}

// Reason says why this backend was picked, or none.
type Reason uint8

const (
	InTurn   Reason = iota // the policy's first choice, or the next of those that remain
	Overflow               // the key's own backend has too many requests in flight
	NoKey                  // the request has no key, so a backend was picked at random
	AllTried               // no backend: this exchange has tried them all
	Empty                  // no backend: the pool has none
)

var reasons = [...]string{InTurn: "in_turn", Overflow: "overflow", NoKey: "no_key", AllTried: "all_tried", Empty: "empty"}

// String returns the reason as one word for logs.
func (r Reason) String() string { return reasons[r] }

// Pick chooses a backend that is not in r.Tried. It is safe for concurrent use.
//
// The first attempt of a request goes where the pool's policy says. Further attempts take turns among the
// backends that remain, each with its weight, whatever the policy is: they are few, and a backend that has just
// failed says nothing about the others.
func (p *Pool) Pick(r Request) Pick {
	s := p.state.Load()
	switch {
	case s == nil || len(s.members) == 0:
		return Pick{Reason: Empty}
	case len(r.Tried) == 0:
		return p.policy().choose(p, s, r)
	}
	remaining := s.remaining(r.Tried)
	if remaining == 0 {
		return Pick{Reason: AllTried, Passed: len(s.members)}
	}
	return s.pickRemaining(r.Tried, int((p.further.Add(1)-1)%uint64(remaining)))
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
