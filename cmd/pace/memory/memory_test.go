package memory

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

func TestGrowth(t *testing.T) {
	for live, want := range map[uint64]int{0: 300, 1 << 20: 300, 8 << 20: 300, 12 << 20: 200, 24 << 20: 100, 1 << 40: 100} {
		if got := growth(live); got != want {
			t.Errorf("%d bytes live: got %d %%, want %d", live, got, want)
		}
	}
}

// The percentage follows the heap, both ways.
func TestTuneCollector(t *testing.T) {
	before := debug.SetGCPercent(maxGrowth)
	defer debug.SetGCPercent(before)
	tuneCollector()
	percent := func() uint64 {
		s := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	wait := func(want uint64) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); percent() != want; time.Sleep(time.Millisecond) {
			runtime.GC()
			if time.Now().After(deadline) {
				t.Fatalf("the percentage is %d, want %d", percent(), want)
			}
		}
	}
	held := make([]*[1 << 20]byte, 64)
	for i := range held {
		held[i] = new([1 << 20]byte)
	}
	wait(100)
	runtime.KeepAlive(held)
	held = nil
	wait(300)
}
