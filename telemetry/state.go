package telemetry

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// stateInstrument is a metric read at each scrape from what counts or holds it.
type stateInstrument struct {
	Instrument
	read func(t *Telemetry, observe func(value int64, labels ...attribute.KeyValue))
}

// stateInstruments are the metrics of state, and the counters of what belongs to no request's record.
var stateInstruments = []stateInstrument{
	{Instrument{Name: MetricActiveRequests, otel: "http.server.active_requests", Type: "gauge", Unit: "{request}",
		Labels: []string{LabelMethod, LabelScheme}, Doc: "Requests in progress."},
		func(t *Telemetry, observe func(int64, ...attribute.KeyValue)) { t.active.read(observe) }},
	{requestsTotal, func(t *Telemetry, observe func(int64, ...attribute.KeyValue)) { t.counts.readOutcomes(observe) }},
	{clientLeft, func(t *Telemetry, observe func(int64, ...attribute.KeyValue)) { t.counts.readLeft(observe) }},
	{Instrument{Name: MetricRefused, otel: "pace.refused", Type: "counter", Unit: "{request}",
		Labels: []string{LabelReason}, Doc: "Requests and connections refused before the handler; they are in no other metric."},
		func(t *Telemetry, observe func(int64, ...attribute.KeyValue)) {
			for i, word := range refusals {
				observe(t.refused[i].Load(), attribute.String("reason", word))
			}
		}},
	{Instrument{Name: MetricConnections, otel: "pace.connections", Type: "gauge", Unit: "{connection}",
		Labels: []string{LabelState}, Doc: "Client connections."},
		func(t *Telemetry, observe func(int64, ...attribute.KeyValue)) {
			active, idle := t.probes.connections()
			observe(int64(active), attribute.String("state", "active"))
			observe(int64(idle), attribute.String("state", "idle"))
		}},
	{Instrument{Name: MetricLimiterKeys, otel: "pace.limiter.keys", Type: "gauge", Unit: "{key}",
		Labels: []string{LabelPolicy}, Doc: "Keys that a limiter holds."},
		func(t *Telemetry, observe func(int64, ...attribute.KeyValue)) {
			for policy, l := range t.probes.limiters() {
				observe(int64(l.Keys()), attribute.String(LabelPolicy, policy))
			}
		}},
	{Instrument{Name: MetricLimiterEvicted, otel: "pace.limiter.evicted", Type: "counter", Unit: "{key}",
		Labels: []string{LabelPolicy}, Doc: "Keys that a full limiter forgot while they held places; they began anew."},
		func(t *Telemetry, observe func(int64, ...attribute.KeyValue)) {
			for policy, l := range t.probes.limiters() {
				observe(int64(l.Evicted()), attribute.String(LabelPolicy, policy))
			}
		}},
	{Instrument{Name: MetricSpansDropped, otel: "pace.spans.dropped", Type: "counter", Unit: "{span}",
		Labels: []string{LabelReason}, Doc: "Spans that were lost."},
		func(t *Telemetry, observe func(int64, ...attribute.KeyValue)) {
			if t.queue != nil {
				observeReasons(t.queue.dropped, observe)
			}
		}},
	{Instrument{Name: MetricLogDropped, otel: "pace.log.dropped", Type: "counter", Unit: "{line}",
		Labels: []string{LabelReason}, Doc: "Log lines that were lost."},
		func(t *Telemetry, observe func(int64, ...attribute.KeyValue)) {
			if t.sink != nil {
				observeReasons(t.sink.dropped, observe)
			}
		}},
	{Instrument{Name: MetricStreams, otel: "pace.streams", Type: "gauge", Unit: "{stream}",
		Labels: []string{LabelKind}, Doc: "Streams that are open."},
		func(t *Telemetry, observe func(int64, ...attribute.KeyValue)) {
			for kind := NoStream + 1; kind < streamKinds; kind++ {
				observe(t.streams.open[kind].Load(), attribute.String(LabelKind, kind.String()))
			}
		}},
	{streamBytes, func(t *Telemetry, observe func(int64, ...attribute.KeyValue)) {
		for kind := NoStream + 1; kind < streamKinds; kind++ {
			for i, direction := range directions {
				observe(t.streams.bytes[kind][i].Load(), attribute.String(LabelKind, kind.String()), attribute.String(LabelDirection, direction))
			}
		}
	}},
	{Instrument{Name: MetricBuildInfo, otel: "pace.build.info", Type: "gauge",
		Labels: []string{LabelVersion, LabelGoVersion}, Doc: "Always 1; says what is running."},
		func(t *Telemetry, observe func(int64, ...attribute.KeyValue)) {
			observe(1, attribute.String("version", t.version), attribute.String("goversion", runtime.Version()))
		}},
}

// observeState registers the metrics of state with m.
func (t *Telemetry) observeState(m metric.Meter) error {
	for _, s := range stateInstruments {
		callback := func(_ context.Context, o metric.Int64Observer) error {
			s.read(t, func(v int64, labels ...attribute.KeyValue) {
				o.Observe(v, metric.WithAttributes(labels...))
			})
			return nil
		}
		var err error
		if s.Type == "counter" {
			_, err = m.Int64ObservableCounter(s.otel, metric.WithUnit(s.Unit), metric.WithDescription(s.Doc), metric.WithInt64Callback(callback))
		} else {
			_, err = m.Int64ObservableGauge(s.otel, metric.WithUnit(s.Unit), metric.WithDescription(s.Doc), metric.WithInt64Callback(callback))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func observeReasons(counts map[string]*atomic.Int64, observe func(int64, ...attribute.KeyValue)) {
	for reason, n := range counts {
		observe(n.Load(), attribute.String("reason", reason))
	}
}

func (a *activeRequests) read(observe func(int64, ...attribute.KeyValue)) {
	for secure, scheme := range [...]string{"http", "https"} {
		for method, i := range methods {
			// A method never seen is no series; one seen once stays, at 0.
			if c := &a.counts[secure][i]; c.seen.Load() {
				observe(c.now.Load(), attribute.String("http.request.method", method), attribute.String("url.scheme", scheme))
			}
		}
	}
}

// Refusal is why a request or a connection was refused before the handler.
type Refusal uint8

// The reasons of pace_refused_total.
const (
	RefusedBadRequest Refusal = iota
	RefusedHeaderTooLarge
	RefusedHeaderTimeout
	RefusedUnsupported
	RefusedTLSHandshake
	RefusedH2Error
	refusalCount
)

var refusals = [refusalCount]string{"bad_request", "header_too_large", "header_timeout", "unsupported", "tls_handshake", "h2_error"}

// String returns the word of the reason.
func (r Refusal) String() string { return refusals[r] }

// Refused counts one refusal. Safe for concurrent use.
func (t *Telemetry) Refused(why Refusal) { t.refused[why].Add(1) }

// probes read state that lives elsewhere and may be replaced on reload.
type probes struct {
	mu     sync.Mutex
	conns  func() (active, idle int)
	limits map[string]LimiterState // replaced, never changed
}

// WatchConnections sets who knows the number of client connections.
func (t *Telemetry) WatchConnections(read func() (active, idle int)) {
	t.probes.mu.Lock()
	defer t.probes.mu.Unlock()
	t.probes.conns = read
}

// LimiterState is what a limiter tells of itself.
type LimiterState struct {
	Keys    func() int
	Evicted func() uint64
}

// WatchLimiters sets who knows the state of each policy.
func (t *Telemetry) WatchLimiters(of map[string]LimiterState) {
	t.probes.mu.Lock()
	defer t.probes.mu.Unlock()
	t.probes.limits = of
}

func (p *probes) connections() (active, idle int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns == nil {
		return 0, 0
	}
	return p.conns()
}

func (p *probes) limiters() map[string]LimiterState {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limits
}
