package metrics

import (
	"context"
	"log/slog"
	"sync/atomic"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"pace/telemetry/otlp"
)

// export sends metrics to a collector, beside the scrapes. The SDK's reader calls it in intervals, one call at a
// time.
type export struct {
	sdkmetric.Exporter
	delivery *otlp.Delivery
	hidden   atomic.Bool  // the configuration has no metrics at present
	failed   atomic.Int64 // exports that the collector did not accept whole

	ctx    context.Context // of every export; it ends when the time of shutdown is over
	giveUp context.CancelFunc
}

func newExport(e sdkmetric.Exporter, log *slog.Logger) *export {
	x := &export{Exporter: e, delivery: otlp.NewDelivery("metrics", log)}
	x.ctx, x.giveUp = context.WithCancel(context.Background())
	return x
}

// Export implements sdkmetric.Exporter. It returns no error: a failure is counted, and its first one is logged.
// The reader cancels an export when it is shut down. Differences would then be lost, so only the time that it
// gives is heeded.
func (e *export) Export(of context.Context, m *metricdata.ResourceMetrics) error {
	if e.hidden.Load() {
		return nil
	}
	ctx, cancel := e.ctx, context.CancelFunc(func() {})
	if end, ok := of.Deadline(); ok {
		ctx, cancel = context.WithDeadline(e.ctx, end)
	}
	defer cancel()
	err := e.delivery.Deliver(ctx, func(ctx context.Context) error { return e.Exporter.Export(ctx, m) })
	if otlp.Lost(1, err) > 0 {
		e.failed.Add(1)
	}
	return nil
}

// reader returns the SDK's reader for e, whose intervals the environment says. Producers report sums since the
// start, so for a collector that wants differences they are subtracted here, as the SDK does for its instruments.
func (e *export) reader(producers ...sdkmetric.Producer) sdkmetric.Reader {
	var o []sdkmetric.PeriodicReaderOption
	for _, p := range producers {
		o = append(o, sdkmetric.WithProducer(&sinceLast{Producer: p, temporality: e.Temporality, before: map[pointKey]any{}}))
	}
	return sdkmetric.NewPeriodicReader(e, o...)
}
