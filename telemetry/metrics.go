package telemetry

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Instrument is one metric family that pace publishes.
type Instrument struct {
	Name   string   // the Prometheus name
	Type   string   // histogram, counter or gauge
	Labels []string // Prometheus names
	Unit   string   // of OpenTelemetry, "" none
	Doc    string
	Bounds []float64 // of a histogram

	otel string // the name in OpenTelemetry, from which the exporter makes the Prometheus one
}

// The instruments of requests and attempts; those of state stand in [stateInstruments].
var (
	requestsDuration = Instrument{
		Name: MetricOlderDuration, otel: "http.requests.duration", Type: "histogram", Unit: "s",
		Labels: []string{"method", "status"}, Doc: "Duration of requests (the older proxy's name).",
		Bounds: []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5},
	}
	serverDuration = Instrument{
		Name: MetricServerDuration, otel: "http.server.request.duration", Type: "histogram", Unit: "s",
		Labels: serverLabels(), Doc: "Duration of requests, from their header to their end.", Bounds: semconvBounds,
	}
	clientDuration = Instrument{
		Name: MetricClientDuration, otel: "http.client.request.duration", Type: "histogram", Unit: "s",
		Labels: []string{LabelMethod, LabelServerAddress, LabelServerPort, LabelStatus, LabelErrorType, LabelUpstream},
		Doc:    "Duration of attempts at a backend, from their pick to their end.", Bounds: semconvBounds,
	}
	failovers = Instrument{
		Name: MetricFailovers, otel: "pace.failovers", Type: "counter", Unit: "{failover}",
		Labels: []string{LabelUpstream, LabelReason}, Doc: "Attempts that failed and were followed by one at another backend.",
	}
	retries = Instrument{
		Name: MetricRetries, otel: "pace.retries", Type: "counter", Unit: "{retry}",
		Labels: []string{LabelUpstream, LabelReason}, Doc: "Attempts that failed on a stale connection and were followed by one on a new connection to the same backend.",
	}
	rejections = Instrument{
		Name: MetricRejections, otel: "pace.rejections", Type: "counter", Unit: "{request}",
		Labels: []string{LabelReason, LabelRoute}, Doc: "Requests that pace turned away on purpose, by outcome.",
	}
)

var semconvBounds = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}

// serverLabels are the labels that the table of facts gives to the histogram of requests.
func serverLabels() (names []string) {
	for _, f := range facts {
		if f.Label {
			names = append(names, strings.ReplaceAll(f.Attribute, ".", "_"))
		}
	}
	return names
}

// instruments are the synchronous ones: the record's end writes them, nothing else.
type instruments struct {
	requests, server, client       metric.Float64Histogram
	failovers, retries, rejections metric.Int64Counter
	requestSets, serverSets        setCache[requestKey]
	clientSets                     setCache[attemptKey]
	exemplars                      bool // an exporter takes the traces that exemplars point to
}

// requestKey is all that the label sets of a request's histograms depend on. Each part is bounded:
// by the table of methods, the config, and what a backend may answer.
type requestKey struct {
	method, scheme, route string
	status                int
	outcome               Outcome
}

type attemptKey struct {
	method, backend, upstream string
	status                    int
	failure                   Outcome
}

func newInstruments(m metric.Meter) (*instruments, error) {
	var in instruments
	var errs [6]error
	in.requests, errs[0] = histogram(m, requestsDuration)
	in.server, errs[1] = histogram(m, serverDuration)
	in.client, errs[2] = histogram(m, clientDuration)
	in.failovers, errs[3] = counter(m, failovers)
	in.retries, errs[4] = counter(m, retries)
	in.rejections, errs[5] = counter(m, rejections)
	return &in, errors.Join(errs[:]...)
}

func histogram(m metric.Meter, i Instrument) (metric.Float64Histogram, error) {
	return m.Float64Histogram(i.otel, metric.WithUnit(i.Unit), metric.WithDescription(i.Doc), metric.WithExplicitBucketBoundaries(i.Bounds...))
}

func counter(m metric.Meter, i Instrument) (metric.Int64Counter, error) {
	return m.Int64Counter(i.otel, metric.WithUnit(i.Unit), metric.WithDescription(i.Doc))
}

// announce makes the counters of a pool and of a route exist at 0, so that a first increase can be seen.
func (in *instruments) announce(upstream, route string) {
	ctx := context.Background()
	for _, reason := range FailoverReasons() {
		in.failovers.Add(ctx, 0, upstreamReason(upstream, reason.Word))
	}
	in.retries.Add(ctx, 0, upstreamReason(upstream, staleConnection))
	for o := range outcomeCount {
		if o.Info().Rejection == Rejects && !o.Info().Later {
			in.rejections.Add(ctx, 0, rejection(o, route))
		}
	}
}

func upstreamReason(upstream, reason string) metric.AddOption {
	return metric.WithAttributes(attribute.String("pace.upstream", upstream), attribute.String("reason", reason))
}

func rejection(o Outcome, route string) metric.AddOption {
	return metric.WithAttributes(attribute.String("reason", o.String()), attribute.String("http.route", route))
}

// observe writes the metrics of a request at its end. It is called exactly once a request.
func (t *Telemetry) observe(r *Record) {
	in := t.instruments
	if in == nil {
		return
	}
	ctx := context.Background()
	if in.exemplars && r.identity.context.IsSampled() {
		ctx = trace.ContextWithSpanContext(ctx, r.identity.context)
	}
	seconds := r.end.Sub(r.Start).Seconds()
	k := requestKey{knownMethod(r.Method), r.Scheme, r.Route, r.Status, r.Outcome}
	in.requests.Record(ctx, seconds, in.requestSets.get(k, requestLabels)...)
	in.server.Record(ctx, seconds, in.serverSets.get(k, func(requestKey) attribute.Set { return r.labels() })...)
	for i := range r.Attempts {
		a := &r.Attempts[i]
		k := attemptKey{k.method, a.Backend, r.Upstream, a.Status, a.Failure}
		in.client.Record(ctx, a.End.Sub(a.Start).Seconds(), in.clientSets.get(k, func(attemptKey) attribute.Set { return r.attemptLabels(a) })...)
	}
	t.phases.add(&r.clock.spent)
	t.counts.add(r)
	in.count(ctx, r)
}

// count writes what most requests have nothing of.
func (in *instruments) count(ctx context.Context, r *Record) {
	for _, f := range r.Failovers {
		in.failovers.Add(ctx, 1, upstreamReason(r.Upstream, f.Reason.String()))
	}
	for range r.Retries {
		in.retries.Add(ctx, 1, upstreamReason(r.Upstream, staleConnection))
	}
	if r.Outcome.Info().Rejection == Rejects {
		in.rejections.Add(ctx, 1, rejection(r.Outcome, r.Route))
	}
}

func requestLabels(k requestKey) attribute.Set {
	return attribute.NewSet(attribute.String("method", k.method), attribute.Int("status", k.status))
}

// labels are those of http_server_request_duration_seconds, from the table of facts.
func (r *Record) labels() attribute.Set {
	var list []attribute.KeyValue
	for i := range facts {
		if f := &facts[i]; f.Label {
			list = appendAttribute(list, f.Attribute, f.value(r))
		}
	}
	list[0] = attribute.String(facts[0].Attribute, knownMethod(r.Method))
	return attribute.NewSet(list...)
}

func (r *Record) attemptLabels(a *Attempt) attribute.Set {
	list := []attribute.KeyValue{
		attribute.String("http.request.method", knownMethod(r.Method)),
		attribute.String("server.address", a.Host),
		attribute.Int("server.port", a.Port),
		attribute.String("pace.upstream", r.Upstream),
	}
	list = appendAttribute(list, "http.response.status_code", number(a.Status))
	list = appendAttribute(list, "error.type", text(a.errorType()))
	return attribute.NewSet(list...)
}

// setCache keeps the options of each label set: to build and hash one costs more than to record with it.
type setCache[K comparable] struct {
	known atomic.Pointer[map[K][]metric.RecordOption]
	mu    sync.Mutex // of who replaces known
}

func (c *setCache[K]) get(k K, set func(K) attribute.Set) []metric.RecordOption {
	if m := c.known.Load(); m != nil {
		if o, ok := (*m)[k]; ok {
			return o
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	next := map[K][]metric.RecordOption{}
	if m := c.known.Load(); m != nil {
		next = maps.Clone(*m)
	}
	next[k] = []metric.RecordOption{metric.WithAttributeSet(set(k))}
	c.known.Store(&next)
	return next[k]
}

// activeRequests counts requests in progress by scheme and method.
type activeRequests struct {
	counts [2][11]struct { // [https][methods]
		now  atomic.Int64
		seen atomic.Bool
	}
}

func (a *activeRequests) add(r *Record, n int64) {
	secure := 0
	if r.Scheme == "https" {
		secure = 1
	}
	c := &a.counts[secure][methods[knownMethod(r.Method)]]
	c.now.Add(n)
	if !c.seen.Load() {
		c.seen.Store(true)
	}
}

// Instruments returns every metric family of pace's own, in the order of the docs.
func Instruments() []Instrument {
	list := []Instrument{requestsDuration, serverDuration, clientDuration, phaseDuration, overhead, streamDuration, failovers, retries, rejections}
	for _, s := range stateInstruments {
		list = append(list, s.Instrument)
	}
	return list
}
