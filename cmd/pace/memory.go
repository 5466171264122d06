package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// limitMemory lets the collector run as rarely as is cheap, and keeps it within the cgroup's limit,
// less a tenth. GOGC and GOMEMLIMIT go before it.
func limitMemory() {
	if os.Getenv("GOGC") == "" {
		tuneCollector()
	}
	// Without a cgroup there is nothing to keep within, and that is no fault.
	memlimit.Set(memlimit.WithRatio(0.9), memlimit.WithProvider(memlimit.FromCgroup))
}

// tuneCollector keeps the percentage by which the heap may grow in step with what lives in it.
func tuneCollector() {
	debug.SetGCPercent(mostGrowth)
	afterCollection(mostGrowth)
}

// mostGrowth is for a small heap, of a few MiB: 8 % less CPU a small request than with Go's 100, for
// 7 MiB (docs/decisions/0006).
const mostGrowth = 300

// allowance is the garbage that is cheap at any size.
const allowance = 24 << 20

// growth is the percentage for a heap in which so much lives: what idle connections hold, for
// instance, must not be held three times more.
func growth(live uint64) int {
	return int(max(100, min(mostGrowth, allowance*100/max(live, 1))))
}

// afterCollection sets the percentage after each collection, beginning with the next one.
func afterCollection(last int) {
	runtime.AddCleanup(&struct{ self *byte }{}, func(last int) {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		next := growth(live[0].Value.Uint64())
		if next != last { // it stops the world
			debug.SetGCPercent(next)
		}
		afterCollection(next)
	}, last)
}
