// Package otlplogs is the signal that a collector gets as logs: one OTLP log record for each access line, with the
// ids of its trace. It makes them from ended records, in the background, and drops and counts those that it cannot
// export. It must not know the other signals, or any package of pace but telemetry, telemetry/otlp and
// telemetry/environment.
package otlplogs

import (
	"context"
	"log/slog"

	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"

	"pace/telemetry"
	"pace/telemetry/environment"
)

// Options configure [New]. With an exporter, all must be set.
type Options struct {
	Environment environment.Environment
	Version     string
	Resource    *resource.Resource
	Exporter    sdklog.Exporter // nil: no line leaves pace as a log record
	Log         *slog.Logger    // also says which levels are exported: those that it writes
}

// Logs is the signal. Safe for concurrent use.
type Logs struct {
	queue *queue // nil: no exporter is named
}

// New starts the queue of o's exporter.
func New(o Options) *Logs {
	if o.Exporter == nil {
		return &Logs{}
	}
	return &Logs{queue: newQueue(o)}
}

// Publish implements [telemetry.Signal]: an ended record that has an access line waits for its log record to be
// made.
func (l *Logs) Publish(m telemetry.Moment, r *telemetry.Record) {
	if l.queue == nil || m != telemetry.Ended || !r.HasLine() {
		return
	}
	if l.queue.log.Enabled(context.Background(), r.Outcome.Info().Level) {
		l.queue.put(r)
	}
}

// Lost counts the log records that were lost; nil if no exporter is named.
func (l *Logs) Lost() *telemetry.Losses {
	if l.queue == nil {
		return nil
	}
	return &l.queue.lost
}

// Shutdown exports the queued records until ctx ends.
func (l *Logs) Shutdown(ctx context.Context) {
	if l.queue != nil {
		l.queue.shutdown(ctx)
	}
}
