package accesslog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pace/telemetry"
)

// writer calls itself.
type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

func TestSink_WritesAllLinesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got bytes.Buffer
		s := newSink("", &got)
		var want strings.Builder
		for i := range 1000 {
			line := fmt.Sprintf("line %d\n", i)
			want.WriteString(line)
			if n, err := s.Write([]byte(line)); n != len(line) || err != nil {
				t.Fatalf("got %d, %v", n, err)
			}
		}
		s.Close()
		if got.String() != want.String() {
			t.Errorf("got %d bytes, want %d", got.Len(), want.Len())
		}
		wantLost(t, s, 0, 0)
	})
}

// A disk that has stopped costs lines, counted, and never the time of who logs.
func TestSink_BlockedWriterBlocksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stopped, written := make(chan struct{}), 0
		s := newSink("", writer(func(b []byte) (int, error) {
			<-stopped
			written += bytes.Count(b, []byte("\n"))
			return len(b), nil
		}))
		line := append(bytes.Repeat([]byte("x"), 1023), '\n')
		s.Write(line)
		rest() // the writer has it, and is stuck
		for range 2 * sinkLimit / len(line) {
			s.Write(line)
		}
		wantLost(t, s, sinkLimit/len(line), 0)
		close(stopped)
		s.Close()
		if want := 1 + sinkLimit/len(line); written != want {
			t.Errorf("%d lines were written, want %d", written, want)
		}
	})
}

func TestSink_CountsTheLinesOfAFailedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails, written := true, 0
		s := newSink("", writer(func(b []byte) (int, error) {
			if fails {
				return 0, errors.New("no space left on device")
			}
			written++
			return len(b), nil
		}))
		for range 3 {
			s.Write([]byte("lost\n"))
		}
		rest()
		wantLost(t, s, 0, 3)
		fails = false // there is room again
		s.Write([]byte("written\n"))
		s.Close()
		wantLost(t, s, 0, 3)
		if written != 1 {
			t.Errorf("%d writes after the disk has room again, want 1", written)
		}
	})
}

func TestSink_CountsWhatComesAfterItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink("", io.Discard)
		s.Close()
		s.Write([]byte("late\n"))
		wantLost(t, s, 1, 0)
	})
}

// rest gives whatever lingers the time to be done, in a bubble.
func rest() {
	time.Sleep(time.Minute)
	synctest.Wait()
}

// wantLost holds the counters to how many lines were lost.
func wantLost(t *testing.T, s *sink, full, failed int) {
	t.Helper()
	if a, b := s.lost.Of(telemetry.BufferFull), s.lost.Of(telemetry.WriteFailed); a != int64(full) || b != int64(failed) {
		t.Errorf("lost %d because of a full buffer and %d in writing, want %d and %d", a, b, full, failed)
	}
}

// As logrotate does it: the file is moved away, pace is told, and later lines go to a new one.
func TestLog_ReopenSwitchesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := Open(Options{File: path})
	if err != nil {
		t.Fatal(err)
	}
	l.Info("before")
	waitFor(t, "the line before", func() bool { return strings.Contains(content(path), "before") })
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	l.Reopen()
	waitFor(t, "the new file", func() bool { _, err := os.Stat(path); return err == nil })
	l.Info("after")
	l.Close()
	if old, now := content(path+".1"), content(path); !strings.Contains(old, "before") || strings.Contains(old, "after") || !strings.Contains(now, "after") {
		t.Errorf("the old file has %q, the new one %q", old, now)
	}
	wantLost(t, l.sink, 0, 0)
}

// A file that cannot be opened anew costs nothing: the old one is written on, and says so.
func TestLog_ReopenThatFailsKeepsTheFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "log")
	l, err := Open(Options{File: path})
	if err != nil {
		t.Fatal(err)
	}
	old, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	l.Reopen()
	l.Info("after")
	l.Close()
	b, err := io.ReadAll(old)
	if err != nil || !strings.Contains(string(b), "after") || !strings.Contains(string(b), "the log file cannot be opened again") {
		t.Errorf("the old file has %q, %v", b, err)
	}
	wantLost(t, l.sink, 0, 0)
}

func TestSink_ConcurrentSafe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	out, err := openFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := newSink(path, out)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				s.Write([]byte("one whole line\n"))
			}
		})
	}
	for range 20 {
		if err := s.Reopen(); err != nil {
			t.Error(err)
		}
	}
	all.Wait()
	s.Close()
	if got := strings.Count(content(path), "one whole line\n"); got != 1600 {
		t.Errorf("%d lines, want 1600", got)
	}
	wantLost(t, s, 0, 0)
}

func TestOpenLog_NamesTheFileThatItCannotOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "no", "log")
	if _, err := Open(Options{File: path}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}

func content(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}

// waitFor polls until it is so.
func waitFor(t testing.TB, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
