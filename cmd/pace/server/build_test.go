package server

import (
	"path/filepath"
	"testing"
	"time"

	"pace/config"
	"pace/limiter"
	"pace/telemetry/telemetrytest"
)

// A limiter that the configuration accepts may need at most the 64 GiB that config names, by the
// limiter's own formula. The tables that do not grow with the keys come on top.
func TestMemoryBound(t *testing.T) {
	const limit = 64<<30 + 64<<20
	for name, l := range map[string]config.RateLimit{
		"many keys":    {MaxRequests: 1, MaxKeys: 763_549_741},
		"a high limit": {MaxRequests: 1_000_000_000, MaxKeys: 6},
		"the default":  {MaxRequests: 10, MaxKeys: 1_000_000},
		"both":         {MaxRequests: 10_000, MaxKeys: 686_645},
	} {
		got := limiter.Options{Max: l.MaxRequests, Per: time.Minute, MaxKeys: l.MaxKeys}.MemoryBound()
		if got > limit {
			t.Errorf("%s: %d keys with a limit of %d may take %d MiB, want at most %d", name, l.MaxKeys, l.MaxRequests, got>>20, limit>>20)
		}
	}
}

// With metrics all signals are wired. Without metrics there is no handler for scrapes, not even one that is a
// nil in an interface.
func TestBuildSignals(t *testing.T) {
	for _, enabled := range []bool{true, false} {
		f := &config.File{}
		f.Metrics.Enabled, f.Log.Level, f.Log.File = enabled, "info", filepath.Join(t.TempDir(), "log")
		o, err := buildSignals(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		if got := o.scrape(f) != nil; got != enabled {
			t.Errorf("metrics enabled: %v, a handler: %v", enabled, got)
		}
		if enabled {
			telemetrytest.WantEverySignal(t, "../../../telemetry", o.signals(f))
		}
		o.shutdown(t.Context())
		o.log.Close()
	}
}
