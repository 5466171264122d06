package environment

import (
	"context"

	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.39.0"
)

// Resource returns the attributes that describe the process in every export: pace and its version, the host,
// an id of this process, and those in OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, which take precedence.
func Resource(ctx context.Context, version string) (*resource.Resource, error) {
	return resource.New(ctx,
		resource.WithAttributes(semconv.ServiceName("pace"), semconv.ServiceVersion(version), semconv.ServiceInstanceID(newInstanceID())),
		resource.WithTelemetrySDK(),
		resource.WithHost(),
		resource.WithFromEnv(),
	)
}
