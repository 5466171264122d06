package traces

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"pace/telemetry"
	"pace/telemetry/environment"
)

// bench is a telemetry of traces alone, with an exporter that keeps what it gets. Package telemetrytest
// has all signals, but imports this one.
type bench struct {
	*Traces
	*telemetry.Telemetry
	exporter *keeper
	end      func()
}

// newBench returns a bench as the environment says. change may be nil.
func newBench(t testing.TB, change func(*Options)) *bench {
	t.Helper()
	resource, err := environment.Resource(context.Background(), "1")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{exporter: &keeper{}}
	o := Options{
		Environment: environment.Read(), Version: "1", Resource: resource, Exporter: b.exporter,
		SampleRatio: 1, Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&o)
	}
	if b.Traces, err = New(o); err != nil {
		t.Fatal(err)
	}
	b.Telemetry = telemetry.New(telemetry.Options{Tracing: b.Traces, Signals: []telemetry.Signal{b.Traces}})
	b.end = sync.OnceFunc(func() { b.Traces.Shutdown(context.Background()) })
	t.Cleanup(b.close)
	return b
}

// close exports what waits.
func (b *bench) close() { b.end() }

// request calls f with the record of a request that has these header fields, as a handler would.
func (b *bench) request(header http.Header, f func(context.Context, *telemetry.Record)) {
	h := b.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		f(q.Context(), b.Begin(q.Context(), q.Method, "http"))
	}), nil)
	q := httptest.NewRequest("GET", "/", nil)
	q.Header = header
	h.ServeHTTP(httptest.NewRecorder(), q)
}

// fromEnvironment makes the traces whose exporter the environment names.
func fromEnvironment(o Options) (t *Traces, err error) {
	o.Environment = environment.Read()
	if o.Exporter, err = NewExporter(o.Environment, "", "grpc"); err != nil {
		return nil, err
	}
	return New(o)
}

// keeper is an exporter that keeps what it gets.
type keeper struct{ spans []sdktrace.ReadOnlySpan }

func (k *keeper) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	k.spans = append(k.spans, spans...) // the slice is the queue's, the spans are ours
	return nil
}

func (k *keeper) Shutdown(context.Context) error { return nil }
