package limiter

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestGroupAllow(t *testing.T) {
	start := time.Now()
	fast := NewWindow(Options{Max: 2, Per: time.Second})
	slow := NewWindow(Options{Max: 3, Per: time.Minute})
	g := NewGroup(slow, fast)
	for i, tt := range []struct {
		name  string
		after time.Duration
		want  Decision
		index int
	}{
		{"the window with the fewest remaining decides", 0, Decision{Limit: 2, Remaining: 1}, 1},
		{"also when none remains", 0, Decision{Limit: 2, Reset: time.Second}, 1},
		{"the one that denies decides", 0, Decision{Denied: true, Limit: 2, Reset: time.Second}, 1},
		{"what one denied used nothing of the other", time.Second, Decision{Limit: 3, Reset: 59 * time.Second}, 0},
		{"then the other denies", time.Second, Decision{Denied: true, Limit: 3, Reset: 59 * time.Second}, 0},
		{"which used nothing of the first", 2 * time.Second, Decision{Denied: true, Limit: 3, Reset: 58 * time.Second}, 0},
	} {
		got, index := g.Allow(client(1), start.Add(tt.after))
		if got != tt.want || index != tt.index {
			t.Errorf("request %d, %s: got %+v of %d, want %+v of %d", i, tt.name, got, index, tt.want, tt.index)
		}
	}
	fast.Allow(client(1), start.Add(2*time.Second))
	fast.Allow(client(1), start.Add(2*time.Second))
	want := Decision{Denied: true, Limit: 3, Reset: 58 * time.Second}
	if got, index := g.Allow(client(1), start.Add(2*time.Second)); got != want || index != 0 {
		t.Errorf("both deny: got %+v of %d, want the longer wait %+v", got, index, want)
	}
	if got, index := g.Allow(Key{}, start); got != (Decision{Limit: 2, Remaining: 2}) || index != 1 {
		t.Errorf("the zero Key: got %+v of %d", got, index)
	}
}

func TestNewGroup_PanicsOnAWindowTwice(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	w := NewWindow(Options{})
	NewGroup(w, NewWindow(Options{}), w)
}

func TestGroupAllow_AgreesWithItsTwins(t *testing.T) {
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 2))
		bytes := make([]byte, 1500)
		for i := range bytes {
			bytes[i] = byte(r.Uint32())
		}
		groupsAgree(t, bytes)
	}
}

// FuzzGroup has naive windows as its oracle.
func FuzzGroup(f *testing.F) {
	f.Add([]byte("12three45six"))
	f.Fuzz(groupsAgree)
}

// groupsAgree reads windows and a schedule from the bytes, and compares groups that share windows, and the
// windows alone, with naive ones.
func groupsAgree(t *testing.T, bytes []byte) {
	next := func() int {
		if len(bytes) == 0 {
			return 0
		}
		b := bytes[0]
		bytes = bytes[1:]
		return int(b)
	}
	const n = 3
	var windows [n]*Window
	var twins [n]*twin
	for i := range windows {
		o := Options{Max: 1 + next()%5, Per: time.Duration(1 + next()%20), MaxKeys: 1 + next()%6}
		windows[i], twins[i] = NewWindow(o), &twin{opts: o, passed: map[Key][]time.Time{}}
	}
	groups := [][]int{{0, 1}, {2, 1, 0}, {1, 2}, {0}, {1}}
	now := time.Now().Add(time.Second)
	for len(bytes) > 0 {
		b := next()
		members, k := groups[b%len(groups)], client(b>>4%5)
		now = now.Add(time.Duration(next() % 8))
		var of []*Window
		for _, i := range members {
			of = append(of, windows[i])
		}
		got, index := NewGroup(of...).Allow(k, now)
		wants := map[int]Decision{}
		denied := false
		for _, i := range members {
			denied = denied || len(twins[i].held(k, now)) >= twins[i].opts.Max
		}
		for at, i := range members {
			if !denied || len(twins[i].held(k, now)) >= twins[i].opts.Max {
				wants[at] = twins[i].allow(k, now)
			}
		}
		want, ok := wants[index]
		if !ok || got != want || got.Denied != denied {
			t.Fatalf("%v: got %+v of %d, want one of %+v", members, got, index, wants)
		}
		for _, other := range wants {
			if other.Remaining < got.Remaining || other.Remaining == got.Remaining && other.Reset > got.Reset {
				t.Fatalf("%v: got %+v, but another says %+v", members, got, other)
			}
		}
	}
	for i := range windows {
		if windows[i].Evicted() != twins[i].evicted {
			t.Fatalf("window %d: got %d evicted, want %d", i, windows[i].Evicted(), twins[i].evicted)
		}
	}
}

// TestGroupAllow_ConcurrentSafe has two groups take the same windows in two orders.
func TestGroupAllow_ConcurrentSafe(t *testing.T) {
	const workers, each, limit = 8, 200, 100
	a, b := NewWindow(Options{Max: limit, Per: time.Hour}), NewWindow(Options{Max: 3 * limit, Per: time.Hour})
	groups := []*Group{NewGroup(a, b), NewGroup(b, a)}
	var passed atomic.Int64
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			for range each {
				if d, _ := groups[worker%2].Allow(client(1), time.Now()); !d.Denied {
					passed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if got := passed.Load(); got != limit {
		t.Errorf("%d requests passed, want %d", got, limit)
	}
	if got := b.Allow(client(1), time.Now()); got.Remaining != 2*limit-1 {
		t.Errorf("the larger window: got %+v, want %d remaining", got, 2*limit-1)
	}
}

func TestGroupAllow_AllocatesNothing(t *testing.T) {
	g := NewGroup(NewWindow(Options{}), NewWindow(Options{Max: 3}), NewWindow(Options{Max: 4}))
	now := time.Now()
	g.Allow(client(1), now)
	for range 10 {
		g.Allow(client(1), now)
	}
	if n := testing.AllocsPerRun(100, func() { g.Allow(client(1), now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkGroupAllow(b *testing.B) {
	for _, n := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("windows=%d", n), func(b *testing.B) {
			var windows []*Window
			for range n {
				windows = append(windows, NewWindow(Options{}))
			}
			g, now := NewGroup(windows...), time.Now()
			for i := 0; b.Loop(); i++ {
				g.Allow(client(i%1000), now)
			}
		})
	}
}
