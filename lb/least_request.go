package lb

// fewestRequests is the policy least_request: the power of two choices. To look at two backends at random is nearly
// as good as to look at all, and it does not send every request of a moment to the one backend that has the
// fewest.
//
// Weights count twice. The two are drawn by weight, so that without load the shares are those of the weights. And
// requests in flight are compared in proportion to the weights.
func (p *Pool) fewestRequests(s *snapshot, _ Request) Pick {
	a, b := p.drawTwo(s)
	if b.Backend.load.inFlight()*int64(a.Weight) < a.Backend.load.inFlight()*int64(b.Weight) {
		a = b
	}
	return Pick{Backend: a.Backend, Reason: InTurn}
}
