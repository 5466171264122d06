package observability

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pace/e2e/pacetest"
	"pace/e2e/parts"
)

var seedFlag = flag.Uint64("seed", 0, "run the mix with this seed only; 0: with three")

// TestMix drives exchanges that end in every way there is through real paces, and holds what
// Prometheus and Jaeger know of them to what clients, backends and the wire know.
func TestMix(t *testing.T) {
	seeds := []uint64{1, 2, 3}
	if *seedFlag != 0 {
		seeds = []uint64{*seedFlag}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { mix(t, seed) })
	}
}

func mix(t *testing.T, seed uint64) {
	v := &village{t: t, seed: seed, jaeger: parts.Jaeger(t), ledger: newLedger()}
	v.open()
	var targets []string
	for _, h := range v.houses {
		targets = append(targets, h.Admin)
	}
	prometheus := parts.Prometheus(t, targets...)

	random := rand.New(rand.NewPCG(seed, 1))
	began := time.Now()
	script := v.script(random)
	play(script)
	xs := slices.Concat(script...)

	for _, name := range slices.Sorted(maps.Keys(v.houses)) {
		h := v.houses[name]
		truth := v.truth(h, xs)
		t.Run(name, func(t *testing.T) {
			truth.againstLog(t)
			truth.againstPrometheus(t, prometheus)
			truth.againstJaeger(t, v.jaeger, began)
		})
		t.Logf("%s: %s", name, truth)
	}
}

// script is the mix as sequences of exchanges; within one, order matters, between them it does not.
func (v *village) script(random *rand.Rand) (tasks [][]*exchange) {
	for i := range kinds {
		k := &kinds[i]
		n := k.times/2 + random.IntN(k.times)
		if k.outcome == "rate_limited" {
			tasks = append(tasks, v.overLimit(random, k, n))
			continue
		}
		for range n {
			tasks = append(tasks, []*exchange{v.exchange(random, k)})
		}
	}
	random.Shuffle(len(tasks), func(i, j int) { tasks[i], tasks[j] = tasks[j], tasks[i] })
	return tasks
}

// overLimit is one client who takes all its places and then asks n times more.
func (v *village) overLimit(random *rand.Rand, rejected *kind, n int) []*exchange {
	fine := &kinds[slices.IndexFunc(kinds, func(k kind) bool { return k.name == "fine" })]
	var task []*exchange
	for i := range places + n {
		k := fine
		if i >= places {
			k = rejected
		}
		task = append(task, v.exchange(random, k))
		task[i].source = task[0].source
	}
	return task
}

func (v *village) exchange(random *rand.Rand, k *kind) *exchange {
	id := random.Uint32()
	x := &exchange{
		kind: k, t: v.t, house: v.houses[k.house], ledger: v.ledger, mode: pacetest.H1,
		method: k.method,
		target: fmt.Sprintf("/%s/%08x", k.name, id),
		source: fmt.Sprintf("10.%d.%d.%d", byte(id>>16), byte(id>>8), byte(id)),
		trace:  fmt.Sprintf("%016x%016x", random.Uint64(), random.Uint64()),
		parent: fmt.Sprintf("%016x", random.Uint64()|1),
	}
	if x.method == "" {
		x.method = "GET"
	}
	if !k.h1 && random.IntN(3) == 0 {
		x.mode = pacetest.H2C
	}
	if random.IntN(4) == 0 {
		x.query = fmt.Sprintf("token=%08x", random.Uint32())
	}
	if x.method == "POST" || x.method == "PUT" {
		x.body = strings.Repeat("x", 1+random.IntN(20_000))
	}
	if k.outcome == "too_large" {
		x.body = strings.Repeat("x", maxBody+1)
	}
	return x
}

// play carries out the tasks, a dozen at a time.
func play(tasks [][]*exchange) {
	queue := make(chan []*exchange)
	var clients sync.WaitGroup
	for range 12 {
		clients.Go(func() {
			for task := range queue {
				for _, x := range task {
					x.run()
				}
			}
		})
	}
	for _, task := range tasks {
		queue <- task
	}
	close(queue)
	clients.Wait()
}
