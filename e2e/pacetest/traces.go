package pacetest

import (
	"slices"
	"strings"
	"testing"

	"pace/e2e/otlp"
)

// StartTraced is Start with an OTLP receiver of the test's own that gets every span within
// moments.
func StartTraced(t testing.TB, cfg Config, env ...string) (*Pace, *otlp.Recv) {
	t.Helper()
	r := otlp.Receiver(t)
	return Start(t, cfg, append(ExportTo(r), env...)...), r
}

// ExportTo is the environment that names r as the exporter.
func ExportTo(r *otlp.Recv) []string {
	return []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + r.GRPC, "OTEL_BSP_SCHEDULE_DELAY=20"}
}

// Trace is the spans of one request.
type Trace struct {
	Server  otlp.Span
	Clients []otlp.Span // in order of start
}

// WantTrace waits for the SERVER span that keep accepts and for its n CLIENT spans.
func WantTrace(r *otlp.Recv, n int, keep func(server otlp.Span) bool) Trace {
	var trace Trace
	r.Wait(func(spans []otlp.Span) bool {
		i := slices.IndexFunc(spans, func(s otlp.Span) bool { return s.Kind == otlp.Server && keep(s) })
		if i < 0 {
			return false
		}
		trace = Trace{Server: spans[i]}
		for _, s := range spans {
			if s.Kind == otlp.Client && s.ParentID == trace.Server.SpanID && s.TraceID == trace.Server.TraceID {
				trace.Clients = append(trace.Clients, s)
			}
		}
		return len(trace.Clients) >= n
	})
	slices.SortStableFunc(trace.Clients, func(a, b otlp.Span) int { return a.Start.Compare(b.Start) })
	return trace
}

// ID keeps the span of this trace.
func ID(traceID string) func(otlp.Span) bool {
	return func(s otlp.Span) bool { return s.TraceID == traceID }
}

// Path keeps the span of the request to path.
func Path(path string) func(otlp.Span) bool {
	return func(s otlp.Span) bool { return s.Attrs["url.path"] == path }
}

// Count counts the spans of kind received so far.
func Count(r *otlp.Recv, kind int) int {
	n := 0
	for _, s := range r.Spans() {
		if s.Kind == kind {
			n++
		}
	}
	return n
}

// CountEvents counts the span events of that name received so far.
func CountEvents(r *otlp.Recv, name string) int {
	n := 0
	for _, s := range r.Spans() {
		n += len(s.Named(name))
	}
	return n
}

// Traceparent takes the ids and the flags out of a header in W3C's form; all are "" if it has
// another.
func Traceparent(header string) (trace, span, flags string) {
	parts := strings.Split(header, "-")
	if len(parts) != 4 {
		return "", "", ""
	}
	return parts[1], parts[2], parts[3]
}

// HasPair reports whether a comma-separated header value lists item.
func HasPair(value, item string) bool {
	for part := range strings.SplitSeq(value, ",") {
		if strings.EqualFold(strings.TrimSpace(part), item) {
			return true
		}
	}
	return false
}
