//go:build unix && !race

package server

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestReload_OfTenThousandRoutes reloads a file of which every route has changed. It counts the time of the processor,
// because a machine that does more takes longer, and compares it with other work, because some machines are slower. The
// quickest of three counts.
func TestReload_OfTenThousandRoutes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "proxy.toml")
	write := func(first, second string) {
		var text strings.Builder
		fmt.Fprintf(&text, "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"\"\n[log]\nfile = %q\n[upstream.a]\nbackends = [\"http://10.0.0.1\"]\n[upstream.b]\nbackends = [\"http://10.0.0.2\"]\n",
			filepath.Join(filepath.Dir(file), "log"))
		for i := range 5000 {
			fmt.Fprintf(&text, "[[route]]\nmatch = \"/service%d/\"\nupstream = %q\n[[route]]\nmatch = \"GET /api/v1/service%[1]d/items/{id}\"\nupstream = %q\n", i, first, second)
		}
		if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a", "b")
	r := reloaderOf(t, file)
	quickest, yardstick := time.Hour, time.Hour
	for i := range 3 {
		if i%2 == 0 {
			write("b", "a")
		} else {
			write("a", "b")
		}
		before := processorTime(t)
		done := r.reload("test")
		took := processorTime(t) - before
		if len(done.Changes) != 10_000 {
			t.Fatalf("got %d changes, faults %q", len(done.Changes), done.Faults)
		}
		quickest = min(quickest, took)
		yardstick = min(yardstick, decoding(t, 20*10_000))
	}
	ratio := float64(quickest) / float64(yardstick)
	t.Logf("the quickest reload took %v of the processor's time, the quickest decoding of JSON %v", quickest, yardstick)
	if ratio > 7 { // seen: 3.3 to 4.7
		t.Errorf("the quickest reload took %.1f times as long as decoding 20 times as many routes from JSON, want at most 7 times", ratio)
	}
}

// decoding returns how long the processors work to read so many routes from JSON.
func decoding(t *testing.T, routes int) time.Duration {
	text := []byte("[" + strings.Repeat(`{"match":"GET /api/v1/service/items/{id}","upstream":"a"},`, routes-1) + "{}]")
	before := processorTime(t)
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return processorTime(t) - before
}

// processorTime returns how long the processors have worked for this process.
func processorTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
