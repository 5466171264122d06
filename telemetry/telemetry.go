// Package telemetry keeps the one record of each exchange and derives everything from it: its
// metrics, spans and access line, which therefore never disagree. It owns OpenTelemetry,
// Prometheus and the log; it must not know how a route is matched or a backend behaves, and no
// other package of pace.
package telemetry

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/exemplar"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"pace/telemetry/environment"
)

// Options configure [New]; Log must be set.
type Options struct {
	Version     string
	Log         *Log
	NoMetrics   bool          // keep no metrics
	SampleRatio float64       // of traces begun here, 0 to 1; OTEL_TRACES_SAMPLER goes before it
	Endpoint    string        // OTLP collector as URL or host:port, "": none, unless the environment names one
	Protocol    string        // one of Protocols
	QueryAllow  []string      // parameters whose values are published
	SlowAfter   time.Duration // a request that runs for longer logs a line before it ends; 0: none does
	Upstream    string        // the pool and
	Route       string        // the route whose counters exist from the start
}

// Telemetry is all that pace tells about its requests and itself. Safe for concurrent use.
type Telemetry struct {
	version    string
	log        *Log
	sink       *sink
	resource   *resource.Resource
	scope      instrumentation.Scope
	propagator propagator
	sampler    sdktrace.Sampler
	queryAllow map[string]bool

	queue       *spanQueue   // nil: no exporter is named
	instruments *instruments // nil: no metrics
	metrics     http.Handler // nil: no metrics
	provider    *metric.MeterProvider
	active      activeRequests
	phases      phaseTallies
	counts      requestCounts
	streams     streams
	flight      flight
	endWatch    context.CancelFunc // nil: nobody watches for slow requests
	refused     [refusalCount]atomic.Int64
	probes      probes
}

// New builds the providers. It connects nowhere; an error names the variables to fix.
func New(ctx context.Context, o Options) (*Telemetry, error) {
	env := environment.Read()
	if err := environment.Check(env.Exports(o.Endpoint)); err != nil {
		return nil, err
	}
	t := &Telemetry{
		version: o.Version, log: o.Log, sink: o.Log.sink,
		scope:      instrumentation.Scope{Name: "pace", Version: o.Version},
		queryAllow: map[string]bool{},
	}
	for _, name := range o.QueryAllow {
		t.queryAllow[name] = true
	}
	var err error
	if t.propagator, err = newPropagator(env.Propagators); err != nil {
		return nil, err
	}
	if t.sampler, err = newSampler(env, o.SampleRatio); err != nil {
		return nil, err
	}
	if t.resource, err = environment.Resource(ctx, o.Version); err != nil {
		return nil, err
	}
	e, err := newExporter(env, o.Endpoint, o.Protocol)
	if err != nil {
		return nil, err
	}
	if e != nil {
		t.queue = newSpanQueue(e, env, o.Log.Logger)
	}
	if !o.NoMetrics {
		if err := t.startMetrics(); err != nil {
			return nil, err
		}
		t.instruments.announce(o.Upstream, o.Route)
		t.counts.of(o.Route)
	}
	if o.SlowAfter > 0 {
		watch, end := context.WithCancel(context.WithoutCancel(ctx))
		t.endWatch = end
		go t.watchSlow(watch, o.SlowAfter)
	}
	return t, nil
}

// startMetrics bridges a MeterProvider to a Prometheus registry.
func (t *Telemetry) startMetrics() error {
	t.phases.start = time.Now()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	reader, err := otelprometheus.New(
		otelprometheus.WithRegisterer(registry),
		otelprometheus.WithoutScopeInfo(),
		otelprometheus.WithProducer(&t.phases),
		otelprometheus.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes),
	)
	if err != nil {
		return err
	}
	o := []metric.Option{metric.WithReader(reader), metric.WithResource(t.resource)}
	if t.queue == nil { // nobody has the trace that an exemplar would point to
		o = append(o, metric.WithExemplarFilter(exemplar.AlwaysOffFilter))
	}
	t.provider = metric.NewMeterProvider(o...)
	m := t.provider.Meter("pace")
	if t.instruments, err = newInstruments(m); err != nil {
		return err
	}
	t.instruments.exemplars = t.queue != nil
	if t.streams.duration, err = histogram(m, streamDuration); err != nil {
		return err
	}
	t.metrics = promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
	return t.observeState(m)
}

// Metrics answers scrapes, in the text format or OpenMetrics (with exemplars); nil without metrics.
func (t *Telemetry) Metrics() http.Handler { return t.metrics }

// Logger is pace's log.
func (t *Telemetry) Logger() *Log { return t.log }

// export hands the record to the exporter if its trace is sampled, and says whether it took it over.
func (t *Telemetry) export(r *Record) bool {
	return t.queue != nil && r.identity.context.IsSampled() && t.queue.put(r)
}

// Shutdown exports what waits, as far as ctx allows. The log stays open.
func (t *Telemetry) Shutdown(ctx context.Context) {
	if t.endWatch != nil {
		t.endWatch()
	}
	if t.queue != nil {
		t.queue.shutdown(ctx)
	}
	if t.provider != nil {
		t.provider.Shutdown(ctx)
	}
}
