package lb

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// upTo returns a Reserve that gives each backend this many requests.
func upTo(limit int64) func(*Backend) bool {
	return func(b *Backend) bool { return b.TryBegin(limit) }
}

func TestPick_PassesOverBackendsWithoutRoom(t *testing.T) {
	for _, policy := range Policies {
		members := equal(5)
		p := pool(policy, members)
		r := Request{Key: 1, Reserve: upTo(2)}
		for i := range 10 {
			pick := p.Pick(r)
			if pick.Backend == nil {
				t.Fatalf("%s: request %d of the 10 for which there is room got no backend: %v", policy.Name, i, pick.Reason)
			}
		}
		for i, m := range members {
			if n := m.Backend.InFlight(); n != 2 {
				t.Errorf("%s: backend %d has %d requests in flight, want 2", policy.Name, i, n)
			}
		}
		if pick := p.Pick(r); pick.Backend != nil || pick.Reason != AllFull || pick.Passed != 5 {
			t.Errorf("%s: with every backend full: got %+v, want none, because all are full", policy.Name, pick)
		}
		members[3].Backend.End()
		if pick := p.Pick(r); pick.Backend != members[3].Backend || policy != Hash && pick.Reason != Overflow && pick.Reason != InTurn {
			t.Errorf("%s: once one backend has room: got %+v, want that one", policy.Name, pick)
		}
	}
}

func TestPick_SaysThatTheChoiceHadNoRoom(t *testing.T) {
	members := equal(2)
	p := NewPool(members)
	members[0].Backend.Begin()
	first := p.Pick(Request{Reserve: upTo(1)})
	if first.Backend != members[1].Backend || first.Reason != Overflow {
		t.Errorf("the first of two is full: got %+v, want the second, as overflow", first)
	}
	members[1].Backend.End()
	second := p.Pick(Request{Reserve: upTo(1)})
	if second.Backend != members[1].Backend || second.Reason != InTurn {
		t.Errorf("in the turn of the second: got %+v, want it in turn", second)
	}
}

func TestPick_NeverReservesATriedBackend(t *testing.T) {
	members := equal(4)
	p := NewPool(members)
	members[3].Backend.Begin()
	r := Request{Tried: []*Backend{members[0].Backend, members[2].Backend}, Reserve: upTo(1)}
	if pick := p.Pick(r); pick.Backend != members[1].Backend {
		t.Errorf("one backend is neither tried nor full: got %+v, want it", pick)
	}
	if pick := p.Pick(r); pick.Backend != nil || pick.Reason != AllFull {
		t.Errorf("no backend is left with room: got %+v, want none, because all are full", pick)
	}
	if n := members[0].Backend.InFlight() + members[2].Backend.InFlight(); n != 0 {
		t.Errorf("tried backends have %d requests in flight, want 0", n)
	}
}

func TestTryBegin_IsExact_ConcurrentSafe(t *testing.T) {
	for _, policy := range Policies {
		const limit, backends, clients, rounds = 3, 4, 32, 500
		members := equal(backends)
		p := pool(policy, members)
		atOnce := map[*Backend]*atomic.Int64{}
		for _, m := range members {
			atOnce[m.Backend] = new(atomic.Int64)
		}
		var largest, served, full atomic.Int64
		var all sync.WaitGroup
		for c := range clients {
			all.Go(func() {
				for i := range rounds {
					pick := p.Pick(Request{Key: uint64(c*rounds + i + 1), Reserve: upTo(limit)})
					if pick.Backend == nil {
						full.Add(1)
						continue
					}
					n := atOnce[pick.Backend].Add(1)
					for seen := largest.Load(); n > seen && !largest.CompareAndSwap(seen, n); seen = largest.Load() {
					}
					served.Add(1)
					atOnce[pick.Backend].Add(-1)
					pick.Backend.End()
				}
			})
		}
		all.Wait()
		if n := largest.Load(); n > limit {
			t.Errorf("%s: a backend had %d requests at once, and the limit is %d", policy.Name, n, limit)
		}
		if served.Load()+full.Load() != clients*rounds {
			t.Errorf("%s: %d served and %d rejected, want %d in all", policy.Name, served.Load(), full.Load(), clients*rounds)
		}
		if i := slices.IndexFunc(members, func(m Member) bool { return m.Backend.InFlight() != 0 }); i >= 0 {
			t.Errorf("%s: backend %d has %d requests in flight after all ended", policy.Name, i, members[i].Backend.InFlight())
		}
	}
}

// reserveOne is a function that captures nothing, as that of proxy/upstream.
func reserveOne(b *Backend) bool { return b.TryBegin(1) }

func TestPick_OfAFullPoolAllocatesNothing(t *testing.T) {
	members := numbered(100, 1)
	for _, m := range members {
		m.Backend.Begin()
	}
	for _, policy := range Policies {
		p := pool(policy, members)
		r := request(1)
		r.Reserve = reserveOne
		if n := testing.AllocsPerRun(1000, func() { p.Pick(r) }); n != 0 {
			t.Errorf("%s: a pick of a full pool: %v allocations, want 0", policy.Name, n)
		}
	}
}

// Many take the last room at the same moment, again and again: one of them gets it.
func TestTryBegin_OneGetsTheLastRoom_ConcurrentSafe(t *testing.T) {
	const clients, rounds = 4, 20_000
	var b Backend
	var round, began, through atomic.Int64
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for n := int64(1); n <= rounds; n++ {
				for round.Load() < n {
					runtime.Gosched()
				}
				if b.TryBegin(1) {
					began.Add(1)
				}
				through.Add(1)
			}
		})
	}
	for n := int64(1); n <= rounds; n++ {
		round.Store(n)
		for through.Load() < n*clients {
			runtime.Gosched()
		}
		if got := began.Swap(0); got != 1 {
			t.Errorf("in round %d, %d of %d began, want 1", n, got, clients)
		}
		for b.InFlight() > 0 {
			b.End()
		}
	}
	all.Wait()
}
