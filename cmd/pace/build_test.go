package main

import (
	"testing"
	"time"

	"pace/config"
	"pace/limiter"
)

// What config lets through may not need more than the 64 GiB it speaks of, by the limiter's own
// account, but for the tables that do not grow with the keys.
func TestMemoryBound(t *testing.T) {
	const most = 64<<30 + 64<<20
	for name, l := range map[string]config.RateLimit{
		"many keys":   {MaxRequests: 1, MaxKeys: 763_549_741},
		"many places": {MaxRequests: 1_000_000_000, MaxKeys: 6},
		"the default": {MaxRequests: 10, MaxKeys: 1_000_000},
		"both":        {MaxRequests: 10_000, MaxKeys: 686_645},
	} {
		got := limiter.Options{Max: l.MaxRequests, Per: time.Minute, MaxKeys: l.MaxKeys}.MemoryBound()
		if got > most {
			t.Errorf("%s: %d keys with %d places may take %d MiB, want at most %d", name, l.MaxKeys, l.MaxRequests, got>>20, most>>20)
		}
	}
}
