package lb

import (
	"math/bits"
	"math/rand/v2"
)

// random is the policy random. A backend's chance is its weight.
func (p *Pool) random(s *snapshot, _ Request) Pick {
	return Pick{Backend: p.drawOne(s).Backend, Reason: InTurn}
}

// number returns a random number.
func (p *Pool) number() uint64 {
	if p.numbers != nil {
		return p.numbers()
	}
	return rand.Uint64()
}

// drawOne returns a member at random, each with its weight: the turns hold each as often as its weight says.
func (p *Pool) drawOne(s *snapshot) *Member {
	i, _ := bits.Mul64(p.number(), uint64(len(s.turns)))
	return &s.members[s.turns[i]]
}

// drawTwo returns two members at random, each with its weight. They are the same one if there is only one, and
// sometimes if weights differ.
func (p *Pool) drawTwo(s *snapshot) (a, b *Member) {
	n := uint64(len(s.turns))
	if n == 1 {
		return &s.members[0], &s.members[0]
	}
	// One random number is enough for both: n is far below 2^32, so the halves are as good as two numbers.
	r := p.number()
	i, j := r>>32*n>>32, r&(1<<32-1)*(n-1)>>32
	if j >= i {
		j++
	}
	return &s.members[s.turns[i]], &s.members[s.turns[j]]
}
