package contract

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pace/e2e/pacetest"
)

// Each way in which people and programs change a file is seen, again and again.
func TestWatch(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		// place puts the first text where pace is to read it, and returns the path; change brings the next text.
		place  func(t *testing.T, dir, text string) (file string)
		change func(t *testing.T, dir, text string, nth int)
	}{
		{
			"written in place",
			func(t *testing.T, dir, text string) string { return writeFile(t, dir, "proxy.toml", text) },
			func(t *testing.T, dir, text string, _ int) { writeFile(t, dir, "proxy.toml", text) },
		},
		{
			"replaced by a rename, as editors do",
			func(t *testing.T, dir, text string) string { return writeFile(t, dir, "proxy.toml", text) },
			func(t *testing.T, dir, text string, _ int) {
				rename(t, writeFile(t, dir, ".proxy.toml.swp", text), filepath.Join(dir, "proxy.toml"))
			},
		},
		{
			"a ConfigMap of Kubernetes",
			func(t *testing.T, dir, text string) string {
				version := mkdir(t, dir, "..2026_0")
				writeFile(t, version, "proxy.toml", text)
				symlink(t, filepath.Base(version), filepath.Join(dir, "..data"))
				symlink(t, "..data/proxy.toml", filepath.Join(dir, "proxy.toml"))
				return filepath.Join(dir, "proxy.toml")
			},
			func(t *testing.T, dir, text string, nth int) {
				old, _ := filepath.EvalSymlinks(filepath.Join(dir, "..data"))
				version := mkdir(t, dir, "..2026_"+strings.Repeat("x", nth+1))
				writeFile(t, version, "proxy.toml", text)
				symlink(t, filepath.Base(version), filepath.Join(dir, "..data_tmp"))
				rename(t, filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data"))
				os.RemoveAll(old)
			},
		},
		{
			"a link to another release",
			func(t *testing.T, dir, text string) string {
				writeFile(t, mkdir(t, dir, "release-0"), "proxy.toml", text)
				symlink(t, "release-0", filepath.Join(dir, "current"))
				return filepath.Join(dir, "current", "proxy.toml")
			},
			func(t *testing.T, dir, text string, nth int) {
				release := mkdir(t, dir, "release-"+strings.Repeat("x", nth+1))
				writeFile(t, release, "proxy.toml", text)
				symlink(t, filepath.Base(release), filepath.Join(dir, "next"))
				rename(t, filepath.Join(dir, "next"), filepath.Join(dir, "current"))
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := pacetest.NewBackend(t, pacetest.Fine)
			cfg := onFreePorts(t, upstreams(b))
			cfg["log"] = pacetest.Table{"format": "json"}
			text := func(value string) string { return set(cfg, "headers", "proxy_value", value).TOML() }
			dir := t.TempDir()
			p := pacetest.Launch(t, nil, "run", "--watch", tt.place(t, dir, text("first")))
			p.Proxy = cfg["server"]["listen"].(string)
			awaitServing(t, p)
			for nth, value := range []string{"second", "third", "fourth"} {
				tt.change(t, dir, text(value), nth)
				awaitApplied(t, p, nth+1)
				path := "/" + value
				wantStatus(t, p.Get(path), 200)
				if got := b.WantGot(1, path)[0].Header.Get("X-Proxy"); got != value {
					t.Fatalf("after change %d: X-Proxy is %q, want %q", nth, got, value)
				}
			}
			// The same bytes once more are no change, a fault is one that is refused, and both leave pace watching.
			tt.change(t, dir, text("fourth"), 3)
			tt.change(t, dir, "[nonsense]\n", 4)
			pacetest.Eventually(t, func() error { return has(p.Stderr(), ": nonsense: unknown table") })
			tt.change(t, dir, text("fifth"), 5)
			awaitApplied(t, p, 4)
		})
	}
}

// If the system reports no changes, pace logs that and polls. Here the reason is that the folder is gone.
func TestWatch_WhatCannotBeWatchedIsPolled(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	cfg := onFreePorts(t, upstreams(b))
	cfg["log"] = pacetest.Table{"format": "json"}
	dir := mkdir(t, t.TempDir(), "etc")
	p := pacetest.Launch(t, nil, "run", "--watch", writeFile(t, dir, "proxy.toml", cfg.TOML()))
	p.Proxy = cfg["server"]["listen"].(string)
	awaitServing(t, p)
	os.RemoveAll(dir)
	pacetest.Eventually(t, func() error {
		if lines := p.Lines("the configuration cannot be watched: pace looks for a change now and then"); len(lines) != 1 {
			return notYet("%d warnings: %v", len(lines), lines)
		}
		return nil
	})
	wantStatus(t, p.Get("/still"), 200)
	mkdir(t, filepath.Dir(dir), "etc")
	writeFile(t, dir, "proxy.toml", set(cfg, "headers", "proxy_value", "new").TOML())
	awaitApplied(t, p, 1)
}

// awaitApplied waits until pace has noticed and applied so many changes. What it reads in the middle of a write may
// be refused before.
func awaitApplied(t *testing.T, p *pacetest.Pace, n int) {
	t.Helper()
	pacetest.Eventually(t, func() error {
		lines := p.Lines("configuration reloaded")
		if len(lines) != n || lines[n-1].Text("by") != "watch" {
			return notYet("%d reloads, want %d: %v", len(lines), n, p.Reloads())
		}
		return nil
	})
}

func writeFile(t *testing.T, dir, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func mkdir(t *testing.T, dir, name string) (path string) {
	t.Helper()
	path = filepath.Join(dir, name)
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func symlink(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}
