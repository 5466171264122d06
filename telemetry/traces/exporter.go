package traces

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strings"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"pace/telemetry/environment"
)

// Protocols are the words for tracing.protocol.
var Protocols = []string{"grpc", "http/protobuf"}

// NewExporter returns the exporter that the environment names, or else the options; nil if none is named. It
// does not connect: the collector may start later, or never.
func NewExporter(env environment.Environment, endpoint, protocol string) (sdktrace.SpanExporter, error) {
	switch env.Exporter {
	case "", "otlp", "none":
	default:
		return nil, fmt.Errorf("OTEL_TRACES_EXPORTER: unknown exporter %q; write otlp or none", env.Exporter)
	}
	if !env.Exports(endpoint) {
		return nil, nil
	}
	if env.Endpoint != "" {
		endpoint = "" // the environment takes precedence over the file; the exporter reads it itself
	}
	client, err := newClient(endpoint, cmp.Or(env.Protocol, protocol))
	if err != nil {
		return nil, err
	}
	return &otlpExporter{client: client}, client.Start(context.Background()) // connects with the first batch
}

func newClient(endpoint, protocol string) (otlptrace.Client, error) {
	if endpoint != "" && !strings.Contains(endpoint, "://") {
		endpoint = "http://" + endpoint
	}
	switch protocol {
	case "grpc":
		var o []otlptracegrpc.Option
		if endpoint != "" {
			o = append(o, otlptracegrpc.WithEndpointURL(endpoint))
		}
		return otlptracegrpc.NewClient(o...), nil
	case "http/protobuf":
		var o []otlptracehttp.Option
		if endpoint != "" {
			o = append(o, otlptracehttp.WithEndpointURL(withPath(endpoint)))
		}
		return otlptracehttp.NewClient(o...), nil
	}
	return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL: unknown protocol %q; write %s", protocol, strings.Join(Protocols, " or "))
}

// withPath adds the path for traces to a collector's address. Without it, the exporter would post to /.
func withPath(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil || strings.Trim(u.Path, "/") != "" {
		return endpoint
	}
	return u.JoinPath("v1/traces").String()
}
