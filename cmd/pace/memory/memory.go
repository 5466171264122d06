// Package memory tunes Go's garbage collector to the process and its cgroup. It knows nothing of pace.
package memory

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// Limit trades memory for less garbage collection while the heap is small, and sets Go's memory
// limit to nine tenths of the cgroup's. GOGC and GOMEMLIMIT take precedence.
func Limit() {
	if os.Getenv("GOGC") == "" {
		tuneCollector()
	}
	// Set fails without a cgroup; then there is no limit to keep, and nothing to report.
	memlimit.Set(memlimit.WithRatio(0.9), memlimit.WithProvider(memlimit.FromCgroup))
}

// tuneCollector sets the percentage by which the heap may grow, and adapts it after each collection to
// the size of the live heap.
func tuneCollector() {
	debug.SetGCPercent(maxGrowth)
	afterCollection(maxGrowth)
}

// maxGrowth is the percentage for a small heap, of a few MiB: a small request needs 8 % less CPU than
// with Go's 100, for 7 MiB (docs/decisions/0006).
const maxGrowth = 300

// freeGarbage is how many bytes of garbage cost too little memory to matter, whatever the heap's size.
const freeGarbage = 24 << 20

// growth returns the percentage for a heap with so many live bytes. A large heap, for instance of many
// idle connections, grows by no more than Go's 100 %: three times its size would be too much garbage.
func growth(live uint64) int {
	return int(max(100, min(maxGrowth, freeGarbage*100/max(live, 1))))
}

// afterCollection sets the percentage after each collection, beginning with the next one. last is the
// percentage in force. A cleanup runs after a collection has found its object unreachable, so each
// cleanup registers the next one on a new object.
func afterCollection(last int) {
	runtime.AddCleanup(&struct{ self *byte }{}, func(last int) {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		next := growth(live[0].Value.Uint64())
		if next != last { // SetGCPercent stops the world
			debug.SetGCPercent(next)
		}
		afterCollection(next)
	}, last)
}
