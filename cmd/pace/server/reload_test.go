package server

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"pace/cmd/pace/vet"
)

// atEachLine is a log that calls a function for each line.
type atEachLine func(msg string)

func (f atEachLine) Enabled(context.Context, slog.Level) bool { return true }

func (f atEachLine) Handle(_ context.Context, r slog.Record) error {
	f(r.Message)
	return nil
}

func (f atEachLine) WithAttrs([]slog.Attr) slog.Handler { return f }
func (f atEachLine) WithGroup(string) slog.Handler      { return f }

// reloaderOf returns the reloader of a pace that is built from file, and not served.
func reloaderOf(t *testing.T, file string) *reloader {
	t.Helper()
	f, err := vet.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	p, err := build(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.log.Close() })
	return newReloader(file, f, "", p)
}

// A file that the configuration names for the first time, and that appears or changes as soon as it has been read, has
// changed since: it must be read again.
func TestReload_NoticesThatAFileIsThereAMomentLater(t *testing.T) {
	dir := t.TempDir()
	file, secret := filepath.Join(dir, "proxy.toml"), filepath.Join(dir, "secret")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const text = "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"\"\n[log]\nfile = %q\n[[route]]\nmatch = \"/\"\nupstream = \"default\"\nrequest_headers.set = { X-A = %q }\n[upstreams]\nbackends = [\"http://10.0.0.1\"]\n"
	write(file, fmt.Sprintf(text, filepath.Join(dir, "log"), "a"))
	r := reloaderOf(t, file)
	p := r.parts

	write(file, fmt.Sprintf(text, filepath.Join(dir, "log"), "${file:"+secret+"}"))
	p.log.Logger = slog.New(atEachLine(func(string) { write(secret, "b") }))
	if done := r.reload("test"); len(done.Faults) != 1 {
		t.Fatalf("without the file: faults %q, want one", done.Faults)
	}
	if !r.hasChanged() {
		t.Error("nothing has changed, although the file is there now")
	}
	p.log.Logger = slog.New(atEachLine(func(string) { write(secret, "c") }))
	if done := r.reload("test"); len(done.Changes) != 1 || len(done.Faults) > 0 {
		t.Errorf("with the file: changes %q, faults %q", done.Changes, done.Faults)
	}
	if !r.hasChanged() {
		t.Error("nothing has changed, although the file has another content now")
	}
	p.log.Logger = slog.New(slog.DiscardHandler)
	r.reload("test")
	if r.hasChanged() {
		t.Error("something has changed, although nobody has written")
	}
}
