package lb

import "slices"

// inTurn is the policy round_robin. Of as many consecutive first attempts as all weights are in sum, each backend
// gets its weight. Further attempts have a counter of their own. With one counter for both, the attempt after a
// dead backend would use the turn of a live one: with two backends, every exchange would start at the dead one.
func (p *Pool) inTurn(s *snapshot, _ Request) Pick {
	i := s.turns[(p.first.Add(1)-1)%uint64(len(s.turns))]
	return Pick{Backend: s.members[i].Backend, Reason: InTurn}
}

// maxTurns is up to which sum of weights the shares are exact. With a larger sum, weights are rounded to this
// sum, but to no less than one turn.
const maxTurns = 1 << 16

// turns returns the order in which the members get their turns: smooth weighted round robin, as nginx does it.
// Weights of 5, 1 and 1 give a a b a c a a, and not a a a a a b c, which would send five requests at once to one
// backend.
//
// The order is made once for each snapshot, so that a pick is one step of a counter. nginx goes one step of the
// algorithm at each pick, under a lock.
func turns(members []Member) []int32 {
	weights := weights(members)
	sum := 0
	for _, w := range weights {
		sum += w
	}
	order := make([]int32, 0, sum)
	if sum == len(members) { // all weights are 1
		for i := range members {
			order = append(order, int32(i))
		}
		return order
	}
	// At each step, every member's credit grows by its weight. The first with the largest credit gets the
	// turn, and pays the sum of all weights for it. After sum steps, all credits are 0 again.
	credit := make([]int, len(members))
	for range sum {
		best := 0
		for i, w := range weights {
			if credit[i] += w; credit[i] > credit[best] {
				best = i
			}
		}
		credit[best] -= sum
		order = append(order, int32(best))
	}
	return order
}

// weights returns the smallest weights with the same ratios, and with a sum of about maxTurns at most.
func weights(members []Member) []int {
	list, sum, common := make([]int, len(members)), 0, 0
	for i, m := range members {
		list[i] = max(m.Weight, 1)
		sum += list[i]
		common = divisor(list[i], common)
	}
	for i := range list {
		list[i] /= common
	}
	if sum /= max(common, 1); sum > maxTurns && slices.Max(list) > 1 {
		for i, w := range list {
			list[i] = max(1, w*maxTurns/sum)
		}
	}
	return list
}

// divisor returns the greatest common divisor of a and b.
func divisor(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
