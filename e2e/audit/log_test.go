package audit

import (
	"fmt"
	"slices"
	"strings"

	"pace/e2e/pacetest"
)

// againstLog holds each access line to the truth: one an exchange, and no other.
func (b *books) againstLog() {
	seen := map[*exchange]int{}
	for _, tr := range b.truths {
		for _, line := range tr.Lines("request") {
			x := b.known(line.Text("path"), line.Text("trace_id"))
			if x == nil || x.house != tr.house || x.refused != "" {
				b.differs("%s: an access line for nothing that was sent: %v", tr.name, line)
				continue
			}
			if seen[x]++; seen[x] == 1 {
				b.holdLine(x, line)
			}
		}
	}
	for _, x := range b.entered() {
		if seen[x] != 1 {
			b.differs("%s has %d access lines, want one", x.path, seen[x])
		}
	}
}

// known returns the exchange of that path. CONNECT's has none.
func (b *books) known(path, trace string) *exchange {
	if x := b.tw.byPath[path]; x != nil {
		return x
	}
	for _, x := range b.all {
		if x.name == "connect" && x.trace == trace {
			return x
		}
	}
	return nil
}

// entered are the exchanges that entered the handler.
func (b *books) entered() (list []*exchange) {
	for _, tr := range b.truths {
		list = append(append(list, tr.exchanges...), tr.flying...)
	}
	return list
}

// levels are those of outcomes that are not at INFO.
var levels = map[string]string{
	"rate_limited": "WARN", "bad_request": "WARN", "too_large": "WARN", "request_timeout": "WARN", "client_gone": "WARN", "client_aborted": "WARN",
	"upstream_error": "ERROR", "draining": "ERROR", "connect_failed": "ERROR", "connect_timeout": "ERROR", "upstream_timeout": "ERROR",
	"upstream_reset": "ERROR", "upstream_invalid": "ERROR", "upstream_truncated": "ERROR",
}

func (b *books) holdLine(x *exchange, line pacetest.Line) {
	outcome, status := x.ends()
	if x != b.tw.held {
		b.row(line.Text("outcome")).log++
	}
	level := levels[outcome]
	if level == "" {
		level = "INFO"
	}
	want := map[string]string{
		"level": level, "method": x.method, "status": fmt.Sprint(status), "outcome": outcome, "client": x.source, "route": "/",
		"trace_id": x.trace, "trace_sampled": fmt.Sprint(!x.quiet), "stream": x.stream, "close_reason": x.closed,
	}
	if n := len(x.attempts); n > 0 {
		want["upstream"] = "default"
		if len(x.house.unseen) == 0 { // else the last one may have been one that no backend saw
			want["attempts"] = fmt.Sprint(n)
			want["backend"] = x.attempts[n-1].backend
			want["failovers"] = x.hops()
		}
		if id := x.attempts[n-1].requestID; id != "" {
			want["request_id"] = id
		}
		if in := x.attempts[n-1].body; in >= 0 && outcome != "upgraded" {
			want["bytes_in"] = fmt.Sprint(len(x.body))
			if in != len(x.body) {
				b.differs("%s: the backend got %d bytes, the client sent %d", x.path, in, len(x.body))
			}
		}
	} else if len(x.house.unseen) == 0 {
		want["attempts"], want["backend"], want["failovers"] = "0", "", ""
	}
	if x.backend() != "" {
		want["backend"] = x.backend()
	}
	// The system has words for what backends do; that a client left, or a body was no good, it need not say.
	if slices.Contains(failoverReasons, outcome) || outcome == "upstream_truncated" {
		if line.Text("error") == "" {
			b.differs("%s: the access line has no error", x.path)
		}
	} else if levels[outcome] != "WARN" && line.Text("error") != "" {
		b.differs("%s: the access line has the error %q, and nothing failed", x.path, line.Text("error"))
	}
	if id := x.got.Header.Get("X-Request-Id"); id != "" {
		want["request_id"] = id
	}
	if out := x.handedOn(); out >= 0 {
		want["bytes_out"] = fmt.Sprint(out)
	}
	if outcome == "upgraded" {
		want["bytes_in"] = fmt.Sprint(len(message))
	}
	if in := line.Text("left_in"); in == "" && x.leftIn() != nil || in != "" && !slices.Contains(x.leftIn(), in) {
		b.differs("%s: the access line has left_in %q, want one of %q", x.path, in, x.leftIn())
	}
	for field, value := range want {
		got := line.Text(field)
		if strings.HasPrefix(field, "bytes") {
			got = fmt.Sprint(line.Int(field)) // which JSON has as a floating-point number
		}
		if got != value {
			b.differs("%s: the access line has %s %q, want %q", x.path, field, got, value)
		}
	}
	b.lines[x] = line
}

// hops is what the line must have of the failovers, whose attempts backends have written down.
func (x *exchange) hops() string {
	var list []any
	for i := range max(0, len(x.attempts)-1) {
		if a := x.attempts[i]; x.attempts[i+1].backend != a.backend {
			list = append(list, map[string]any{"from": a.backend, "reason": a.failure})
		}
	}
	if list == nil {
		return ""
	}
	return fmt.Sprint(list)
}
