package lb

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// pool returns a pool with this policy.
func pool(policy *Policy, members []Member) *Pool {
	p := &Pool{Policy: policy}
	p.Set(members)
	return p
}

// numbered returns n backends with names that look like addresses; weights are repeated.
func numbered(n int, weights ...int) []Member {
	list := make([]Member, n)
	for i := range list {
		list[i] = Member{&Backend{Addr: fmt.Sprintf("10.0.%d.%d:8000", i/256, i%256)}, weights[i%len(weights)]}
	}
	return list
}

// request returns the i-th of many requests.
func request(i int) Request { return Request{Key: Key(fmt.Sprint("client ", i)), Now: start} }

// TestPolicies_GiveEachItsShare by the chi-square test, with a chance of one in a million to fail for nothing.
// The policy hash shares its slots, so a key's backend is not a draw of its own: it has a looser bound.
func TestPolicies_GiveEachItsShare(t *testing.T) {
	for _, policy := range Policies {
		for name, weights := range map[string][]int{"even": {1}, "weighted": {1, 2, 3, 4}} {
			t.Run(policy.Name+"/"+name, func(t *testing.T) {
				const backends, picks = 8, 40_000
				p := pool(policy, numbered(backends, weights...))
				got := map[*Backend]float64{}
				for i := range picks {
					got[p.Pick(request(i)).Backend]++
				}
				s, chi := p.state.Load(), 0.0
				for _, m := range s.members {
					want := picks * float64(m.Weight) / float64(s.weights)
					chi += (got[m.Backend] - want) * (got[m.Backend] - want) / want
					if policy == Hash && math.Abs(got[m.Backend]-want) > 0.1*want {
						t.Errorf("%s got %v, want about %v", m.Backend.Addr, got[m.Backend], want)
					}
				}
				if limit := 40.5; policy != Hash && chi > limit { // of 7 degrees of freedom, at 1e-6
					t.Errorf("chi-square %v, want at most %v: %v", chi, limit, got)
				}
			})
		}
	}
}

// TestPolicies_AvoidTheLoaded lets one backend of ten have all the load: a policy that looks at loads avoids it.
func TestPolicies_AvoidTheLoaded(t *testing.T) {
	for _, policy := range Policies {
		p := pool(policy, numbered(10, 1))
		loaded := p.Backends()[3]
		for _, b := range p.Backends() {
			b.Observe(start, time.Millisecond)
		}
		for range 50 {
			loaded.Begin()
		}
		n := 0
		for i := range 10_000 {
			if p.Pick(request(i)).Backend == loaded {
				n++
			}
		}
		if looks := policy == FewestRequests || policy == PeakEWMA || policy == Hash; looks != (n == 0) {
			t.Errorf("%s: the loaded backend got %d of 10,000", policy.Name, n)
		}
	}
}

// TestPolicies_OneSlowBackend: of ten backends one is 20 times slower, under 40,000 requests a second.
func TestPolicies_OneSlowBackend(t *testing.T) {
	p99 := map[*Policy]time.Duration{}
	for _, policy := range Policies {
		synctest.Test(t, func(t *testing.T) {
			p := pool(policy, numbered(10, 1))
			slow := p.Backends()[7]
			var mu sync.Mutex // guards took
			var took []time.Duration
			var requests sync.WaitGroup
			for i := range 40_000 {
				requests.Go(func() {
					r := request(i)
					r.Now = time.Now()
					b := p.Pick(r).Backend
					b.Begin()
					defer b.End()
					d := time.Millisecond + rand.N(200*time.Microsecond)
					if b == slow {
						d *= 20
					}
					time.Sleep(d)
					b.Observe(time.Now(), d)
					mu.Lock()
					defer mu.Unlock()
					took = append(took, d)
				})
				time.Sleep(time.Second / 40_000)
			}
			requests.Wait()
			slices.Sort(took)
			p99[policy] = took[len(took)*99/100]
		})
	}
	for _, policy := range []*Policy{FewestRequests, PeakEWMA} {
		if limit := p99[RoundRobin] / 5; p99[policy] > limit {
			t.Errorf("%s: the 99th percentile is %v, want at most %v", policy.Name, p99[policy], limit)
		}
	}
	t.Log(p99)
}

func TestPeakEWMA_GivesASlowBackendAnotherChance(t *testing.T) {
	p := pool(PeakEWMA, numbered(2, 1))
	slow, fast := p.Backends()[0], p.Backends()[1]
	slow.Observe(start, time.Second)
	fast.Observe(start, time.Millisecond)
	picks := func(at time.Duration) (n int) {
		for range 100 {
			if p.Pick(Request{Now: start.Add(at)}).Backend == slow {
				n++
			}
		}
		return n
	}
	if n := picks(time.Second); n != 0 {
		t.Errorf("a second later it got %d of 100", n)
	}
	fast.Observe(start.Add(90*time.Second), time.Millisecond)
	if n := picks(90 * time.Second); n != 100 {
		t.Errorf("a minute and a half later it got %d of 100", n)
	}
}

func TestHash_DependsOnTheSetOfBackendsAlone(t *testing.T) {
	members := numbered(20, 1, 3)
	shuffled := slices.Clone(members)
	rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	a, b := pool(Hash, members), pool(Hash, shuffled)
	for i := range 2_000 {
		if x, y := a.Pick(request(i)), b.Pick(request(i)); x != y {
			t.Fatalf("key %d: %+v, and in another order %+v", i, x, y)
		}
	}
	if got := pool(Hash, numbered(3, 1)).Pick(Request{Key: Key("a client")}).Backend.Addr; got != "10.0.0.2:8000" {
		t.Errorf("the mapping has changed: a client goes to %s", got)
	}
}

func TestHash_MovesFewKeys(t *testing.T) {
	const keys = 20_000
	for _, n := range []int{2, 5, 10, 50} {
		members := numbered(n, 1)
		before, gone := pool(Hash, members), members[n/2].Backend
		after := pool(Hash, slices.Concat(members[:n/2], members[n/2+1:]))
		moved := 0
		for i := range keys {
			x, y := before.Pick(request(i)).Backend, after.Pick(request(i)).Backend
			if x != y {
				moved++
			}
			if x != y && x != gone {
				t.Fatalf("a key of %s moved to %s", x.Addr, y.Addr)
			}
		}
		if share := float64(moved) / keys; share > 1.2/float64(n) {
			t.Errorf("of %d backends one left: %v of the keys moved", n, share)
		}
	}
}

// One key has all requests: its backend gets no more than 1.25 times the mean, and the others the rest.
func TestHash_BoundsTheLoad(t *testing.T) {
	p := pool(Hash, numbered(10, 1))
	for i := range 500 {
		pick := p.Pick(request(0))
		pick.Backend.Begin()
		if own := p.Backends()[p.state.Load().slots[request(0).Key%slotCount]]; (pick.Backend == own) != (pick.Reason == InTurn) {
			t.Fatalf("%+v", pick)
		}
		for _, b := range p.Backends() {
			if n, mean := float64(b.InFlight()), float64(i+1)/10; n > 8 && n > 1.25*mean {
				t.Fatalf("%v requests in flight at one backend, where the mean is %v", n, mean)
			}
		}
	}
}

// The only backends with room have tiny weights.
func TestHash_FindsTheLastRoom(t *testing.T) {
	members := numbered(3, 1_000_000, 1_000_000, 1)
	p := pool(Hash, members)
	for range 1_000 {
		members[0].Backend.Begin()
		members[1].Backend.Begin()
	}
	if pick := p.Pick(request(1)); pick.Backend == nil {
		t.Errorf("%+v", pick)
	}
	for i := range 50 {
		if pick := p.Pick(Request{}); pick.Backend == nil || pick.Reason != NoKey {
			t.Fatalf("%d: without a key: %+v", i, pick)
		}
	}
}

func TestPolicies_HaveOneBackend(t *testing.T) {
	for _, policy := range Policies {
		p := pool(policy, equal(1))
		for i := range 100 {
			if pick := p.Pick(request(i)); pick.Backend != p.Backends()[0] {
				t.Errorf("%s: %+v", policy.Name, pick)
			}
		}
		if pick := pool(policy, nil).Pick(request(1)); pick != (Pick{Reason: Empty}) {
			t.Errorf("%s: an empty pool gave %+v", policy.Name, pick)
		}
		if PolicyOf(policy.Name) != policy {
			t.Errorf("%s is not found by its name", policy.Name)
		}
	}
	if PolicyOf("fastest") != nil {
		t.Error("a policy is found that there is not")
	}
}

func TestPolicies_ConcurrentSafe(t *testing.T) {
	few, many := numbered(3, 1), numbered(9, 1, 2)
	for _, policy := range Policies {
		p := pool(policy, few)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for i := range 2_000 {
					b := p.Pick(request(i)).Backend
					b.Begin()
					b.Observe(start.Add(time.Duration(i)), time.Duration(i))
					b.End()
				}
			})
		}
		for i := range 6 {
			p.Set([][]Member{few, many}[i%2])
		}
		wg.Wait()
		for _, m := range many {
			if n := m.Backend.InFlight(); n != 0 {
				t.Errorf("%s: %d in flight in the end", policy.Name, n)
			}
		}
	}
}

func TestPick_AllocatesNothing(t *testing.T) {
	for _, policy := range Policies {
		p := pool(policy, numbered(100, 1))
		r := request(1)
		again := Request{Tried: p.Backends()[:2]}
		if n := testing.AllocsPerRun(1000, func() { p.Pick(r); p.Pick(again) }); n != 0 {
			t.Errorf("%s: two picks: %v allocations, want 0", policy.Name, n)
		}
	}
}

// BenchmarkPick picks among 100 backends, beside a floor: an atomic counter modulo n.
func BenchmarkPick(b *testing.B) {
	members := numbered(100, 1)
	var turn atomic.Uint64
	picks := map[string]func(Request){"floor": func(Request) { _ = members[turn.Add(1)%100] }}
	for _, policy := range Policies {
		p := pool(policy, members)
		picks[policy.Name] = func(r Request) { p.Pick(r) }
	}
	p := pool(RoundRobin, members)
	tried := Request{Tried: p.Backends()[:1]}
	picks["further"] = func(Request) { p.Pick(tried) }
	crowded := pool(Hash, numbered(100, 1))
	for i, b := range crowded.Backends() {
		for range 10 + i%10*10 {
			b.Begin()
		}
	}
	picks["hash-overflow"] = func(r Request) { crowded.Pick(r) }
	for name, pick := range picks {
		b.Run("impl="+name, func(b *testing.B) {
			for r := request(1); b.Loop(); r.Key = mix(r.Key) {
				pick(r)
			}
		})
		b.Run("parallel/impl="+name, func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for r := request(1); pb.Next(); r.Key = mix(r.Key) {
					pick(r)
				}
			})
		})
	}
}

// BenchmarkSet makes a snapshot of 1,000 backends.
func BenchmarkSet(b *testing.B) {
	for _, policy := range []*Policy{RoundRobin, Hash} {
		for _, weights := range [][]int{{1}, {1, 100}} {
			b.Run(fmt.Sprintf("impl=%s/weights=%v", policy.Name, weights), func(b *testing.B) {
				members := numbered(1_000, weights...)
				for b.Loop() {
					pool(policy, members)
				}
			})
		}
	}
}
