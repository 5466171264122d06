//go:build unix && !race

package server

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestReload_TakesTimeInProportionToItsRoutes reloads files of which every route has changed. It counts the time of
// the processor, because a machine that does more takes longer. The quickest of three counts.
func TestReload_TakesTimeInProportionToItsRoutes(t *testing.T) {
	few, many := quickestReload(t, 1000), quickestReload(t, 10_000)
	t.Logf("1,000 routes took %v of the processor's time, 10,000 took %v", few, many)
	if ratio := float64(many) / float64(few); ratio > 1.5*10 {
		t.Errorf("10 times as many routes took %.1f times as long", ratio)
	}
}

// quickestReload returns how long the processors work for a reload that changes so many routes.
func quickestReload(t *testing.T, routes int) time.Duration {
	t.Helper()
	file := filepath.Join(t.TempDir(), "proxy.toml")
	write := func(first, second string) {
		var text strings.Builder
		fmt.Fprintf(&text, "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"\"\n[log]\nfile = %q\n[upstream.a]\nbackends = [\"http://10.0.0.1\"]\n[upstream.b]\nbackends = [\"http://10.0.0.2\"]\n",
			filepath.Join(filepath.Dir(file), "log"))
		for i := range routes / 2 {
			fmt.Fprintf(&text, "[[route]]\nmatch = \"/service%d/\"\nupstream = %q\n[[route]]\nmatch = \"GET /api/v1/service%[1]d/items/{id}\"\nupstream = %q\n", i, first, second)
		}
		if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a", "b")
	r := reloaderOf(t, file)
	quickest := time.Hour
	for i := range 3 {
		if i%2 == 0 {
			write("b", "a")
		} else {
			write("a", "b")
		}
		before := processorTime(t)
		done := r.reload("test")
		took := processorTime(t) - before
		if len(done.Changes) != routes {
			t.Fatalf("got %d changes, faults %q", len(done.Changes), done.Faults)
		}
		quickest = min(quickest, took)
	}
	return quickest
}

// processorTime returns how long the processors have worked for this process.
func processorTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
