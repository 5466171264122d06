package mix

import (
	"fmt"
	"slices"
	"strings"

	"pace/e2e/pacetest"
)

// HoldLog holds each access line to the truth: one an exchange, and no other.
func (tr *Truth) HoldLog() {
	seen := map[*exchange]int{}
	for _, ac := range tr.houses {
		for _, line := range ac.Lines("request") {
			x := tr.known(line.Text("path"), line.Text("trace_id"))
			if x == nil || x.house != ac.house || x.refused != "" {
				tr.differs("%s: an access line for nothing that was sent: %v", ac.name, line)
				continue
			}
			if seen[x]++; seen[x] == 1 {
				tr.holdLine(x, line)
			}
		}
	}
	for _, x := range tr.entered() {
		if seen[x] != 1 {
			tr.differs("%s has %d access lines, want one", x.path, seen[x])
		}
	}
}

// known returns the exchange of that path. CONNECT's has none.
func (tr *Truth) known(path, trace string) *exchange {
	if x := tr.mx.byPath[path]; x != nil {
		return x
	}
	for _, x := range tr.all {
		if x.name == "connect" && x.trace == trace {
			return x
		}
	}
	return nil
}

// entered are the exchanges that entered the handler.
func (tr *Truth) entered() (list []*exchange) {
	for _, ac := range tr.houses {
		list = append(append(list, ac.exchanges...), ac.flying...)
	}
	return list
}

func (tr *Truth) holdLine(x *exchange, line pacetest.Line) {
	outcome, status := x.ends()
	if x != tr.mx.held {
		tr.row(line.Text("outcome")).log++
	}
	if kept := line.Text("kept"); kept != "" {
		tr.reason(kept).log++
	}
	level := levels[outcome]
	if level == "" {
		level = "INFO"
	}
	want := map[string]string{
		"level": level, "method": x.method, "status": fmt.Sprint(status), "outcome": outcome, "client": x.source, "route": "/", "route_name": "default",
		"trace_id": x.trace, "trace_sampled": fmt.Sprint(!x.quiet), "kept": x.keptFor(), "stream": x.stream, "close_reason": x.closed,
		"tls": x.tlsVersion(),
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
				tr.differs("%s: the backend got %d bytes, the client sent %d", x.path, in, len(x.body))
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
			tr.differs("%s: the access line has no error", x.path)
		}
	} else if levels[outcome] != "WARN" && line.Text("error") != "" {
		tr.differs("%s: the access line has the error %q, and nothing failed", x.path, line.Text("error"))
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
		tr.differs("%s: the access line has left_in %q, want one of %q", x.path, in, x.leftIn())
	}
	for field, value := range want {
		got := line.Text(field)
		if strings.HasPrefix(field, "bytes") {
			got = fmt.Sprint(line.Int(field)) // which JSON has as a floating-point number
		}
		if got != value {
			tr.differs("%s: the access line has %s %q, want %q", x.path, field, got, value)
		}
	}
	tr.lines[x] = line
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
