package parts

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"pace/e2e/otlp"
)

// maxTraces is how many traces Jaeger keeps, and so the most that one search can find.
const maxTraces = 50_000

// Jaeg is a running Jaeger.
type Jaeg struct {
	GRPC, HTTP string // addresses that take OTLP, host:port
	URL        string // of its query API, without a slash at the end

	t testing.TB
}

// Jaeger starts a Jaeger that keeps its traces in memory.
func Jaeger(t testing.TB) *Jaeg {
	t.Helper()
	path := Path(t, "jaeger")
	query := free(t)
	j := &Jaeg{GRPC: free(t), HTTP: free(t), URL: "http://" + query, t: t}
	file := filepath.Join(t.TempDir(), "jaeger.yaml")
	write(t, file, fmt.Sprintf(`
service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines: {traces: {receivers: [otlp], exporters: [jaeger_storage_exporter]}}
  telemetry: {metrics: {level: none}, logs: {level: warn}}
extensions:
  jaeger_storage: {backends: {mem: {memory: {max_traces: %d}}}}
  jaeger_query:
    storage: {traces: mem}
    http: {endpoint: %s}
    grpc: {endpoint: %s}
receivers: {otlp: {protocols: {grpc: {endpoint: %s}, http: {endpoint: %s}}}}
exporters: {jaeger_storage_exporter: {trace_storage: mem}}
`, maxTraces, query, free(t), j.GRPC, j.HTTP))
	run(t, path, "--config", file).ready(t, j.URL+"/api/v3/services")
	return j
}

// Trace returns the spans of a trace, in no order, none if Jaeger does not know it.
func (j *Jaeg) Trace(id string) []otlp.Span {
	j.t.Helper()
	spans, err := j.traces("/" + url.PathEscape(id) + "?raw_traces=true")
	if err != nil {
		j.t.Fatal(err)
	}
	return spans
}

// Find returns the spans of all traces that have a span of the service which began within those
// times, in no order.
func (j *Jaeg) Find(service string, from, to time.Time) []otlp.Span {
	j.t.Helper()
	spans, err := j.find(service, from, to)
	if err != nil {
		j.t.Fatal(err)
	}
	return spans
}

// Wait is Find, tried until enough says yes to its response.
func (j *Jaeg) Wait(service string, from, to time.Time, enough func([]otlp.Span) bool) []otlp.Span {
	j.t.Helper()
	var spans []otlp.Span
	poll(j.t, func() (err error) {
		if spans, err = j.find(service, from, to); err == nil && !enough(spans) {
			err = fmt.Errorf("Jaeger still has %d spans of %s", len(spans), service)
		}
		return err
	})
	return spans
}

func (j *Jaeg) find(service string, from, to time.Time) ([]otlp.Span, error) {
	return j.traces("?" + url.Values{
		"query.service_name":   {service},
		"query.start_time_min": {from.UTC().Format(time.RFC3339Nano)},
		"query.start_time_max": {to.UTC().Format(time.RFC3339Nano)},
		"query.num_traces":     {fmt.Sprint(maxTraces)},
		// As they came: otherwise Jaeger takes out spans that came twice, and moves clocks.
		"query.raw_traces": {"true"},
	}.Encode())
}

func (j *Jaeg) traces(rest string) ([]otlp.Span, error) {
	body, err := get(j.t.Context(), j.URL+"/api/v3/traces"+rest)
	if isStatus(err, http.StatusNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("traces of Jaeger: %w", err)
	}
	var response struct{ Result json.RawMessage }
	if err := json.Unmarshal(body, &response); err != nil {
		return nil, fmt.Errorf("traces of Jaeger: %w", err)
	}
	return otlp.ParseJSON(response.Result)
}
