package recent

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"pace/telemetry"
)

// Filter says which exchanges somebody asks for; its zero value asks for all.
type Filter struct {
	outcome string
	side    string
	route   string
	backend string // of any attempt, host:port
	status  int
	longer  time.Duration
	trace   string
	since   time.Time // of the end
}

// The parameters that a query may have; those that page through a list are not of the filter.
var (
	filterNames = []string{"outcome", "side", "route", "backend", "status", "min_ms", "trace", "since"}
	pageNames   = []string{"limit", "after"}
)

// parseFilter reads the parameters of a query. An error says what is wrong with which of them.
func parseFilter(q url.Values, now time.Time, others ...string) (f Filter, err error) {
	for name, values := range q {
		switch {
		case !slices.Contains(filterNames, name) && !slices.Contains(others, name):
			return f, fmt.Errorf("unknown parameter %q; write one of %s", name, strings.Join(append(slices.Clone(filterNames), others...), ", "))
		case len(values) > 1:
			return f, fmt.Errorf("%s is given %d times; write it once", name, len(values))
		}
	}
	f.outcome, f.side, f.route, f.backend, f.trace = q.Get("outcome"), q.Get("side"), q.Get("route"), q.Get("backend"), q.Get("trace")
	if words := telemetry.WordsOf(telemetry.Outcomes()); f.outcome != "" && !slices.Contains(words, f.outcome) {
		return f, fmt.Errorf("outcome: unknown word %q; write one of %s", f.outcome, strings.Join(words, ", "))
	}
	if f.side != "" && !slices.Contains(sides, telemetry.Side(f.side)) {
		return f, fmt.Errorf("side: unknown word %q; write one of client, backend, limiter, pace, none", f.side)
	}
	if f.trace != "" && !IsTraceID(f.trace) {
		return f, fmt.Errorf("trace: %q is not a trace id; write its 32 hexadecimal digits", f.trace)
	}
	if s := q.Get("status"); s != "" {
		if f.status, err = strconv.Atoi(s); err != nil || f.status < 100 || f.status > 999 {
			return f, fmt.Errorf("status: %q is not a status; write three digits, such as 502", s)
		}
	}
	if s := q.Get("min_ms"); s != "" {
		ms, err := strconv.ParseFloat(s, 64)
		if err != nil || !(ms >= 0 && ms < 1e12) {
			return f, fmt.Errorf("min_ms: %q is not a number of milliseconds; write one, such as 250", s)
		}
		f.longer = time.Duration(ms * float64(time.Millisecond))
	}
	if s := q.Get("since"); s != "" {
		if f.since, err = sinceOf(s, now); err != nil {
			return f, err
		}
	}
	return f, nil
}

var sides = []telemetry.Side{telemetry.ClientSide, telemetry.BackendSide, telemetry.LimiterSide, telemetry.PaceSide, telemetry.NoSide}

// sinceOf reads a moment, or how long ago it was.
func sinceOf(s string, now time.Time) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		return at, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return now, fmt.Errorf(`since: %q is neither a time nor a duration; write one like 2026-11-24T03:12:00Z or 10m`, s)
	}
	return now.Add(-d), nil
}

// IsTraceID reports whether s is the id of a trace, as 32 hexadecimal digits in lower case.
func IsTraceID(s string) bool {
	id, err := trace.TraceIDFromHex(s)
	return err == nil && id.IsValid()
}

// matches reports whether the exchange is asked for.
func (f *Filter) matches(r *telemetry.Record) bool {
	info := r.Outcome.Info()
	return (f.outcome == "" || f.outcome == info.Word) &&
		(f.side == "" || f.side == string(info.Side)) &&
		(f.route == "" || f.route == r.RouteName()) &&
		(f.status == 0 || f.status == r.Status) &&
		(f.trace == "" || f.trace == r.Trace) &&
		r.End.Sub(r.Start) >= f.longer &&
		!r.End.Before(f.since) &&
		(f.backend == "" || slices.ContainsFunc(r.Attempts, func(a telemetry.Attempt) bool { return a.Backend == f.backend }))
}
