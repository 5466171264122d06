package server

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
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
	return reloaderAfter(t, file, func() {})
}

// reloaderAfter is reloaderOf with something that happens as soon as the file has been read.
func reloaderAfter(t *testing.T, file string, happens func()) *reloader {
	t.Helper()
	r := newReloader(file, true)
	f, err := r.read()
	if err != nil {
		t.Fatal(err)
	}
	happens()
	p, err := build(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.log.Close() })
	r.begin(f, "", p)
	return r
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

// What changes while pace starts, after it has been read, has changed: watch looks once it watches.
func TestStart_NoticesWhatChangesMeanwhile(t *testing.T) {
	for _, changed := range []string{"proxy.toml", "secret", "token"} {
		t.Run(changed, func(t *testing.T) {
			dir := t.TempDir()
			at := func(name string) string { return filepath.Join(dir, name) }
			write := func(path, text string) {
				t.Helper()
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write(at("secret"), "a")
			write(at("token"), "0123456789abcdef0123456789abcdef")
			write(at("proxy.toml"), fmt.Sprintf("[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"\"\ntoken_file = %q\n[log]\nfile = %q\n[headers]\nproxy_value = \"${file:%s}\"\n[upstreams]\nbackends = [\"http://10.0.0.1\"]\n", at("token"), at("log"), at("secret")))
			if r := reloaderOf(t, at("proxy.toml")); r.hasChanged() {
				t.Error("something has changed, although nobody has written")
			}
			if r := reloaderAfter(t, at("proxy.toml"), func() { write(at(changed), "another text") }); !r.hasChanged() {
				t.Errorf("nothing has changed, although %s has another content", changed)
			}
		})
	}
}
