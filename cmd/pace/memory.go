package main

import (
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// gcPercent lets the heap grow to four times what lives in it, a few MiB, before it is collected:
// 8 % less CPU a small request than with 100, for 7 MiB (docs/decisions/0006). GOGC goes before it.
const gcPercent = 300

// limitMemory keeps the collector within the cgroup's limit, less a tenth; GOMEMLIMIT goes before it.
func limitMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	// Without a cgroup there is nothing to keep within, and that is no fault.
	memlimit.Set(memlimit.WithRatio(0.9), memlimit.WithProvider(memlimit.FromCgroup))
}
