package lb

import "math/rand/v2"

// random is the policy random. A backend's chance is its weight.
func (p *Pool) random(s *snapshot, _ Request) Pick {
	return Pick{Backend: s.drawOne().Backend, Reason: InTurn}
}

// drawOne returns a member at random, each with its weight: the turns hold each as often as its weight says.
func (s *snapshot) drawOne() *Member {
	return &s.members[s.turns[rand.Uint64N(uint64(len(s.turns)))]]
}

// drawTwo returns two members at random, each with its weight. They are the same one if there is only one, and
// sometimes if weights differ.
func (s *snapshot) drawTwo() (a, b *Member) {
	n := uint64(len(s.turns))
	if n == 1 {
		return &s.members[0], &s.members[0]
	}
	// One random number is enough for both: n is far below 2^32, so the halves are as good as two numbers.
	r := rand.Uint64()
	i, j := r>>32*n>>32, r&(1<<32-1)*(n-1)>>32
	if j >= i {
		j++
	}
	return &s.members[s.turns[i]], &s.members[s.turns[j]]
}
