package accesslog_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"

	"pace/telemetry/accesslog"
	"pace/telemetry/environment"
	"pace/telemetry/traces"
)

// What OpenTelemetry's libraries say goes to the log, as lines like any other.
func TestOpenLog_HearsTheLibraries(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	log, err := accesslog.Open(accesslog.Options{Format: "json", File: file})
	if err != nil {
		t.Fatal(err)
	}
	otel.Handle(errors.New("an error of the SDK"))
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "a word that the exporter cannot read")
	if _, err := traces.NewExporter(environment.Read(), "", "grpc"); err != nil {
		t.Fatal(err)
	}
	log.Close()
	got, err := os.ReadFile(file)
	for _, want := range []string{`"level":"WARN","msg":"OpenTelemetry complains","error":"an error of the SDK"}`, "a word that the exporter cannot read"} {
		if err != nil || !strings.Contains(string(got), want) {
			t.Errorf("%q is not in %q, %v", want, got, err)
		}
	}
}
