package action

import (
	"math/bits"
	"math/rand/v2"

	"pace/proxy/upstream"
)

// Share is how much of a split goes to an upstream.
type Share struct {
	Upstream *upstream.Upstream
	Weight   int // of the sum of all weights; from 0, not all are 0
}

// Split returns the action that sends each request to one of several upstreams, by their weights. by is what
// keeps a client at one of them: "client_ip", "cookie:NAME" or "header:NAME". The choice depends on nothing but
// that value and the shares, so it is the same in every pace with this configuration. If by is "", or a request
// does not have what it names, the choice is random.
func Split(shares []Share, by string) Action {
	s := split{shares: shares, by: upstream.ParseBy(by)}
	for _, share := range shares {
		s.sum += uint64(share.Weight)
	}
	return s
}

type split struct {
	shares []Share
	sum    uint64      // of the weights
	by     upstream.By // what keeps a client at its upstream
}

func (s split) Choose(q Request) Choice {
	point := rand.Uint64()
	if key := s.by.Key(&upstream.Request{Client: q.Client, Header: q.Header}); key != 0 {
		point = key
	}
	at, _ := bits.Mul64(point, s.sum) // the shares divide the range of point in their order
	for _, share := range s.shares {
		if at < uint64(share.Weight) {
			return Choice{Upstream: share.Upstream}
		}
		at -= uint64(share.Weight)
	}
	panic("pace: BUG: a split without weights")
}
