package pacetest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// reloadLines are the messages of the lines that report how a reload ended.
var reloadLines = []string{"configuration reloaded", "configuration unchanged", "reload refused: the configuration before stays in force"}

// Write replaces the configuration file of pace as an editor does: it writes a new file and renames it.
func (p *Pace) Write(cfg Config) { p.WriteTOML(cfg.withBase().TOML()) }

// WriteTOML is Write for a text.
func (p *Pace) WriteTOML(text string) {
	p.t.Helper()
	next := p.File + ".next"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Rename(next, p.File); err != nil {
		p.t.Fatal(err)
	}
}

// Reload writes cfg, sends SIGHUP, and returns the line that reports how the reload ended.
func (p *Pace) Reload(cfg Config) Line {
	p.t.Helper()
	p.Write(cfg)
	return p.HUP()
}

// HUP sends SIGHUP, and returns the line that reports how the reload ended.
func (p *Pace) HUP() Line {
	p.t.Helper()
	before := len(p.Reloads())
	p.Signal(syscall.SIGHUP)
	return p.AwaitReload(before)
}

// AwaitReload waits until more than so many reloads have ended, and returns the line of the last one.
func (p *Pace) AwaitReload(before int) (last Line) {
	p.t.Helper()
	Eventually(p.t, func() error {
		lines := p.Reloads()
		if len(lines) <= before {
			return fmt.Errorf("%d reloads have ended, want more than %d", len(lines), before)
		}
		last = lines[len(lines)-1]
		return nil
	})
	return last
}

// Reloads returns the lines of all reloads so far, in order.
func (p *Pace) Reloads() (lines []Line) {
	p.t.Helper()
	for _, msg := range reloadLines {
		lines = append(lines, p.Lines(msg)...)
	}
	slices.SortStableFunc(lines, func(a, b Line) int { return a.time().Compare(b.time()) })
	return lines
}

func (l Line) time() time.Time {
	at, _ := time.Parse(time.RFC3339Nano, l.Text("time"))
	return at
}

// List returns a field that is a list of texts.
func (l Line) List(key string) (texts []string) {
	list, _ := l[key].([]any)
	for _, e := range list {
		texts = append(texts, strings.TrimSpace(fmt.Sprint(e)))
	}
	return texts
}
