// Package inflight renders the records of exchanges in flight, as /api/v1/inflight and the log show them.
// It reads of a record only what another goroutine than the handler's may read. It must not know who lists
// the exchanges, nor any package of pace but telemetry.
package inflight

import (
	"cmp"
	"iter"
	"log/slog"
	"slices"
	"time"

	"pace/telemetry"
)

// Running is an exchange in flight at one instant.
type Running struct {
	Method    string  `json:"method"`
	Path      string  `json:"path"`
	Client    string  `json:"client"`
	Route     string  `json:"route"`
	RouteName string  `json:"route_name"`
	Stream    string  `json:"stream,omitempty"`
	Phase     string  `json:"phase"`
	PhaseMS   float64 `json:"phase_ms"` // since the phase began
	AgeMS     float64 `json:"age_ms"`
	Backend   string  `json:"backend,omitempty"` // of the present attempt
	Attempts  int     `json:"attempts"`
	TraceID   string  `json:"trace_id"`
	RequestID string  `json:"request_id"`
}

// Of renders a record that is in flight at this instant.
func Of(r *telemetry.Record, now time.Time) Running {
	p := r.Present()
	return Running{
		Method:    telemetry.Printable(r.Method),
		Path:      telemetry.Printable(r.Path),
		Client:    r.Client,
		Route:     r.RoutePath(),
		RouteName: r.RouteName(),
		Stream:    p.Stream.String(),
		Phase:     p.Phase.String(),
		PhaseMS:   telemetry.Milliseconds(now.Sub(p.Since)),
		AgeMS:     telemetry.Milliseconds(now.Sub(r.Start)),
		Backend:   p.Backend,
		Attempts:  p.Attempts,
		TraceID:   r.Trace,
		RequestID: telemetry.Printable(r.RequestID),
	}
}

// List renders all records, the oldest first. The list is never nil.
func List(records iter.Seq[*telemetry.Record], now time.Time) []Running {
	list := []Running{}
	for r := range records {
		list = append(list, Of(r, now))
	}
	slices.SortFunc(list, func(a, b Running) int { return cmp.Compare(b.AgeMS, a.AgeMS) })
	return list
}

// Attrs returns the attributes of the line that the log gets about a slow exchange.
func (r Running) Attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("method", r.Method),
		slog.String("path", r.Path),
		slog.String("client", r.Client),
		slog.Float64("age_ms", r.AgeMS),
		slog.String("phase", r.Phase),
		slog.Float64("phase_ms", r.PhaseMS),
		slog.String("backend", r.Backend),
		slog.Int("attempts", r.Attempts),
		slog.String("trace_id", r.TraceID),
		slog.String("request_id", r.RequestID),
	}
}
