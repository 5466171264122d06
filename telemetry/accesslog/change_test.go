package accesslog

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A change of file and format loses no line, and every line is whole, in one form or the other.
func TestPrepare_LosesNoLineConcurrentSafe(t *testing.T) {
	first, second := filepath.Join(t.TempDir(), "first"), filepath.Join(t.TempDir(), "second")
	l, err := Open(Options{Format: "json", File: first})
	if err != nil {
		t.Fatal(err)
	}
	named := l.With(slog.String("by", "test"))
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := range 500 {
				named.LogAttrs(context.Background(), slog.LevelInfo, fmt.Sprintf("line-%d-%d.", w, i))
			}
		})
	}
	for i := range 20 {
		o := Options{Format: []string{"text", "json"}[i%2], File: []string{second, first}[i%2]}
		change, err := l.Prepare(o)
		if err != nil {
			t.Fatal(err)
		}
		change()
		time.Sleep(time.Millisecond)
	}
	writers.Wait()
	l.Close()
	both := content(first) + content(second)
	for w := range 4 {
		for i := range 500 {
			if n := strings.Count(both, fmt.Sprintf("line-%d-%d.", w, i)); n != 1 {
				t.Fatalf("line %d of writer %d is there %d times", i, w, n)
			}
		}
	}
	for line := range strings.Lines(both) {
		if json := strings.HasPrefix(line, "{") && strings.HasSuffix(line, `"by":"test"}`+"\n"); !json && !strings.HasSuffix(line, "by=test\n") {
			t.Fatalf("a line that is not whole: %q", line)
		}
	}
}

// A file that cannot be opened changes nothing.
func TestPrepare_FailsWithoutATrace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	l, err := Open(Options{Format: "json", File: file})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Prepare(Options{File: filepath.Join(t.TempDir(), "no", "log")}); err == nil {
		t.Error("a file in no folder was opened")
	}
	l.Info("still here")
	l.Close()
	if !strings.Contains(content(file), "still here") {
		t.Errorf("got %q", content(file))
	}
}

func TestSetLevelFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Log{}
		l.Logger = slog.New(inForce{log: l})
		l.level.set(slog.LevelInfo)
		var ended []slog.Level
		debug := func() bool { return l.Enabled(context.Background(), slog.LevelDebug) }
		for range 2 { // the second one begins before the first has ended
			l.SetLevelFor(slog.LevelDebug, time.Minute, func(now slog.Level) { ended = append(ended, now) })
			time.Sleep(50 * time.Second)
		}
		l.level.set(slog.LevelWarn) // a reload
		if !debug() {
			t.Error("the first end, or the reload, ended the second turn")
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if debug() || l.Enabled(context.Background(), slog.LevelInfo) {
			t.Error("the reloaded level is not in force after the end")
		}
		if len(ended) != 1 || ended[0] != slog.LevelWarn {
			t.Errorf("ended %v, want once, at warn", ended)
		}
	})
}
