package otlp

import (
	"context"

	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"pace/telemetry/environment"
)

// The exporters below are the library's. They do not connect before they have something to send, and send each
// batch once: a [Delivery] repeats what may be repeated.

// NewMetricExporter returns the exporter of metrics that the environment asks for, to the file's endpoint and by
// its protocol unless the environment names others; nil if it asks for none.
func NewMetricExporter(env environment.Environment, endpoint, protocol string) (sdkmetric.Exporter, error) {
	if !env.Exports(env.Metrics) {
		return nil, nil
	}
	to, err := CollectorOf(env.Metrics, endpoint, protocol)
	if err != nil {
		return nil, err
	}
	if to.OverGRPC() {
		o := []otlpmetricgrpc.Option{otlpmetricgrpc.WithRetry(otlpmetricgrpc.RetryConfig{}), otlpmetricgrpc.WithDialOption(Reconnect())}
		if to.URL != "" {
			o = append(o, otlpmetricgrpc.WithEndpointURL(to.URL))
		}
		return otlpmetricgrpc.New(context.Background(), o...)
	}
	o := []otlpmetrichttp.Option{otlpmetrichttp.WithRetry(otlpmetrichttp.RetryConfig{})}
	if to.URL != "" {
		o = append(o, otlpmetrichttp.WithEndpointURL(to.URL))
	}
	return otlpmetrichttp.New(context.Background(), o...)
}

// NewLogExporter is [NewMetricExporter] for logs.
func NewLogExporter(env environment.Environment, endpoint, protocol string) (sdklog.Exporter, error) {
	if !env.Exports(env.Logs) {
		return nil, nil
	}
	to, err := CollectorOf(env.Logs, endpoint, protocol)
	if err != nil {
		return nil, err
	}
	if to.OverGRPC() {
		o := []otlploggrpc.Option{otlploggrpc.WithRetry(otlploggrpc.RetryConfig{}), otlploggrpc.WithDialOption(Reconnect())}
		if to.URL != "" {
			o = append(o, otlploggrpc.WithEndpointURL(to.URL))
		}
		return otlploggrpc.New(context.Background(), o...)
	}
	o := []otlploghttp.Option{otlploghttp.WithRetry(otlploghttp.RetryConfig{})}
	if to.URL != "" {
		o = append(o, otlploghttp.WithEndpointURL(to.URL))
	}
	return otlploghttp.New(context.Background(), o...)
}
