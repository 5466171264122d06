package action

import (
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"testing"

	"pace/proxy/route"
	"pace/proxy/upstream"
)

// names are upstreams that nobody asks.
func named(name string) *upstream.Upstream { return &upstream.Upstream{Name: name} }

func from(i int) Request {
	return Request{
		Target: "/", Client: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}),
		Header: http.Header{"Cookie": {fmt.Sprintf("other=1; user=u%d", i)}, "X-Tenant": {fmt.Sprintf("t%d", i)}},
	}
}

// Whatever keeps a client, the shares are those of the weights.
func TestSplit_GivesEachUpstreamItsShare(t *testing.T) {
	t.Parallel()
	const n = 20_000
	for _, by := range []string{"", "client_ip", "cookie:user", "header:x-tenant", "header:x-none"} {
		a := Split([]Share{{named("a"), 70}, {named("none"), 0}, {named("b"), 20}, {named("c"), 10}}, by)
		got := map[string]float64{}
		for i := range n {
			got[a.Choose(from(i)).Upstream.Name]++
		}
		for name, share := range map[string]float64{"a": .7, "b": .2, "c": .1, "none": 0} {
			if off := math.Abs(got[name]/n - share); off > .02 {
				t.Errorf("split by %q: %s got %v of the requests, want %v", by, name, got[name]/n, share)
			}
		}
	}
}

// Another pace with the same configuration, or this one after a restart, sends a client to the same upstream; a
// change of weights moves no more clients than it must.
func TestSplit_KeepsAClientAtItsUpstream(t *testing.T) {
	t.Parallel()
	const n = 10_000
	for _, by := range []string{"client_ip", "cookie:user", "header:X-Tenant"} {
		one := Split([]Share{{named("a"), 90}, {named("b"), 10}}, by)
		same := Split([]Share{{named("a"), 90}, {named("b"), 10}}, by)
		changed := Split([]Share{{named("a"), 80}, {named("b"), 20}}, by)
		moved := 0
		for i := range n {
			first := one.Choose(from(i)).Upstream.Name
			if again := same.Choose(from(i)).Upstream.Name; again != first {
				t.Fatalf("split by %q: client %d was sent to %s and then to %s", by, i, first, again)
			}
			if changed.Choose(from(i)).Upstream.Name != first {
				moved++
			}
		}
		if moved < n*8/100 || moved > n*12/100 {
			t.Errorf("split by %q: of %d clients %d moved, want a tenth", by, n, moved)
		}
	}
}

func TestRedirect_UsesTheWildcards(t *testing.T) {
	t.Parallel()
	p, bad := route.Parse("/old/{rest...}")
	if bad != nil {
		t.Fatal(bad)
	}
	to, bad := route.ParseRedirect("https://new.example/{rest}", p)
	if bad != nil {
		t.Fatal(bad)
	}
	got := Redirect(to, p, 301).Choose(Request{Target: "/old/a%2Fb?q=1"})
	if got.Upstream != nil || *got.Response != (Response{Status: 301, Location: "https://new.example/a%2Fb?q=1"}) {
		t.Errorf("got %+v", got.Response)
	}
}

func TestTo_AllocatesNothing(t *testing.T) {
	var a Action = To(named("a"))
	q := from(1)
	if n := testing.AllocsPerRun(100, func() { a.Choose(q) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
