package traces

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"pace/telemetry/environment"
	"pace/telemetry/otlp"
)

// NewExporter returns the exporter that the environment names, or else the options; nil if none is named. It
// does not connect: the collector may start later, or never.
func NewExporter(env environment.Environment, endpoint, protocol string) (sdktrace.SpanExporter, error) {
	switch env.Traces.Exporter {
	case "", "otlp", "none":
	default:
		return nil, fmt.Errorf("OTEL_TRACES_EXPORTER: unknown exporter %q; write otlp or none", env.Traces.Exporter)
	}
	if !env.ExportsTraces(endpoint) {
		return nil, nil
	}
	collector, err := otlp.CollectorOf(env.Traces, endpoint, protocol)
	if err != nil {
		return nil, err
	}
	client := newClient(collector)
	return &otlpExporter{client: client}, client.Start(context.Background()) // connects with the first batch
}

// newClient returns a client that sends each batch once: the queue repeats what may be repeated.
func newClient(to otlp.Collector) otlptrace.Client {
	if to.OverGRPC() {
		o := []otlptracegrpc.Option{otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{}), otlptracegrpc.WithDialOption(otlp.Reconnect())}
		if to.URL != "" {
			o = append(o, otlptracegrpc.WithEndpointURL(to.URL))
		}
		return otlptracegrpc.NewClient(o...)
	}
	o := []otlptracehttp.Option{otlptracehttp.WithRetry(otlptracehttp.RetryConfig{})}
	if to.URL != "" {
		o = append(o, otlptracehttp.WithEndpointURL(to.URL))
	}
	return otlptracehttp.NewClient(o...)
}
