package environment

import (
	"context"

	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.39.0"
)

// Resource returns what every metric and span says of the process: pace and its version, the host, an
// id of this process, and what OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say instead or besides.
func Resource(ctx context.Context, version string) (*resource.Resource, error) {
	return resource.New(ctx,
		resource.WithAttributes(semconv.ServiceName("pace"), semconv.ServiceVersion(version), semconv.ServiceInstanceID(newInstanceID())),
		resource.WithTelemetrySDK(),
		resource.WithHost(),
		resource.WithFromEnv(),
	)
}
