package lb

import (
	"strings"
	"sync"
	"testing"
)

// firsts returns the names of the next n first picks.
func firsts(p *Pool, n int) string {
	var b strings.Builder
	for range n {
		b.WriteString(p.Pick(Request{}).Backend.Addr)
	}
	return b.String()
}

// The expected orders are those of nginx's upstream module.
func TestPick_SpreadsWeightsSmoothly(t *testing.T) {
	for _, tt := range []struct {
		name    string
		weights []int
		want    string
	}{
		{"a backend of weight 5 among two of weight 1", []int{5, 1, 1}, "aabacaa" + "aabacaa"},
		{"equal weights", []int{7, 7, 7}, "abcabc"},
		{"weights with a common divisor", []int{20, 10}, "abaaba"},
		{"two of three", []int{2, 2, 1}, "abcab" + "abcab"},
		{"one backend", []int{9}, "aaa"},
	} {
		if got := firsts(NewPool(members(tt.weights...)), len(tt.want)); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestPick_FurtherAttemptsHaveTheirWeights(t *testing.T) {
	p := NewPool(members(1, 3, 2))
	counts := map[string]int{}
	for range 10 * 5 {
		counts[p.Pick(Request{Tried: p.Backends()[:1]}).Backend.Addr]++
	}
	if counts["a"] != 0 || counts["b"] != 30 || counts["c"] != 20 {
		t.Errorf("got %v, want 30 for b and 20 for c", counts)
	}
}

func TestPick_RoundsWeightsThatAreTooLargeInSum(t *testing.T) {
	p := NewPool(members(1_000_000, 999_999, 1))
	n := len(p.state.Load().turns)
	counts := map[string]int{}
	for range n {
		counts[p.Pick(Request{}).Backend.Addr]++
	}
	if n > maxTurns+3 || counts["c"] != 1 || counts["a"]-counts["b"] > 1 {
		t.Errorf("got %v of %d", counts, n)
	}
}

func TestSet_KeepsTheTurnOfThoseThatStay(t *testing.T) {
	all := equal(3)
	p := NewPool(all[:2])
	got := firsts(p, 3)
	p.Set(all)
	got += firsts(p, 3)
	p.Set(all[2:])
	got += firsts(p, 2)
	p.Set(nil)
	if pick := p.Pick(Request{}); pick.Backend != nil || pick.Reason != Empty || got != "aba"+"abc"+"cc" {
		t.Errorf("got %s, then %+v", got, pick)
	}
}

// A pick sees one snapshot, never a part of two.
func TestSet_ConcurrentSafe(t *testing.T) {
	few, many := members(1), members(3, 1, 1, 5)
	p := NewPool(few)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5_000 {
				first := p.Pick(Request{})
				if first.Backend == nil {
					t.Error("nothing was picked")
					return
				}
				if next := p.Pick(Request{Tried: []*Backend{first.Backend}}); next.Backend == first.Backend {
					t.Error("a tried backend was picked")
					return
				}
			}
		})
	}
	for i := range 1_000 {
		if i%2 == 0 {
			p.Set(many)
		} else {
			p.Set(few)
		}
	}
	wg.Wait()
}
