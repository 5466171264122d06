package lb

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// members returns one backend for each weight, called a, b, c, …
func members(weights ...int) []Member {
	list := make([]Member, len(weights))
	for i, w := range weights {
		list[i] = Member{&Backend{Addr: string(rune('a' + i))}, w}
	}
	return list
}

// equal returns n backends of weight 1.
func equal(n int) []Member { return members(slices.Repeat([]int{1}, n)...) }

func TestPick(t *testing.T) {
	type pick struct {
		backend int // index, -1: none
		reason  Reason
		passed  int
	}
	tests := map[string]struct {
		backends int
		tried    [][]int // of each pick, in order
		want     pick    // of the last one
	}{
		"the first pick is the first backend":                               {3, [][]int{{}}, pick{0, InTurn, 0}},
		"the second pick is the second backend":                             {3, [][]int{{}, {}}, pick{1, InTurn, 0}},
		"the first backend follows the last":                                {3, [][]int{{}, {}, {}, {}}, pick{0, InTurn, 0}},
		"a backend that was tried is passed over":                           {3, [][]int{{0}}, pick{1, InTurn, 1}},
		"two backends that were tried are passed over":                      {3, [][]int{{1, 0}}, pick{2, InTurn, 2}},
		"a tried backend after the picked one is not counted as passed":     {3, [][]int{{2}}, pick{0, InTurn, 0}},
		"further attempts go to the other backends in turn":                 {3, [][]int{{0}, {0}}, pick{2, InTurn, 1}},
		"the first of the others follows the last":                          {3, [][]int{{0}, {0}, {0}}, pick{1, InTurn, 1}},
		"a further attempt does not use the turn of a first one":            {2, [][]int{{}, {0}, {}}, pick{1, InTurn, 0}},
		"no backend remains after all were tried":                           {2, [][]int{{1, 0}}, pick{-1, AllTried, 2}},
		"no backend remains after the only one was tried":                   {1, [][]int{{0}}, pick{-1, AllTried, 1}},
		"an empty pool has nothing to pick":                                 {0, [][]int{{}}, pick{-1, Empty, 0}},
		"the only backend has every turn":                                   {1, [][]int{{}, {}, {}}, pick{0, InTurn, 0}},
		"a backend that was tried twice is passed over once":                {2, [][]int{{0, 0}}, pick{1, InTurn, 1}},
		"an empty pool says so even if a backend of another pool was tried": {0, [][]int{{-1}}, pick{-1, Empty, 0}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := NewPool(equal(tt.backends))
			var got Pick
			for _, indexes := range tt.tried {
				var tried []*Backend
				for _, i := range indexes {
					if i < 0 {
						tried = append(tried, NewPool(equal(1)).Backends()[0])
						continue
					}
					tried = append(tried, p.Backends()[i])
				}
				got = p.Pick(Request{Tried: tried})
			}
			if g := (pick{slices.Index(p.Backends(), got.Backend), got.Reason, got.Passed}); g != tt.want {
				t.Errorf("%d backends, tried %v: got %+v, want %+v", tt.backends, tt.tried, g, tt.want)
			}
		})
	}
}

func TestPick_IgnoresABackendOfAnotherPool(t *testing.T) {
	p, other := NewPool(equal(1)), NewPool(equal(1))
	if got := p.Pick(Request{Tried: other.Backends()}); got != (Pick{Backend: p.Backends()[0]}) {
		t.Errorf("got %+v, want the pool's own backend, in turn", got)
	}
}

// TestPick_GivesEachItsShare checks that the shares are exact, whatever further attempts come between.
func TestPick_GivesEachItsShare(t *testing.T) {
	const rounds = 100
	for n := 1; n <= 8; n++ {
		p, firsts, further := NewPool(equal(n)), map[*Backend]int{}, map[*Backend]int{}
		dead := p.Backends()[:1]
		for range n * rounds {
			b := p.Pick(Request{}).Backend
			firsts[b]++
			if b == dead[0] && n > 1 {
				further[p.Pick(Request{Tried: dead}).Backend]++
			}
		}
		for _, b := range p.Backends() {
			if firsts[b] != rounds {
				t.Errorf("%d backends: %s got %d first attempts, want %d", n, b.Addr, firsts[b], rounds)
			}
		}
		for _, b := range p.Backends()[1:] {
			if low := rounds / (n - 1); further[b] < low || further[b] > low+1 {
				t.Errorf("%d backends: %s got %d of %d further attempts", n, b.Addr, further[b], rounds)
			}
		}
	}
}

func TestPick_ConcurrentSafe(t *testing.T) {
	const backends, workers, each = 5, 8, 5_000 // workers*each is a multiple of backends
	p := NewPool(equal(backends))
	var shares [backends]atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				first := p.Pick(Request{}).Backend
				shares[slices.Index(p.Backends(), first)].Add(1)
				next := p.Pick(Request{Tried: []*Backend{first}}).Backend
				if next == nil || next == first {
					t.Errorf("after %v: picked %v", first.Addr, next)
					return
				}
			}
		})
	}
	wg.Wait()
	for i := range shares {
		if got := shares[i].Load(); got != workers*each/backends {
			t.Errorf("backend %d got %d first attempts, want %d", i, got, workers*each/backends)
		}
	}
}

func TestReasonIsAWord(t *testing.T) {
	for reason, want := range map[Reason]string{InTurn: "in_turn", Overflow: "overflow", NoKey: "no_key", AllTried: "all_tried", Empty: "empty"} {
		if got := reason.String(); got != want {
			t.Errorf("reason %d: got %q, want %q", reason, got, want)
		}
	}
}
