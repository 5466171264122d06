package lb

import "math"

// hash is the policy hash, with bounded loads: a request goes to its key's backend, unless that one has more than
// its part of the requests in flight. Then it goes to another one, which is the same for the same key and the
// same loads. Which backend is a key's own depends on nothing but the addresses and weights of the backends: it
// is the same in every process.
//
// A key has a slot, and each slot has its backend by rendezvous hashing: the one that scores highest for the slot.
// When a backend leaves, only its slots go to others; when one comes, it takes slots from all. The scores are
// computed once for a snapshot. A pick is a look into a table, where rendezvous hashing of the key itself would
// compute a score for each backend.
func (p *Pool) hash(s *snapshot, r Request) Pick {
	if r.Key == 0 {
		return Pick{Backend: p.drawOne(s).Backend, Reason: NoKey}
	}
	own := &s.members[s.slotOf[r.Key%slotCount]]
	if own.Backend.load.inFlight() < alwaysAllowed { // mostly, and then nobody need ask all the others
		return Pick{Backend: own.Backend, Reason: InTurn}
	}
	all := s.inFlight() + 1
	if !s.isFull(own, all) {
		return Pick{Backend: own.Backend, Reason: InTurn}
	}
	for i, key := 0, mix(r.Key); i < maxSteps; i, key = i+1, mix(key) {
		if m := &s.members[s.slotOf[key%slotCount]]; !s.isFull(m, all) {
			return Pick{Backend: m.Backend, Reason: Overflow}
		}
	}
	for i := range s.members { // those that are not full have small weights
		if m := &s.members[i]; !s.isFull(m, all) {
			return Pick{Backend: m.Backend, Reason: Overflow}
		}
	}
	return Pick{Backend: own.Backend, Reason: Overflow} // others took the last room at this moment
}

// maxSteps is how many other backends of a key are looked at.
const maxSteps = 16

const (
	alwaysAllowed = 8    // requests in flight that every backend may have
	overMean      = 1.25 // times the mean that a backend may have in flight
)

// isFull reports whether m may get no request more: it would have more than overMean times its part of all
// requests in flight, this one included. There is always one that is not full, since not all can be above the mean.
func (s *snapshot) isFull(m *Member, all int64) bool {
	n := m.Backend.load.inFlight() + 1
	return n > alwaysAllowed && float64(n)*float64(s.weights) > overMean*float64(all)*float64(m.Weight)
}

// inFlight returns how many requests all members have in flight.
func (s *snapshot) inFlight() (n int64) {
	for i := range s.members {
		n += s.members[i].Backend.load.inFlight()
	}
	return n
}

// slotCount is how many slots there are. It must not depend on the number of backends, or keys would move when
// it changes. With 65,536, the slots of 100 backends of equal weight differ by 4 percent.
const slotCount = 1 << 16

// slots returns the backend of each slot, as an index into the members of s: the member with the highest hash. With
// different weights w, it is the one with the lowest -ln(x) / w, where x is the hash as a number between 0 and 1: so
// each member gets its weight.
//
// before is the snapshot that s takes the place of, or nil. Where a member is the same, it still beats all that are the
// same, so only the others are compared with it: with 1,000 backends that takes 1 ms instead of 150.
func (s *snapshot) slots(before *snapshot) []int32 {
	r := newRendezvous(s.members)
	all := make([]int32, len(s.members))
	for i := range all {
		all[i] = int32(i)
	}
	table := make([]int32, slotCount)
	if before == nil || before.slotOf == nil {
		for slot := range table {
			table[slot] = r.winner(slot, all)
		}
		return table
	}
	now, others := before.same(s)
	among := append(others, 0)
	for slot := range table {
		if last := now[before.slotOf[slot]]; last < 0 {
			table[slot] = r.winner(slot, all)
		} else {
			among[len(others)] = last
			table[slot] = r.winner(slot, among)
		}
	}
	return table
}

// same returns where each member of s is among those of next, -1 if it is not, or if its weight is not to the weights
// of the others as before; and the members of next that are not the same.
func (s *snapshot) same(next *snapshot) (now, others []int32) {
	old := make(map[*Backend]int, len(s.members))
	for i, m := range s.members {
		old[m.Backend] = i
	}
	ratios, usual := map[float64]int{}, 0.0
	ratio := func(m Member) (float64, int, bool) {
		i, ok := old[m.Backend]
		if !ok {
			return 0, 0, false
		}
		return float64(m.Weight) / float64(s.members[i].Weight), i, true
	}
	for _, m := range next.members {
		if by, _, ok := ratio(m); ok {
			if ratios[by]++; ratios[by] > ratios[usual] {
				usual = by
			}
		}
	}
	now = make([]int32, len(s.members))
	for i := range now {
		now[i] = -1
	}
	for at, m := range next.members {
		if by, i, ok := ratio(m); ok && by == usual {
			now[i] = int32(at)
		} else {
			others = append(others, int32(at))
		}
	}
	return now, others
}

// rendezvous compares members for a slot.
type rendezvous struct {
	members []Member
	seeds   []uint64
	equal   bool // all weights are
}

func newRendezvous(members []Member) *rendezvous {
	r := &rendezvous{members, make([]uint64, len(members)), true}
	for i, m := range members {
		r.seeds[i] = Key(m.Backend.Addr)
		r.equal = r.equal && m.Weight == members[0].Weight
	}
	return r
}

// winner returns the one of some members that has a slot.
func (r *rendezvous) winner(slot int, among []int32) (best int32) {
	at, highest, lowest := mix(uint64(slot)), uint64(0), math.Inf(1)
	best = among[0]
	for _, i := range among {
		u := mix(at ^ r.seeds[i])
		if r.equal {
			if u > highest {
				best, highest = i, u
			}
			continue
		}
		// -ln(x) is at least 1-x, which mostly shows without the logarithm that the score is not lower.
		x, w := (float64(u>>11)+0.5)/(1<<53), float64(r.members[i].Weight)
		if (1-x)/w < lowest {
			if score := -math.Log(x) / w; score < lowest {
				best, lowest = i, score
			}
		}
	}
	return best
}

// Key returns the key of a text, never 0. It is the same in every process.
func Key[T string | []byte](text T) uint64 {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 1099511628211
	}
	return max(1, mix(h))
}

// mix returns a number whose every bit depends on every bit of x (the finalizer of SplitMix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
