package server

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"pace/config"
	"pace/telemetry"
	"pace/telemetry/accesslog"
	"pace/telemetry/environment"
	"pace/telemetry/inflight"
	"pace/telemetry/metrics"
	"pace/telemetry/otlp"
	"pace/telemetry/otlplogs"
	"pace/telemetry/recent"
	"pace/telemetry/traces"
)

// observed holds the signals that are derived from the records of requests, and what publishes them.
type observed struct {
	log       *accesslog.Log
	traces    *traces.Traces
	metrics   *metrics.Metrics // kept also while the configuration shows none
	recent    *recent.Ring
	otlplogs  *otlplogs.Logs
	telemetry *telemetry.Telemetry
}

// buildSignals opens the log and wires the signals. It connects nowhere.
func buildSignals(ctx context.Context, f *config.File) (o observed, err error) {
	if o.log, err = accesslog.Open(logOptions(f)); err != nil {
		return o, Failure{fmt.Errorf("log.file: %w; %s", err, logFileRemedy)}
	}
	env := environment.Read()
	if err := env.Check(f.Tracing.Endpoint); err != nil {
		return o, err
	}
	resource, err := environment.Resource(ctx, Version)
	if err != nil {
		return o, err
	}
	exporter, err := traces.NewExporter(env, f.Tracing.Endpoint, f.Tracing.Protocol)
	if err != nil {
		return o, err
	}
	o.traces, err = traces.New(traces.Options{
		Environment: env, Version: Version, Resource: resource, Log: o.log.Logger,
		Exporter: exporter, SampleRatio: f.Tracing.SampleRatio,
		Keep: keepOptions(f),
	})
	if err != nil {
		return o, err
	}
	logExporter, err := otlp.NewLogExporter(env, f.Tracing.Endpoint, f.Tracing.Protocol)
	if err != nil {
		return o, err
	}
	o.otlplogs = otlplogs.New(otlplogs.Options{
		Environment: env, Version: Version, Resource: resource, Exporter: logExporter, Log: o.log.Logger,
	})
	metricExporter, err := otlp.NewMetricExporter(env, f.Tracing.Endpoint, f.Tracing.Protocol)
	if err != nil {
		return o, err
	}
	state := &telemetry.State{}
	o.metrics, err = metrics.New(metrics.Options{
		Version: Version, Resource: resource, State: state,
		Spans: o.traces.Lost(), Keeping: o.traces.Keeping(), Lines: o.log.Lost(), LogRecords: o.otlplogs.Lost(),
		Native:    f.Metrics.NativeHistograms,
		Exemplars: exporter != nil, // without an exporter, the traces that exemplars point to do not exist
		Exporter:  metricExporter, Log: o.log.Logger, Hidden: !f.Metrics.Enabled,
	})
	if err != nil {
		return o, err
	}
	o.traces.OnAccepted(o.metrics.Accepted)
	o.recent = recent.New(f.Tracing.Keep.Recent)
	o.telemetry = telemetry.New(telemetry.Options{
		Tracing: o.traces, Signals: o.signals(f), State: state, QueryAllow: f.Tracing.QueryAllow,
	})
	return o, nil
}

// logSlow logs an exchange that has been running for long.
func (o observed) logSlow(r *telemetry.Record) {
	o.log.LogAttrs(context.Background(), slog.LevelWarn, "still running", inflight.Of(r, time.Now()).Attrs()...)
}

func keepOptions(f *config.File) traces.KeepOptions {
	keep := f.Tracing.Keep
	return traces.KeepOptions{Enabled: keep.Enabled, PerSecond: keep.PerSecond, PerReason: keep.PerReason}
}

func logOptions(f *config.File) accesslog.Options {
	return accesslog.Options{Format: f.Log.Format, Level: level(f.Log.Level), File: f.Log.File}
}

// level returns the level that a word means. vet.Load has checked the word.
func level(word string) (l slog.Level) {
	if err := l.UnmarshalText([]byte(word)); err != nil {
		panic("pace: BUG: vet.Load accepted an unknown level: " + word)
	}
	return l
}

// signals returns those that f asks for, in the order in which records are published to them.
func (o observed) signals(f *config.File) []telemetry.Signal {
	if !f.Metrics.Enabled {
		return []telemetry.Signal{o.log, o.otlplogs, o.traces, o.recent}
	}
	return []telemetry.Signal{o.metrics, o.log, o.otlplogs, o.traces, o.recent}
}

// scrape serves scrapes; nil if f asks for no metrics.
func (o observed) scrape(f *config.File) http.Handler {
	if !f.Metrics.Enabled {
		return nil
	}
	return o.metrics.Handler()
}

// shutdown exports what is queued until ctx ends, and the metrics last, which count what became of the rest. The
// log stays open.
func (o observed) shutdown(ctx context.Context) {
	queues, cancel := context.WithTimeout(ctx, flushQueuesTimeout)
	defer cancel()
	var wait sync.WaitGroup
	wait.Go(func() { o.traces.Shutdown(queues) })
	wait.Go(func() { o.otlplogs.Shutdown(queues) })
	wait.Wait()
	o.metrics.Shutdown(ctx)
}
