package telemetry

import (
	"cmp"
	"iter"
	"log/slog"
	"slices"
	"time"
)

// Event is a span event of a request. Where a counter counts the same thing, there is exactly one for each increment.
type Event struct {
	Name, Doc string
	Details   []Described
}

// Described is the name and the meaning of a detail, for the docs.
type Described struct{ Name, Doc string }

// Events returns the events that the span of a request can have.
func Events() []Event {
	return []Event{
		{EventLimited, "A rate limit rejected the request.", Describe(LimitedDetails)},
		{EventFailover, "An attempt failed, and pace asks another backend.", Describe(FailoverDetails)},
		{EventRetry, "An attempt failed, and pace asks the same backend again on a new connection.", Describe(RetryDetails)},
		{EventEjected, "An attempt of the request failed, and its backend was ejected for that.", Describe(EjectedDetails)},
		{EventBudget, "Another attempt was called for, and the budget of the upstream allowed none, so the request ended with what it had.", Describe(BudgetDetails)},
		{EventMirrored, "A copy of the request was sent to another upstream; a span of its own, in a trace of its own, has a link to this one.", Describe(MirroredDetails)},
	}
}

// Describe returns the names and the meanings of the details.
func Describe[T any](details []Detail[T]) (all []Described) {
	for _, d := range details {
		all = append(all, Described{d.Name, d.Doc})
	}
	return all
}

// Happening is an event that happened to a request.
type Happening struct {
	Name    string // of an [Event]
	At      time.Time
	Details iter.Seq2[string, slog.Value] // some may be absent
}

// Happenings returns the events of an ended record, in order of time.
func (r *Record) Happenings() []Happening {
	list := slices.Concat(
		happenings(EventLimited, LimitedDetails, r.Limited, func(l *Limited) time.Time { return l.At }),
		happenings(EventFailover, FailoverDetails, r.Failovers, func(f *Failover) time.Time { return f.At }),
		happenings(EventRetry, RetryDetails, r.Retries, func(y *Retry) time.Time { return y.At }),
		happenings(EventEjected, EjectedDetails, r.Ejected, func(e *Ejected) time.Time { return e.At }),
		happenings(EventBudget, BudgetDetails, r.OverBudget, func(o *OverBudget) time.Time { return o.At }),
		happenings(EventMirrored, MirroredDetails, r.Mirrored, func(m *Mirrored) time.Time { return m.At }))
	slices.SortStableFunc(list, func(a, b Happening) int { return cmp.Compare(a.At.UnixNano(), b.At.UnixNano()) })
	return list
}

func happenings[T any](name string, details []Detail[T], of []T, at func(*T) time.Time) (list []Happening) {
	for i := range of {
		list = append(list, Happening{name, at(&of[i]), func(yield func(string, slog.Value) bool) {
			for _, d := range details {
				if !yield(d.Name, d.Value(&of[i])) {
					return
				}
			}
		}})
	}
	return list
}
