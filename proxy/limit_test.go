package proxy

import (
	"net/http/httptest"
	"net/netip"
	"slices"
	"testing"

	"pace/limiter"
	"pace/proxy/message"
)

// Each kind of key tells two clients apart, and recognizes the same client.
func TestKeyKinds_TellClientsApart(t *testing.T) {
	type clients struct {
		word         string
		first, other *request
	}
	tests := []clients{
		{"client_ip",
			&request{asked: message.Forwarding{Client: netip.MustParseAddr("203.0.113.7")}},
			&request{asked: message.Forwarding{Client: netip.MustParseAddr("203.0.113.8")}}},
	}
	for _, word := range KeyKinds() {
		i := slices.IndexFunc(tests, func(c clients) bool { return c.word == word })
		if i < 0 {
			t.Errorf("%s: add a case with requests of two clients that it tells apart", word)
			continue
		}
		kind, c := keyKindOf(word), tests[i]
		for _, q := range []*request{c.first, c.other} {
			if q.r == nil {
				q.r = httptest.NewRequest("GET", "/", nil)
			}
		}
		first, again, other := kind.key(c.first), kind.key(c.first), kind.key(c.other)
		if first == (limiter.Key{}) || first != again || first == other {
			t.Errorf("%s: got the keys %x and %x for one client, and %x for another", word, first, again, other)
		}
	}
}
