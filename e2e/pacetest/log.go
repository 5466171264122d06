package pacetest

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
)

// Line is one line of pace's log.
type Line map[string]any

// Text returns a field as text, "" if it is absent.
func (l Line) Text(key string) string {
	if v, ok := l[key]; ok {
		return fmt.Sprint(v)
	}
	return ""
}

// Int returns a numeric field, -1 if it is absent or not a whole number.
func (l Line) Int(key string) int {
	if f, ok := l[key].(float64); ok && f == float64(int(f)) {
		return int(f)
	}
	return -1
}

// logTail collects what pace writes to a stream.
type logTail struct {
	mu  sync.Mutex
	raw strings.Builder // guarded by mu
}

func (l *logTail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.raw.Write(p)
}

func (l *logTail) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.raw.String()
}

// Stderr returns everything pace has written to stderr.
func (p *Pace) Stderr() string { return p.log.text() }

// Lines returns the log's lines so far whose msg is msg, in order. A line that is not one
// whole JSON object fails the test: nothing from the wire may split or forge one.
func (p *Pace) Lines(msg string) []Line {
	p.t.Helper()
	text := p.Stderr()
	if p.logFile != "" {
		b, _ := os.ReadFile(p.logFile)
		text = string(b)
	}
	whole := text[:strings.LastIndexByte(text, '\n')+1]
	var lines []Line
	for raw := range strings.Lines(whole) {
		var line Line
		if err := json.Unmarshal([]byte(raw), &line); err != nil {
			p.t.Fatalf("log line is not JSON (%v): %q", err, raw)
		}
		if line.Text("msg") == msg {
			lines = append(lines, line)
		}
	}
	return lines
}

// AwaitLines waits until the log has at least n lines whose msg is msg, and returns those that it has. What pace has
// written a moment ago need not have come through the pipe yet.
func (p *Pace) AwaitLines(n int, msg string) (lines []Line) {
	p.t.Helper()
	Eventually(p.t, func() error {
		if lines = p.Lines(msg); len(lines) < n {
			return fmt.Errorf("the log has %d lines %q, want %d", len(lines), msg, n)
		}
		return nil
	})
	return lines
}

// Access returns the access lines of requests to path.
func (p *Pace) Access(path string) []Line {
	p.t.Helper()
	var lines []Line
	for _, line := range p.Lines("request") {
		if line.Text("path") == path {
			lines = append(lines, line)
		}
	}
	return lines
}

// WantAccess waits for the access line of path, which must be the only one, and returns it.
func (p *Pace) WantAccess(path string) Line {
	p.t.Helper()
	var lines []Line
	Eventually(p.t, func() error {
		if lines = p.Access(path); len(lines) == 0 {
			return fmt.Errorf("no access line for %s", path)
		}
		return nil
	})
	if len(lines) > 1 {
		p.t.Errorf("%d access lines for %s, want one", len(lines), path)
	}
	return lines[0]
}
