package action

import (
	"math/bits"
	"math/rand/v2"
	"net/http"
	"strings"

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
	s := split{shares: shares}
	s.kind, s.name, _ = strings.Cut(by, ":")
	if s.kind == byHeader {
		s.name = http.CanonicalHeaderKey(s.name)
	}
	for _, share := range shares {
		s.sum += uint64(share.Weight)
	}
	return s
}

const (
	byClient = "client_ip"
	byCookie = "cookie"
	byHeader = "header"
)

type split struct {
	shares     []Share
	sum        uint64 // of the weights
	kind, name string // of what keeps a client at its upstream
}

func (s split) Choose(q Request) Choice {
	point := rand.Uint64()
	if h, ok := s.hash(q); ok {
		point = h
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

// hash returns the hash of what keeps the client of a request at one upstream, if the request has that.
func (s split) hash(q Request) (uint64, bool) {
	switch s.kind {
	case byClient:
		a := q.Client.As16()
		return hash(a[:]), true
	case byCookie:
		for _, c := range (&http.Request{Header: q.Header}).CookiesNamed(s.name) {
			return hash(c.Value), true
		}
	case byHeader:
		for _, v := range q.Header[s.name] {
			return hash(v), true
		}
	}
	return 0, false
}

// hash is FNV-1a, with the finalizer of MurmurHash3, because the upper bits of FNV-1a of a short text hardly
// differ.
func hash[T string | []byte](text T) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 1099511628211
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
