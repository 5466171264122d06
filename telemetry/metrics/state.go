package metrics

import (
	"context"
	"runtime"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"pace/telemetry"
)

// observe reports one value to a scrape.
type observe func(value int64, labels ...attribute.KeyValue)

// is returns the label with a value.
func (l Label) is(value string) attribute.KeyValue { return attribute.String(l.Key, value) }

// stateInstrument is a metric that is read at each scrape from where it is counted or kept.
type stateInstrument struct {
	Instrument
	read func(*Metrics, observe)
}

// stateInstruments are the metrics of state, and the counters of what belongs to no request's record.
var stateInstruments = []stateInstrument{
	{ActiveRequests, func(m *Metrics, o observe) { m.active.read(o) }},
	{Refused, func(m *Metrics, o observe) {
		for i, word := range telemetry.RefusalWords() {
			o(m.State.Refusals(telemetry.Refusal(i)), Reason.is(word))
		}
	}},
	{Handshakes, func(m *Metrics, o observe) {
		for i, version := range telemetry.HandshakeVersions() {
			o(m.State.Handshakes(i), TLSVersion.is(version))
		}
	}},
	{ProtocolRequests, func(m *Metrics, o observe) {
		for i, version := range protocols {
			o(m.protocols[i].Load(), Protocol.is(version))
		}
	}},
	{HandshakeFailures, func(m *Metrics, o observe) {
		for i, word := range telemetry.HandshakeFailureWords() {
			o(m.State.HandshakeFailures(telemetry.HandshakeFailure(i)), Reason.is(word))
		}
	}},
	{CertificateExpiry, func(m *Metrics, o observe) {
		for _, c := range m.State.Certificates() {
			o(c.NotAfter.Unix(), Certificate.is(c.Name))
		}
	}},
	{CertificateReloadFailures, func(m *Metrics, o observe) {
		for _, c := range m.State.Certificates() {
			if c.FromFile {
				o(c.Failures, Certificate.is(c.Name))
			}
		}
	}},
	{ACMEFailures, func(m *Metrics, o observe) { o(m.State.ACMEFailures()) }},
	{Connections, func(m *Metrics, o observe) {
		active, idle := m.State.Connections()
		o(int64(active), State.is(connectionActive))
		o(int64(idle), State.is(connectionIdle))
	}},
	{BackendRequests, func(m *Metrics, o observe) {
		for _, b := range m.State.Backends() {
			o(int64(b.InFlight), backendLabels(b)...)
		}
	}},
	{BackendConnections, func(m *Metrics, o observe) {
		for _, b := range m.State.Backends() {
			o(int64(max(0, b.Open-b.Idle)), append(backendLabels(b), State.is(connectionActive))...)
			o(int64(b.Idle), append(backendLabels(b), State.is(connectionIdle))...)
		}
	}},
	{LimiterKeys, func(m *Metrics, o observe) {
		for policy, l := range m.State.Limiters() {
			o(int64(l.Keys()), Policy.is(policy))
		}
	}},
	{LimiterEvicted, func(m *Metrics, o observe) {
		for policy, l := range m.State.Limiters() {
			o(int64(l.Evicted()), Policy.is(policy))
		}
	}},
	{HealthChecks, func(m *Metrics, o observe) {
		for name, u := range m.State.Upstreams() {
			if passed, failed, ok := u.Checks(); ok {
				o(passed, Upstream.is(name), Result.is(telemetry.CheckPassed))
				o(failed, Upstream.is(name), Result.is(telemetry.CheckFailed))
			}
		}
	}},
	{BackendUp, func(m *Metrics, o observe) {
		for _, b := range m.State.Backends() {
			if b.Up {
				o(1, backendLabels(b)...)
			} else {
				o(0, backendLabels(b)...)
			}
		}
	}},
	{BackendTransitions, func(m *Metrics, o observe) {
		for _, b := range m.State.Backends() {
			for i, n := range b.Changes {
				o(n, append(backendLabels(b), To.is(telemetry.BackendStates[i]))...)
			}
		}
	}},
	{PanicPicks, func(m *Metrics, o observe) {
		for name, u := range m.State.Upstreams() {
			o(u.PanicPicks(), Upstream.is(name))
		}
	}},
	{SpansDropped, func(m *Metrics, o observe) { readLosses(m.Spans, telemetry.SpanLosses, o) }},
	{TracesKept, func(m *Metrics, o observe) {
		for _, why := range telemetry.KeepReasons() {
			o(m.Keeping.Kept(why), Reason.is(why.String()))
		}
	}},
	{TracesDropped, func(m *Metrics, o observe) { readLosses(m.Keeping.Dropped(), telemetry.KeepLosses, o) }},
	{LogDropped, func(m *Metrics, o observe) { readLosses(m.Lines, telemetry.LineLosses, o) }},
	{LogRecordsDropped, func(m *Metrics, o observe) { readLosses(m.LogRecords, telemetry.LogRecordLosses, o) }},
	{MetricExportsFailed, func(m *Metrics, o observe) {
		failed := int64(0)
		if m.export != nil {
			failed = m.export.failed.Load()
		}
		o(failed)
	}},
	{MirrorDropped, func(m *Metrics, o observe) { readLosses(m.State.LostCopies(), telemetry.CopyLosses, o) }},
	{Streams, func(m *Metrics, o observe) {
		for kind := telemetry.NoStream + 1; kind < telemetry.StreamKinds; kind++ {
			o(m.streams.open[kind].Load(), StreamKind.is(kind.String()))
		}
	}},
	{StreamBytes, func(m *Metrics, o observe) {
		for kind := telemetry.NoStream + 1; kind < telemetry.StreamKinds; kind++ {
			o(m.streams.moved[kind].Received.Load(), StreamKind.is(kind.String()), Direction.is(received))
			o(m.streams.moved[kind].Sent.Load(), StreamKind.is(kind.String()), Direction.is(sent))
		}
	}},
	{ConfigReloads, func(m *Metrics, o observe) {
		for i, word := range telemetry.ReloadWords() {
			o(m.State.Reloads(telemetry.Reload(i)), Result.is(word))
		}
	}},
	{ConfigSuccessful, func(m *Metrics, o observe) {
		if successful, _ := m.State.LastReload(); successful {
			o(1)
		} else {
			o(0)
		}
	}},
	{ConfigSucceededAt, func(m *Metrics, o observe) {
		_, at := m.State.LastReload()
		o(at)
	}},
	{BuildInfo, func(m *Metrics, o observe) { o(1, Version.is(m.Version), GoVersion.is(runtime.Version())) }},
}

// observeState registers the metrics of state.
func (m *Metrics) observeState(meter metric.Meter) error {
	for _, s := range stateInstruments {
		callback := func(_ context.Context, o metric.Int64Observer) error {
			s.read(m, func(v int64, labels ...attribute.KeyValue) {
				o.Observe(v, metric.WithAttributes(labels...))
			})
			return nil
		}
		var err error
		if s.Type == Counter {
			_, err = meter.Int64ObservableCounter(s.Key, metric.WithUnit(s.Unit), metric.WithDescription(s.Doc), metric.WithInt64Callback(callback))
		} else {
			_, err = meter.Int64ObservableGauge(s.Key, metric.WithUnit(s.Unit), metric.WithDescription(s.Doc), metric.WithInt64Callback(callback))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// backendLabels are the labels of a backend, as those of its attempts: a unix socket has no port.
func backendLabels(b telemetry.BackendState) []attribute.KeyValue {
	labels := []attribute.KeyValue{Upstream.is(b.Upstream), ServerAddress.is(b.Host)}
	if b.Port > 0 {
		labels = append(labels, attribute.Int(ServerPort.Key, b.Port))
	}
	return labels
}

func readLosses(l *telemetry.Losses, reasons []telemetry.Loss, observe observe) {
	if l == nil {
		return
	}
	for _, why := range reasons {
		observe(l.Of(why), Reason.is(why.String()))
	}
}
