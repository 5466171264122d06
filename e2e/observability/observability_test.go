// Package observability compares what a real Prometheus and a real Jaeger have with the records of clients,
// backends and traffic for the same requests. It never compares one output of pace with another one.
package observability

import (
	"slices"
	"testing"

	"pace/e2e/mix"
	"pace/e2e/otlp"
	"pace/e2e/pacetest"
	"pace/e2e/parts"
)

func TestMain(m *testing.M) {
	pacetest.ServeProcess(mix.Live)
	pacetest.Main(m)
}

// exportTo is the environment of a pace whose spans go to jaeger.
func exportTo(jaeger *parts.Jaeg, service string) []string {
	return []string{
		"OTEL_SERVICE_NAME=" + service,
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + jaeger.GRPC,
		"OTEL_BSP_SCHEDULE_DELAY=100",
	}
}

func spansOf(spans []otlp.Span, kind int) []otlp.Span {
	return slices.DeleteFunc(slices.Clone(spans), func(s otlp.Span) bool { return s.Kind != kind })
}

// compare reports each count in which two tables differ.
func compare(t *testing.T, what string, got, want mix.Table) {
	t.Helper()
	for _, difference := range got.Differences(want) {
		t.Errorf("%s %s", what, difference)
	}
}
