package otlplogs

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/trace"

	"pace/telemetry"
)

// gatherer is a processor that keeps the log records it gets, so that they are exported in batches. Only the
// goroutine of the queue uses it.
type gatherer struct{ batch []sdklog.Record }

// Enabled implements sdklog.Processor.
func (g *gatherer) Enabled(context.Context, sdklog.EnabledParameters) bool { return true }

// OnEmit implements sdklog.Processor.
func (g *gatherer) OnEmit(_ context.Context, r *sdklog.Record) error {
	g.batch = append(g.batch, r.Clone())
	return nil
}

// Shutdown implements sdklog.Processor.
func (g *gatherer) Shutdown(context.Context) error { return nil }

// ForceFlush implements sdklog.Processor.
func (g *gatherer) ForceFlush(context.Context) error { return nil }

// severities are the numbers that the specification gives to the levels of slog.
var severities = map[slog.Level]log.Severity{
	slog.LevelInfo:  log.SeverityInfo,
	slog.LevelWarn:  log.SeverityWarn,
	slog.LevelError: log.SeverityError,
}

// logRecord returns the access line of r as a log record, and the context that gives it the ids of its trace.
func logRecord(r *telemetry.Record) (context.Context, log.Record) {
	level := r.Outcome.Info().Level
	var l log.Record
	l.SetTimestamp(r.End)
	l.SetObservedTimestamp(r.End)
	l.SetSeverity(severities[level])
	l.SetSeverityText(level.String())
	l.SetBody(attribute.StringValue("request"))
	facts := telemetry.Facts()
	attributes := make([]attribute.KeyValue, 0, len(facts))
	for i := range facts {
		f := &facts[i]
		if f.Field == "" || correlated[f.Field] {
			continue
		}
		v := f.Value(r)
		if v.Kind() == slog.KindAny && !telemetry.Absent(v) {
			attributes = append(attributes, attribute.KeyValue{Key: attribute.Key(f.Field), Value: hops(v.Any().(telemetry.Hops))})
			continue
		}
		attributes = telemetry.AppendAttribute(attributes, f.Field, v)
	}
	l.AddAttributes(attributes...)
	span := r.Identity.Context
	span = span.WithTraceFlags(span.TraceFlags().WithSampled(r.Export == telemetry.Sampled || r.Export == telemetry.Kept))
	return trace.ContextWithSpanContext(context.Background(), span), l
}

// correlated are the fields that OTLP has a place for: they are no attributes.
var correlated = map[string]bool{"trace_id": true, "span_id": true}

// hops returns the failovers as the access line has them: a list of from and reason.
func hops(list telemetry.Hops) attribute.Value {
	all := make([]attribute.Value, len(list))
	for i, f := range list {
		all[i] = attribute.MapValue(attribute.String("from", telemetry.Printable(f.From)), attribute.String("reason", f.Reason))
	}
	return attribute.SliceValue(all...)
}
