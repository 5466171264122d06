package lb

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
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

// TestPolicies_GiveEachItsShare by the chi-square test. With the policy hash a key's backend is that of its slot,
// so there are two draws: the slots' backends by the weights, and the keys' slots.
func TestPolicies_GiveEachItsShare(t *testing.T) {
	for _, policy := range Policies {
		for name, weights := range map[string][]int{"even": {1}, "weighted": {1, 2, 3, 4}} {
			t.Run(policy.Name+"/"+name, func(t *testing.T) {
				const backends, picks = 8, 40_000
				p := pool(policy, numbered(backends, weights...))
				s := p.state.Load()
				shares, got := make([]float64, backends), make([]float64, backends)
				for i, m := range s.members {
					shares[i] = float64(m.Weight) / float64(s.weights)
				}
				if policy == Hash {
					slots := make([]float64, backends)
					for _, i := range s.slotOf {
						slots[i]++
					}
					wantShares(t, "slots", slots, shares)
					for i := range shares {
						shares[i] = slots[i] / slotCount
					}
				}
				for i := range picks {
					got[slices.Index(s.backends, p.Pick(request(i)).Backend)]++
				}
				wantShares(t, "picks", got, shares)
			})
		}
	}
}

// wantShares wants eight counts to have these shares, by the chi-square test with a chance of one in a million
// to fail for nothing.
func wantShares(t *testing.T, what string, counts, shares []float64) {
	t.Helper()
	all, chi := 0.0, 0.0
	for _, n := range counts {
		all += n
	}
	for i, n := range counts {
		want := all * shares[i]
		chi += (n - want) * (n - want) / want
	}
	if limit := 40.5; chi > limit { // of 7 degrees of freedom, at 1e-6
		t.Errorf("%s: chi-square %v, want at most %v: %v, where the shares are %v", what, chi, limit, counts, shares)
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

// When one of n backends leaves, only its keys move, and they are at most 1.2 times its share. When it returns,
// it gets the same keys.
func TestHash_MovesFewKeys(t *testing.T) {
	const keys = 20_000
	for _, n := range []int{2, 5, 10, 50} {
		for _, weights := range [][]int{{1}, {1, 2, 3}} {
			members, sum := numbered(n, weights...), 0
			for _, m := range members {
				sum += m.Weight
			}
			p, gone, homes := pool(Hash, members), members[n/2], make([]*Backend, keys)
			for i := range keys {
				homes[i] = p.Pick(request(i)).Backend
			}
			p.Set(slices.Concat(members[:n/2], members[n/2+1:]))
			moved := 0
			for i, home := range homes {
				now := p.Pick(request(i)).Backend
				if now != home {
					moved++
				}
				if now != home && home != gone.Backend {
					t.Fatalf("a key of %s moved to %s", home.Addr, now.Addr)
				}
			}
			if got, share := float64(moved)/keys, float64(gone.Weight)/float64(sum); got > 1.2*share {
				t.Errorf("of %d backends with weights %v one with %v of them left: %v of the keys moved", n, weights, share, got)
			}
			p.Set(members)
			for i, home := range homes {
				if now := p.Pick(request(i)).Backend; now != home {
					t.Fatalf("a key of %s is at %s after the return", home.Addr, now.Addr)
				}
			}
		}
	}
}

// One key has all requests, or few keys have most: nobody gets more than 1.25 times the mean for its weight.
func TestHash_BoundsTheLoad(t *testing.T) {
	for _, weights := range [][]int{{1}, {1, 2, 5}} {
		for name, key := range map[string]func(i int) int{
			"one key":  func(int) int { return 0 },
			"few keys": func(i int) int { return i % 3 },
			"most of one key": func(i int) int {
				if i%4 == 0 {
					return i
				}
				return 0
			},
		} {
			p := pool(Hash, numbered(10, weights...))
			s := p.state.Load()
			for i := range 1_000 {
				r := request(key(i))
				pick := p.Pick(r)
				pick.Backend.Begin()
				if own := s.backends[s.slotOf[r.Key%slotCount]]; (pick.Backend == own) != (pick.Reason == InTurn) {
					t.Fatalf("%s, weights %v: %+v", name, weights, pick)
				}
				for _, m := range s.members {
					n, mean := float64(m.Backend.InFlight()), float64(i+1)*float64(m.Weight)/float64(s.weights)
					if n > 8 && n > 1.25*mean {
						t.Fatalf("%s, weights %v: %v requests in flight at one backend, where the mean is %v", name, weights, n, mean)
					}
				}
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

// With a thousand backends each of them is picked, and one that has left is not.
func TestPolicies_HaveAThousandBackends(t *testing.T) {
	members := numbered(1_000, 1, 2)
	for _, policy := range Policies {
		p, gone := pool(policy, members), members[500].Backend
		for _, left := range []bool{false, true} {
			if left {
				p.Set(slices.Concat(members[:500], members[501:]))
			}
			got := map[*Backend]bool{}
			for i := range 30_000 {
				got[p.Pick(request(i)).Backend] = true
			}
			if want := len(p.Backends()); len(got) != want || got[gone] == left {
				t.Errorf("%s: %d backends were picked, want %d; the one that left was picked: %v", policy.Name, len(got), want, got[gone])
			}
		}
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
	full := pool(RoundRobin, numbered(100, 1))
	for _, b := range full.Backends() {
		b.Begin()
	}
	picks["full"] = func(r Request) { r.Reserve = reserveOne; full.Pick(r) }
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

// The table of the policy hash is the same whether it is computed anew or from the one before: members come, leave,
// change their weights, or all change it by one factor.
func TestHash_TheTableDependsOnTheMembersAlone(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var known []*Backend
	for i := range 40 {
		known = append(known, &Backend{Addr: fmt.Sprintf("10.0.0.%d:80", i)})
	}
	p := &Pool{Policy: Hash}
	members := []Member{{known[0], 1}}
	for step := range 60 {
		switch random.IntN(5) {
		case 0, 1:
			if b := known[random.IntN(len(known))]; !slices.ContainsFunc(members, func(m Member) bool { return m.Backend == b }) {
				members = append(slices.Clone(members), Member{b, 1 + random.IntN(3)})
			}
		case 2:
			at := random.IntN(len(members))
			members = slices.Delete(slices.Clone(members), at, at+1)
		case 3:
			members = slices.Clone(members)
			members[random.IntN(max(1, len(members)))%max(1, len(members))].Weight = 1 + random.IntN(30)
		case 4:
			members = slices.Clone(members)
			for i := range members {
				members[i].Weight *= 2
			}
		}
		if len(members) == 0 {
			members = []Member{{known[step%len(known)], 1}}
		}
		p.Set(members)
		fresh := &Pool{Policy: Hash}
		fresh.Set(members)
		if got, want := p.state.Load().slotOf, fresh.state.Load().slotOf; !slices.Equal(got, want) {
			t.Fatalf("step %d, %d members: the tables differ", step, len(members))
		}
	}
}

func BenchmarkHash_OneOfAThousandLeaves(b *testing.B) {
	var all []Member
	for i := range 1000 {
		all = append(all, Member{&Backend{Addr: fmt.Sprintf("10.0.%d.%d:80", i/250, i%250)}, 1})
	}
	p := &Pool{Policy: Hash}
	p.Set(all)
	for i := 0; b.Loop(); i++ {
		p.Set(all[i%2:])
	}
}
