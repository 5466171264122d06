// Package telemetrytest is a telemetry whose every signal a test can read: the lines of its log, its
// metrics, and the spans that its exporter got. Only tests import it.
package telemetrytest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"pace/telemetry"
	"pace/telemetry/accesslog"
	"pace/telemetry/environment"
	"pace/telemetry/metrics"
	"pace/telemetry/otlplogs"
	"pace/telemetry/recent"
	"pace/telemetry/traces"
)

// Options configure [New], which has set them as most tests want them.
type Options struct {
	SampleRatio float64            // 1
	QueryAllow  []string           // none
	Keep        traces.KeepOptions // of the traces that are not sampled: none
	NoMetrics   bool               // there are
	NoExporter  bool               // there is one, which keeps what it gets
	Format      string             // of the log: json
	Level       slog.Level         // of the log: info
}

// All is everything that a record is published to, wired as pace does it.
type All struct {
	*telemetry.Telemetry
	Log      *accesslog.Log
	Traces   *traces.Traces
	Metrics  *metrics.Metrics // nil without metrics
	Recent   *recent.Ring
	Exporter *Keeper
	OTLPLogs *otlplogs.Logs   // exports nothing: its own tests do
	Route    *telemetry.Route // that of the short form

	File string // of the log

	closed bool
	flush  func()
}

// Flush exports what waits; nothing is exported after it.
func (a *All) Flush() { a.flush() }

// New returns telemetry for the pool default and the route /. change may be nil.
func New(t testing.TB, change func(*Options)) *All {
	t.Helper()
	o := Options{SampleRatio: 1, Format: "json"}
	if change != nil {
		change(&o)
	}
	a := &All{File: filepath.Join(t.TempDir(), "log"), Exporter: &Keeper{}, Recent: recent.New(100)}
	var err error
	if a.Log, err = accesslog.Open(accesslog.Options{File: a.File, Format: o.Format, Level: o.Level}); err != nil {
		t.Fatal(err)
	}
	resource, err := environment.Resource(context.Background(), "1")
	if err != nil {
		t.Fatal(err)
	}
	to := traces.Options{Environment: environment.Read(), Version: "1", Resource: resource, SampleRatio: o.SampleRatio, Keep: o.Keep, Log: a.Log.Logger}
	if !o.NoExporter {
		to.Exporter = a.Exporter
	}
	if a.Traces, err = traces.New(to); err != nil {
		t.Fatal(err)
	}
	a.OTLPLogs = otlplogs.New(otlplogs.Options{})
	state := &telemetry.State{}
	if !o.NoMetrics {
		a.Metrics, err = metrics.New(metrics.Options{
			Version: "1", Resource: resource, State: state, Spans: a.Traces.Lost(), Keeping: a.Traces.Keeping(), Lines: a.Log.Lost(),
			Exemplars: !o.NoExporter,
		})
		if err != nil {
			t.Fatal(err)
		}
		a.Traces.OnAccepted(a.Metrics.Accepted)
	}
	a.Telemetry = telemetry.New(telemetry.Options{
		Tracing: a.Traces, Signals: a.Signals(), State: state,
		QueryAllow: o.QueryAllow,
	})
	a.flush = sync.OnceFunc(func() { a.Traces.Shutdown(context.Background()) })
	a.Route = &telemetry.Route{Path: "/", Name: "default"}
	a.Configure([]*telemetry.Route{a.Route}, []string{"default"})
	t.Cleanup(a.Close)
	return a
}

// Signals returns those that records are published to, in the order of pace.
func (a *All) Signals() []telemetry.Signal {
	if a.Metrics == nil {
		return []telemetry.Signal{a.Log, a.OTLPLogs, a.Traces, a.Recent}
	}
	return []telemetry.Signal{a.Metrics, a.Log, a.OTLPLogs, a.Traces, a.Recent}
}

// Close ends all, so that every signal is where it should be.
func (a *All) Close() {
	if a.closed {
		return
	}
	a.closed = true
	a.Flush()
	if a.Metrics != nil {
		a.Metrics.Shutdown(context.Background())
	}
	a.Log.Close()
}

// Request calls f with the record of a request that has these header fields, as a handler would.
func (a *All) Request(header http.Header, f func(context.Context, *telemetry.Record)) {
	h := a.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		f(q.Context(), a.Begin(q.Context(), q.Method, "http"))
	}), nil)
	q := httptest.NewRequest("GET", "/", nil)
	q.Header = header
	h.ServeHTTP(httptest.NewRecorder(), q)
}

// Page returns what the log's file holds.
func (a *All) Page(t testing.TB) string {
	t.Helper()
	raw, err := os.ReadFile(a.File)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// Logged returns the lines with this message, after Close.
func (a *All) Logged(t testing.TB, msg string) (all []map[string]any) {
	t.Helper()
	for line := range bytes.Lines([]byte(a.Page(t))) {
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

// Scrape returns what a scraper gets, by name.
func (a *All) Scrape(t testing.TB) map[string]*dto.MetricFamily {
	t.Helper()
	w := httptest.NewRecorder()
	a.Metrics.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// Count adds up a counter's series, or a histogram's observations.
func Count(f *dto.MetricFamily) (n float64) {
	for _, m := range f.GetMetric() {
		n += m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	return n
}

// Value returns the value of the gauge or counter that has these labels: name, word, name, word.
func Value(f *dto.MetricFamily, labels ...string) (v float64, ok bool) {
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

// OutcomeCountOf returns how many requests the histogram has with this outcome.
func OutcomeCountOf(scraped map[string]*dto.MetricFamily, word string) (n int) {
	for _, m := range scraped[metrics.ServerDuration.Name].GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == metrics.Outcome.Name && l.GetValue() == word {
				n += int(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return n
}

// OpenMetrics returns a page of OpenMetrics, which has exemplars.
func (a *All) OpenMetrics() string {
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil)
	r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	a.Metrics.Handler().ServeHTTP(w, r)
	return w.Body.String()
}

// AttributesOf returns the attributes as a map, and fails on a name that stands there twice.
func AttributesOf(t testing.TB, s sdktrace.ReadOnlySpan) map[string]any {
	t.Helper()
	all := map[string]any{}
	for _, a := range s.Attributes() {
		if _, twice := all[string(a.Key)]; twice {
			t.Errorf("%s stands there twice", a.Key)
		}
		all[string(a.Key)] = a.Value.AsInterface()
	}
	return all
}

// Keeper is an exporter that keeps what it gets.
type Keeper struct {
	mu    sync.Mutex
	spans []sdktrace.ReadOnlySpan // guarded by mu
	ended bool
}

// ExportSpans implements sdktrace.SpanExporter.
func (k *Keeper) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ended {
		return errors.New("exporter has ended")
	}
	k.spans = append(k.spans, spans...) // the slice is the queue's, the spans are ours
	return nil
}

// Shutdown implements sdktrace.SpanExporter.
func (k *Keeper) Shutdown(context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = true
	return nil
}

// Spans returns what was exported so far, in order.
func (k *Keeper) Spans() []sdktrace.ReadOnlySpan {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.spans
}

// DefaultRoute is the route of the short form, which no signal has prepared for: records that are made by hand
// may have it with any telemetry.
var DefaultRoute = &telemetry.Route{Path: "/", Name: "default"}

// Fill gives the record something of all that can be told: a failover, a retry, a limiter's no.
func Fill(r *telemetry.Record) {
	r.Host, r.Path, r.Query, r.Protocol, r.UserAgent, r.RequestID = "example.org:8080", "/p", "q=1", "1.1", "test", "id"
	r.TLS, r.Cipher, r.TLSClient = "1.3", "TLS_AES_128_GCM_SHA256", "CN=client"
	r.Peer, r.PeerPort, r.Client = "192.0.2.1", 1234, "192.0.2.2"
	r.Route, r.Upstream = DefaultRoute, "default"
	r.BeginAttempt("10.0.0.1:8000", "10.0.0.1", 8000).Failure = telemetry.ConnectFailed
	r.EndAttempt()
	a := r.BeginAttempt("10.0.0.2:8000", "10.0.0.2", 8000)
	a.PickReason = "failover"
	a.Status, a.Remote = 500, netip.MustParseAddrPort("10.0.0.2:8000")
	r.EndAttempt()
	r.Failovers = []telemetry.Failover{{From: "10.0.0.1:8000", To: "10.0.0.2:8000", Reason: "connect_failed", Attempt: 1}}
	r.Retries = []telemetry.Retry{{Backend: "10.0.0.2:8000", Reason: telemetry.StaleConnection, Attempt: 2}}
	r.Ejected = []telemetry.Ejected{{Backend: "10.0.0.2:8000", Reason: "5 connect failures in 2.1 s"}}
	r.OverBudget = []telemetry.OverBudget{{Upstream: "default", Reason: "503", Attempt: 2}}
	r.Mirrored = []telemetry.Mirrored{{Upstream: "shadow"}}
	r.Limited = []telemetry.Limited{{Policy: "default", KeyKind: "client_ip", Limit: 1, Window: time.Minute, RetryAfter: time.Second}}
	r.Outcome, r.Status = telemetry.UpstreamError, 500
}
