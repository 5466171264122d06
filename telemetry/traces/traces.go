// Package traces gives each request its place in a trace, and exports the spans of the requests that are sampled.
// It makes the spans from ended records, in the background, and drops and counts those that it cannot export. It
// must not know the other signals, or any package of pace but telemetry and telemetry/environment.
package traces

import (
	"context"
	"log/slog"
	"sync/atomic"

	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"pace/telemetry"
	"pace/telemetry/environment"
)

// Options configure [New]; Resource and Log must be set.
type Options struct {
	Environment environment.Environment
	Version     string
	Resource    *resource.Resource
	Exporter    sdktrace.SpanExporter // nil: no span leaves pace
	SampleRatio float64               // of the traces that begin here, 0 to 1; OTEL_TRACES_SAMPLER takes precedence
	Keep        KeepOptions           // of the traces that are not sampled
	Log         *slog.Logger
}

// Traces is the signal, and the [telemetry.Tracing] of requests. Safe for concurrent use.
type Traces struct {
	environment environment.Environment
	propagator  propagator
	sampler     headSampler
	caps        atomic.Pointer[caps] // replaced when their options change
	queue       *spanQueue           // nil: no exporter is named
}

// New starts the queue of o's exporter. An error names the variable to fix.
func New(o Options) (*Traces, error) {
	t := &Traces{environment: o.Environment}
	t.caps.Store(newCaps(o.Keep))
	var err error
	if t.propagator, err = newPropagator(o.Environment.Propagators); err != nil {
		return nil, err
	}
	first, err := newSampler(o.Environment, o.SampleRatio)
	if err != nil {
		return nil, err
	}
	t.sampler.inForce.Store(&first)
	if o.Exporter != nil {
		t.queue = newSpanQueue(o)
	}
	return t, nil
}

// Change makes ratio hold for traces that begin here from now on, unless the environment names a sampler, and
// keep for the exchanges that end from now on.
func (t *Traces) Change(ratio float64, keep KeepOptions) {
	next, err := newSampler(t.environment, ratio)
	if err != nil {
		panic("pace: BUG: a sampler that New has accepted: " + err.Error())
	}
	t.sampler.inForce.Store(&next)
	if keep != t.caps.Load().KeepOptions {
		t.caps.Store(newCaps(keep))
	}
}

// keeps reports whether the traces of interesting exchanges are kept.
func (t *Traces) keeps() bool { return t.queue != nil && t.caps.Load().Enabled }

// Exports implements [telemetry.Tracing]. A trace that is kept has its place in the queue from here on, so
// the decision is not taken back.
func (t *Traces) Exports(r *telemetry.Record) telemetry.Export {
	switch {
	case t.queue == nil:
		return telemetry.Dropped
	case r.Identity.Context.IsSampled():
		return telemetry.Sampled
	case r.Reason == telemetry.Ordinary || !t.keeps():
		return telemetry.Dropped
	case !t.caps.Load().allow(r.Reason, r.RouteName()):
		t.queue.keeping.AddDropped(telemetry.OverRate)
		return telemetry.Dropped
	case !t.queue.reserve(r):
		t.queue.keeping.AddDropped(telemetry.QueueFull)
		return telemetry.Dropped
	}
	return telemetry.Kept
}

// Publish implements [telemetry.Signal]: a record whose trace is exported waits for its spans to be made.
func (t *Traces) Publish(m telemetry.Moment, r *telemetry.Record) {
	if m != telemetry.Ended && m != telemetry.MirrorEnded {
		return
	}
	switch r.Export {
	case telemetry.Sampled:
		t.queue.put(r)
	case telemetry.Kept:
		t.queue.putKept(r)
	}
}

// OnAccepted sets what is called, on a goroutine of its own, with each record whose trace the collector has
// accepted. It must be called before the first request.
func (t *Traces) OnAccepted(f func(*telemetry.Record)) {
	if t.queue != nil {
		t.queue.onAccepted = f
	}
}

// Keeping counts the traces that were kept, and those that were not; nil if no exporter is named.
func (t *Traces) Keeping() *telemetry.Keeping {
	if t.queue == nil {
		return nil
	}
	return &t.queue.keeping
}

// Lost counts the spans that were lost; nil if no exporter is named.
func (t *Traces) Lost() *telemetry.Losses {
	if t.queue == nil {
		return nil
	}
	return &t.queue.lost
}

// Shutdown exports the queued records until ctx ends.
func (t *Traces) Shutdown(ctx context.Context) {
	if t.queue != nil {
		t.queue.shutdown(ctx)
	}
}
