package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// bench is a Telemetry whose every signal a test can read: the lines of its log, its metrics, and
// the spans that its exporter got.
type bench struct {
	*Telemetry
	file     string
	exporter *keeper
}

// newBench returns a Telemetry with an exporter that keeps what it gets. change may be nil.
func newBench(t testing.TB, change func(*Options, *LogOptions)) *bench {
	t.Helper()
	b := &bench{file: filepath.Join(t.TempDir(), "log"), exporter: &keeper{}}
	l := LogOptions{File: b.file, Format: "json"}
	o := Options{Version: "1", SampleRatio: 1, Upstream: "default", Route: "/",
		Endpoint: "http://127.0.0.1:1", Protocol: "http/protobuf"} // nobody connects before the first export
	if change != nil {
		change(&o, &l)
	}
	var err error
	if o.Log, err = OpenLog(l); err != nil {
		t.Fatal(err)
	}
	if b.Telemetry, err = New(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	if b.queue != nil {
		b.queue.exporter = b.exporter
	}
	t.Cleanup(b.close)
	return b
}

// close ends all, so that every signal is where it should be.
func (b *bench) close() {
	if b.Telemetry != nil {
		b.Shutdown(context.Background())
		b.log.Close()
		b.Telemetry = nil
	}
}

// request calls f with the record of a request that has these header fields, as a handler would.
func (b *bench) request(header http.Header, f func(context.Context, *Record)) {
	h := b.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		f(q.Context(), b.Begin(q.Context(), q.Method, "http"))
	}), nil)
	q := httptest.NewRequest("GET", "/", nil)
	q.Header = header
	h.ServeHTTP(httptest.NewRecorder(), q)
}

// logged returns the lines with this message, after close.
func (b *bench) logged(t testing.TB, msg string) (all []map[string]any) {
	t.Helper()
	raw, err := os.ReadFile(b.file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(raw) {
		var l map[string]any
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		if l["msg"] == msg {
			all = append(all, l)
		}
	}
	return all
}

// keeper is an exporter that keeps what it gets.
type keeper struct {
	mu    sync.Mutex
	spans []sdktrace.ReadOnlySpan
	ended bool
}

func (k *keeper) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ended {
		return errors.New("exporter has ended")
	}
	k.spans = append(k.spans, spans...) // the slice is the queue's, the spans are ours
	return nil
}

func (k *keeper) Shutdown(context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = true
	return nil
}

// count adds up a counter's series, or a histogram's observations.
func count(f *dto.MetricFamily) (n float64) {
	for _, m := range f.GetMetric() {
		n += m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	return n
}

// value returns the value of the gauge or counter that has these labels: name, word, name, word.
func value(f *dto.MetricFamily, labels ...string) (v float64, ok bool) {
	for _, m := range f.GetMetric() {
		matching := 0
		for _, l := range m.GetLabel() {
			for i := 0; i < len(labels); i += 2 {
				if l.GetName() == labels[i] && l.GetValue() == labels[i+1] {
					matching++
				}
			}
		}
		if matching == len(labels)/2 {
			return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount()), true
		}
	}
	return 0, false
}

// outcomeCountOf returns how many requests the histogram has with this outcome.
func outcomeCountOf(metrics map[string]*dto.MetricFamily, word string) (n int) {
	for _, m := range metrics[MetricServerDuration].GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == LabelOutcome && l.GetValue() == word {
				n += int(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return n
}

func openMetrics(t *testing.T, tel *Telemetry) string {
	t.Helper()
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil)
	r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	tel.Metrics().ServeHTTP(w, r)
	return w.Body.String()
}

// waitFor polls until it is so.
func waitFor(t testing.TB, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
