// Package telemetry keeps the one record of each exchange, and the words and tables that say what is
// published of it. All signals are derived from the record, each by a package of its own, so they never
// disagree. It must not know how a signal is written or where it goes, and no other package of pace.
package telemetry

import "context"

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

	signals    []Signal
	queryAllow map[string]bool
}

// New returns a Telemetry that publishes to the signals of o.
func New(o Options) *Telemetry {
	t := &Telemetry{Tracing: o.Tracing, State: o.State, signals: o.Signals, queryAllow: map[string]bool{}}
	if t.State == nil {
		t.State = &State{}
	}
	for _, name := range o.QueryAllow {
		t.queryAllow[name] = true
	}
	return t
}

// Begin opens the record of a request whose context comes from [Tracing].
func (t *Telemetry) Begin(ctx context.Context, method, scheme string) *Record {
	r := begin(IdentityFrom(ctx))
	r.Method, r.Scheme, r.QueryAllow = method, scheme, t.queryAllow
	t.publish(Begun, r)
	return r
}

// BecomeStream ends the request, because its header has been sent. What follows is a stream, which is measured
// separately.
func (t *Telemetry) BecomeStream(r *Record, kind StreamKind) {
	r.EndAttempt()
	r.Streamed = r.clock.enter(Receive)
	r.Phases = r.clock.phases()
	r.Stream = kind
	r.clock.become(kind)
	t.publish(BecameStream, r)
}

// End ends the record, publishes it and releases it. The caller may not touch it afterwards.
func (t *Telemetry) End(r *Record) {
	r.end()
	t.decideLast(r)
	t.publish(Ended, r)
	r.Release()
}

func (t *Telemetry) publish(m Moment, r *Record) {
	for _, s := range t.signals {
		s.Publish(m, r)
	}
}
