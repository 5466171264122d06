// Package telemetry keeps the one record of each exchange, and the words and tables that say what is
// published of it. All signals are derived from the record, each by a package of its own, so they never
// disagree. It must not know how a signal is written or where it goes, and no other package of pace.
package telemetry

import (
	"context"
	"sync/atomic"
)

// Options configure [New]; Tracing must be set.
type Options struct {
	Tracing    Tracing
	Signals    []Signal // each record is published to them in this order
	State      *State   // nil: one of its own
	QueryAllow []string // parameters whose values are published
}

// Telemetry opens the records of requests, and publishes them to the signals. Safe for concurrent use.
type Telemetry struct {
	Tracing
	*State

	published atomic.Pointer[published] // of records that begin; replaced, never changed
}

// New returns a Telemetry that publishes to the signals of o.
func New(o Options) *Telemetry {
	t := &Telemetry{Tracing: o.Tracing, State: o.State}
	t.Change(o.Signals, o.QueryAllow)
	if t.State == nil {
		t.State = &State{}
	}
	return t
}

// Begin opens the record of a request whose context comes from [Tracing].
func (t *Telemetry) Begin(ctx context.Context, method, scheme string) *Record {
	r := begin(IdentityFrom(ctx))
	p := t.published.Load()
	r.Method, r.Scheme, r.QueryAllow, r.signals = method, scheme, p.queryAllow, p.signals
	r.publish(Begun)
	return r
}

// published is to whom a record is published, and what of its query.
type published struct {
	signals    []Signal
	queryAllow map[string]bool
}

// Change makes every record that begins from now on be published to signals, in this order, with the values of
// the query parameters named. One that has begun ends at the signals at which it began.
func (t *Telemetry) Change(signals []Signal, queryAllow []string) {
	p := &published{signals: signals, queryAllow: map[string]bool{}}
	for _, name := range queryAllow {
		p.queryAllow[name] = true
	}
	t.published.Store(p)
}

// BecomeStream ends the request, because its header has been sent. What follows is a stream, which is measured
// separately.
func (t *Telemetry) BecomeStream(r *Record, kind StreamKind) {
	r.EndAttempt()
	r.Streamed = r.clock.enter(Receive)
	r.Phases = r.clock.phases()
	r.Stream = kind
	r.clock.become(kind)
	r.publish(BecameStream)
}

// End ends the record, publishes it and releases it. The caller may not touch it afterwards.
func (t *Telemetry) End(r *Record) {
	r.end()
	t.decideLast(r)
	r.publish(Ended)
	r.Release()
}

func (r *Record) publish(m Moment) {
	for _, s := range r.signals {
		s.Publish(m, r)
	}
}
