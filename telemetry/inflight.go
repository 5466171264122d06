package telemetry

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Running is a request in flight, as /api/v1/inflight shows it.
type Running struct {
	Method    string  `json:"method"`
	Path      string  `json:"path"`
	Client    string  `json:"client"`
	Route     string  `json:"route"`
	Stream    string  `json:"stream,omitempty"`
	Phase     string  `json:"phase"`
	PhaseMS   float64 `json:"phase_ms"` // since the phase began
	AgeMS     float64 `json:"age_ms"`
	Backend   string  `json:"backend,omitempty"` // of the present attempt
	Attempts  int     `json:"attempts"`
	TraceID   string  `json:"trace_id"`
	RequestID string  `json:"request_id"`
}

// flight lists the records in flight. It is cut in parts so that requests on different cores
// rarely meet; a record's list pointers and flag belong to its part's lock.
type flight [8]struct {
	mu   sync.Mutex
	head *Record
	_    [48]byte // a cache line of its own
}

// TakeOff lists the request among those in flight until its End. What it says of itself must not
// be changed any more.
func (t *Telemetry) TakeOff(r *Record) {
	p := &t.flight[r.Identity.Context.SpanID()[0]%uint8(len(t.flight))]
	p.mu.Lock()
	r.listed, r.next = true, p.head
	if p.head != nil {
		p.head.prev = r
	}
	p.head = r
	p.mu.Unlock()
}

func (t *Telemetry) land(r *Record) {
	if !r.listed {
		return
	}
	p := &t.flight[r.Identity.Context.SpanID()[0]%uint8(len(t.flight))]
	p.mu.Lock()
	if r.prev != nil {
		r.prev.next = r.next
	} else {
		p.head = r.next
	}
	if r.next != nil {
		r.next.prev = r.prev
	}
	r.next, r.prev = nil, nil
	p.mu.Unlock()
}

// each calls f for every record in flight; f must not keep it.
func (f *flight) each(visit func(*Record)) {
	for i := range f {
		p := &f[i]
		p.mu.Lock()
		for r := p.head; r != nil; r = r.next {
			visit(r)
		}
		p.mu.Unlock()
	}
}

// InFlight returns the requests that are still running, oldest first.
func (t *Telemetry) InFlight() []Running {
	now, list := time.Now(), []Running{}
	t.flight.each(func(r *Record) { list = append(list, r.running(now)) })
	slices.SortFunc(list, func(a, b Running) int { return cmp.Compare(b.AgeMS, a.AgeMS) })
	return list
}

func (r *Record) running(now time.Time) Running {
	s := r.clock.state()
	return Running{
		Method: Printable(r.Method), Path: Printable(r.Path), Client: r.Client, Route: r.Route,
		Stream: s.stream.String(), Phase: s.phase.String(), PhaseMS: milliseconds(now.Sub(s.since)),
		AgeMS: milliseconds(now.Sub(r.Start)), Backend: s.backend, Attempts: s.attempts,
		TraceID: r.Trace, RequestID: Printable(r.RequestID),
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// watchSlow logs a line for each request that runs for longer than after, before it ends, until
// ctx does. A stream may live for as long as it likes.
func (t *Telemetry) watchSlow(ctx context.Context, after time.Duration) {
	tick := time.NewTicker(max(after/10, 50*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, s := range t.slow(now, after) {
				t.log.LogAttrs(ctx, slog.LevelWarn, "still running",
					slog.String("method", s.Method), slog.String("path", s.Path), slog.String("client", s.Client),
					slog.Float64("age_ms", s.AgeMS), slog.String("phase", s.Phase), slog.Float64("phase_ms", s.PhaseMS),
					slog.String("backend", s.Backend), slog.Int("attempts", s.Attempts),
					slog.String("trace_id", s.TraceID), slog.String("request_id", s.RequestID))
			}
		}
	}
}

// slow returns the requests that have become slow since it was last called.
func (t *Telemetry) slow(now time.Time, after time.Duration) (list []Running) {
	t.flight.each(func(r *Record) {
		if r.slow || now.Sub(r.Start) < after {
			return
		}
		if s := r.running(now); s.Stream == "" {
			r.slow = true
			list = append(list, s)
		}
	})
	return list
}
