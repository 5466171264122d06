package traces

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"pace/telemetry/environment"
)

// clearEnvironment takes away what the test's own surroundings may say.
func clearEnvironment(t *testing.T) {
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "")
		}
	}
}

func TestNewExporter(t *testing.T) {
	for name, tt := range map[string]struct {
		env                map[string]string
		endpoint, protocol string
		exports            bool
		err                string
	}{
		"nothing named":                        {nil, "", "grpc", false, ""},
		"named in the file":                    {nil, "http://127.0.0.1:4317", "grpc", true, ""},
		"named without scheme":                 {nil, "127.0.0.1:4318", "http/protobuf", true, ""},
		"named in the environment":             {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317"}, "", "grpc", true, ""},
		"any OTLP variable names it":           {map[string]string{"OTEL_EXPORTER_OTLP_TIMEOUT": "1000"}, "", "grpc", true, ""},
		"an empty one does not":                {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, "", "grpc", false, ""},
		"asked for by its kind":                {map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, "", "grpc", true, ""},
		"none goes before the file":            {map[string]string{"OTEL_TRACES_EXPORTER": "none"}, "http://127.0.0.1:4317", "grpc", false, ""},
		"switched off goes before all":         {map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}, "http://127.0.0.1:4317", "grpc", false, ""},
		"an exporter we do not have":           {map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}, "", "grpc", false, `OTEL_TRACES_EXPORTER: unknown exporter "zipkin"`},
		"a protocol we do not have":            {map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "http://127.0.0.1:4317", "grpc", false, `OTEL_EXPORTER_OTLP_PROTOCOL: unknown protocol "http/json"`},
		"that of traces goes before that":      {map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, "", "grpc", true, ""},
		"nobody reads a protocol without need": {map[string]string{"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "", "grpc", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			clearEnvironment(t)
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			e, err := NewExporter(environment.Read(), tt.endpoint, tt.protocol)
			if (e != nil) != tt.exports || (err == nil) != (tt.err == "") || err != nil && !strings.HasPrefix(err.Error(), tt.err) {
				t.Errorf("got %v, %v; want one: %v, error %q", e, err, tt.exports, tt.err)
			}
			if e != nil {
				e.Shutdown(context.Background())
			}
		})
	}
}

// Who gets the spans, by the collectors' own account.
func TestNewExporter_Precedence(t *testing.T) {
	collector := func() (*httptest.Server, *[]string) {
		var paths []string
		s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { paths = append(paths, r.URL.Path) }))
		t.Cleanup(s.Close)
		return s, &paths
	}
	file, atFile := collector()
	env, atEnv := collector()
	for name, tt := range map[string]struct {
		env           map[string]string
		file          string
		toFile, toEnv []string
	}{
		"the file's":                            {nil, file.URL + "/v1/traces", []string{"/v1/traces"}, nil},
		"the file's, without scheme":            {nil, strings.TrimPrefix(file.URL, "http://") + "/v1/traces", []string{"/v1/traces"}, nil},
		"an address with a bare slash, too":     {nil, file.URL + "/", []string{"/v1/traces"}, nil},
		"a collector's address gets the path":   {nil, strings.TrimPrefix(file.URL, "http://"), []string{"/v1/traces"}, nil},
		"the environment goes before the file":  {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": env.URL}, file.URL, nil, []string{"/v1/traces"}},
		"that of traces is taken to the letter": {map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": env.URL + "/mine"}, file.URL, nil, []string{"/mine"}},
	} {
		t.Run(name, func(t *testing.T) {
			clearEnvironment(t)
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			*atFile, *atEnv = nil, nil
			e, err := NewExporter(environment.Read(), tt.file, "http/protobuf")
			if err != nil {
				t.Fatal(err)
			}
			defer e.Shutdown(context.Background())
			if err := e.ExportSpans(context.Background(), tracetest.SpanStubs{{Name: "x"}}.Snapshots()); err != nil {
				t.Error(err)
			}
			if got, want := strings.Join(*atFile, " ")+"|"+strings.Join(*atEnv, " "), strings.Join(tt.toFile, " ")+"|"+strings.Join(tt.toEnv, " "); got != want {
				t.Errorf("file's|environment's got %s, want %s", got, want)
			}
		})
	}
}

// New reports what it cannot use, and names the variable to fix.
func TestNew_SaysWhatToDo(t *testing.T) {
	for variable, word := range map[string]string{"OTEL_TRACES_SAMPLER": "sometimes", "OTEL_TRACES_EXPORTER": "zipkin"} {
		t.Run(variable, func(t *testing.T) {
			clearEnvironment(t)
			t.Setenv(variable, word)
			if _, err := fromEnvironment(Options{}); err == nil || !strings.Contains(err.Error(), variable) || !strings.Contains(err.Error(), word) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// The environment names the service and adds to the resource.
func TestResource(t *testing.T) {
	t.Setenv("OTEL_SERVICE_NAME", "edge")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.name=other")
	b := newBench(t, nil)
	got := map[string]string{}
	for _, a := range b.queue.resource.Attributes() {
		got[string(a.Key)] = a.Value.AsString()
	}
	if got["service.name"] != "edge" || got["deployment.environment.name"] != "test" || got["service.version"] != "1" || got["host.name"] == "" {
		t.Errorf("got %v", got)
	}
}
