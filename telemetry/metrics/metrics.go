// Package metrics is the signal that a scrape reads, and that a collector gets: instruments that are written when
// a record is published, and state that is read from where it is kept. Nothing that a client sends can make a new
// series. The package must not know the other signals, or any package of pace but telemetry and telemetry/otlp.
package metrics

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/exemplar"
	"go.opentelemetry.io/otel/sdk/resource"

	"pace/telemetry"
)

// Options configure [New]; Resource and State must be set.
type Options struct {
	Version    string
	Resource   *resource.Resource
	State      *telemetry.State
	Spans      *telemetry.Losses  // spans that the traces lost; nil: nobody exports them
	Keeping    *telemetry.Keeping // the traces that were kept; nil: nobody exports them
	Lines      *telemetry.Losses  // lines that the log lost; nil: there is no log
	LogRecords *telemetry.Losses  // log records that were lost; nil: nobody exports them
	Exemplars  bool               // write exemplars; only if the traces that they point to are exported
	Native     bool               // histograms are native, and not classic
	Exporter   sdkmetric.Exporter // gets all metrics in intervals, beside the scrapes; nil: none does
	Hidden     bool               // nothing is exported before [Metrics.Show] says so
	Log        *slog.Logger       // about the exporter's collector; needed only with one
}

// Metrics is the signal. Safe for concurrent use.
type Metrics struct {
	Options
	handler  http.Handler
	provider *sdkmetric.MeterProvider

	older, client, streamDuration  metric.Float64Histogram
	failovers, retries, overBudget metric.Int64Counter
	olderSets                      recordOptions[olderKey]
	clientSets                     recordOptions[attemptKey]

	active  activeRequests
	phases  *phaseTallies
	routes  *routes
	streams streams

	protocols protocolTallies

	exemplars *exemplars // nil: there are none
	export    *export    // nil: nothing is exported
}

// New bridges a MeterProvider to a Prometheus registry.
func New(o Options) (*Metrics, error) {
	m := &Metrics{Options: o, phases: newPhaseTallies(o.Native), routes: newRoutes(o.Native)}
	if m.Keeping == nil {
		m.Keeping = new(telemetry.Keeping) // its counters stay at 0
	}
	if m.LogRecords == nil {
		m.LogRecords = new(telemetry.Losses)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	reader, err := otelprometheus.New(
		otelprometheus.WithRegisterer(registry),
		otelprometheus.WithoutScopeInfo(),
		otelprometheus.WithProducer(m.phases),
		otelprometheus.WithProducer(m.routes),
		otelprometheus.WithTranslationStrategy(strategy),
	)
	if err != nil {
		return nil, err
	}
	options := []sdkmetric.Option{
		sdkmetric.WithReader(reader),
		sdkmetric.WithResource(o.Resource),
		sdkmetric.WithExemplarFilter(exemplar.AlwaysOffFilter), // see exemplars
	}
	if o.Native {
		options = append(options, sdkmetric.WithView(nativeView))
	}
	if o.Exporter != nil {
		m.export = newExport(o.Exporter, o.Log)
		m.Show(!o.Hidden) // before its reader begins
		options = append(options, sdkmetric.WithReader(m.export.reader(m.phases, m.routes)))
	}
	m.provider = sdkmetric.NewMeterProvider(options...)
	var gatherer prometheus.Gatherer = registry
	if o.Exemplars {
		m.exemplars = newExemplars()
		gatherer = m.exemplars.gatherer(registry)
	}
	m.handler = promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{EnableOpenMetrics: true})
	meter := m.provider.Meter("pace")
	if err := errors.Join(m.open(meter), m.observeState(meter)); err != nil {
		return nil, err
	}
	return m, nil
}

// Handler serves scrapes, in the text format or OpenMetrics (with exemplars).
func (m *Metrics) Handler() http.Handler { return m.handler }

// Show makes the metrics be exported from now on, or not.
func (m *Metrics) Show(shown bool) {
	if m.export != nil {
		m.export.hidden.Store(!shown)
	}
}

// Shutdown exports the metrics a last time, until ctx ends, and ends the provider.
func (m *Metrics) Shutdown(ctx context.Context) {
	if m.export != nil {
		defer context.AfterFunc(ctx, m.export.giveUp)() // an export may hang
	}
	m.provider.Shutdown(ctx)
}

// open makes the instruments that records are written to.
func (m *Metrics) open(meter metric.Meter) error {
	var errs [6]error
	m.older, errs[0] = histogram(meter, OlderDuration)
	m.client, errs[1] = histogram(meter, ClientDuration)
	m.streamDuration, errs[2] = histogram(meter, StreamDuration)
	m.failovers, errs[3] = counter(meter, Failovers)
	m.retries, errs[4] = counter(meter, Retries)
	m.overBudget, errs[5] = counter(meter, BudgetExhausted)
	return errors.Join(errs[:]...)
}

func histogram(m metric.Meter, i Instrument) (metric.Float64Histogram, error) {
	return m.Float64Histogram(i.Key, metric.WithUnit(i.Unit), metric.WithDescription(i.Doc), metric.WithExplicitBucketBoundaries(i.Bounds...))
}

func counter(m metric.Meter, i Instrument) (metric.Int64Counter, error) {
	return m.Int64Counter(i.Key, metric.WithUnit(i.Unit), metric.WithDescription(i.Doc))
}

// Configure prepares for the routes and the upstreams of a configuration: their counters exist at 0, so that
// their first increase is seen. Those that stay go on counting. Of the routes that have left, the last ones keep
// their series: see [maxGone].
func (m *Metrics) Configure(routes []*telemetry.Route, upstreams []string) {
	m.routes.configure(routes)
	ctx := context.Background()
	for _, name := range upstreams {
		for _, reason := range telemetry.FailoverReasons() {
			m.failovers.Add(ctx, 0, upstreamReason(name, reason))
		}
		for _, reason := range telemetry.RetryReasons() {
			m.retries.Add(ctx, 0, upstreamReason(name, reason))
		}
		m.overBudget.Add(ctx, 0, metric.WithAttributes(Upstream.is(name)))
	}
}

func upstreamReason(upstream, reason string) metric.AddOption {
	return metric.WithAttributes(attribute.String(Upstream.Key, upstream), attribute.String(Reason.Key, reason))
}

// Publish implements [telemetry.Signal].
func (m *Metrics) Publish(at telemetry.Moment, r *telemetry.Record) {
	switch at {
	case telemetry.Begun:
		m.active.add(r, 1)
	case telemetry.BecameStream:
		m.measure(r, r.Streamed)
		m.streams.begin(r)
	case telemetry.Ended:
		m.active.add(r, -1)
		if r.Stream == telemetry.NoStream {
			m.measure(r, r.End)
			return
		}
		m.streams.end(r)
		m.streamDuration.Record(context.Background(), r.End.Sub(r.Streamed).Seconds(), metric.WithAttributes(
			attribute.String(StreamKind.Key, r.Stream.String()),
			attribute.String(CloseReason.Key, r.Closed.String())))
	case telemetry.MirrorEnded:
		m.measureAttempts(r)
	}
}

// measure writes the measurements of a request, once, when it is over.
func (m *Metrics) measure(r *telemetry.Record, over time.Time) {
	ctx := context.Background()
	took := over.Sub(r.Start)
	older := olderKey{telemetry.KnownMethod(r.Method), r.Status}
	m.older.Record(ctx, took.Seconds(), m.olderSets.of(older, older.set)...)
	m.measureAttempts(r)
	m.phases.add(r)
	m.routes.of(r.Route).add(r, took)
	m.protocols.add(r)
	for _, f := range r.Failovers {
		m.failovers.Add(ctx, 1, upstreamReason(r.Upstream, f.Reason))
	}
	for _, retry := range r.Retries {
		m.retries.Add(ctx, 1, upstreamReason(r.Upstream, retry.Reason))
	}
	for range r.OverBudget {
		m.overBudget.Add(ctx, 1, metric.WithAttributes(Upstream.is(r.Upstream)))
	}
}

func (m *Metrics) measureAttempts(r *telemetry.Record) {
	for i := range r.Attempts {
		a := &r.Attempts[i]
		m.client.Record(context.Background(), a.End.Sub(a.Start).Seconds(),
			m.clientSets.of(attemptKeyOf(r, a), func() attribute.Set { return attemptSet(r, i) })...)
	}
}
