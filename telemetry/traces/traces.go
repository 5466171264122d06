// Package traces gives each request its place in a trace, and exports the spans of the requests that are sampled.
// It makes the spans from ended records, in the background, and drops and counts those that it cannot export. It
// must not know the other signals, or any package of pace but telemetry and telemetry/environment.
package traces

import (
	"context"
	"log/slog"

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
	Log         *slog.Logger
}

// Traces is the signal, and the [telemetry.Tracing] of requests. Safe for concurrent use.
type Traces struct {
	propagator propagator
	sampler    sdktrace.Sampler
	queue      *spanQueue // nil: no exporter is named
}

// New starts the queue of o's exporter. An error names the variable to fix.
func New(o Options) (*Traces, error) {
	t := &Traces{}
	var err error
	if t.propagator, err = newPropagator(o.Environment.Propagators); err != nil {
		return nil, err
	}
	if t.sampler, err = newSampler(o.Environment, o.SampleRatio); err != nil {
		return nil, err
	}
	if o.Exporter != nil {
		t.queue = newSpanQueue(o)
	}
	return t, nil
}

// Publish implements [telemetry.Signal]: it queues the ended record of a sampled request.
func (t *Traces) Publish(m telemetry.Moment, r *telemetry.Record) {
	if m == telemetry.Ended && t.queue != nil && r.Identity.Context.IsSampled() {
		t.queue.put(r)
	}
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
