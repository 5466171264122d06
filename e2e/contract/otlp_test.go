package contract

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

// exportAll makes pace send every signal to r, over this protocol.
func exportAll(r *otlp.Recv, protocol string, env ...string) []string {
	address := map[string]string{"grpc": r.GRPC, "http/protobuf": r.HTTP}[protocol]
	return append([]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + address, "OTEL_EXPORTER_OTLP_PROTOCOL=" + protocol,
		"OTEL_METRICS_EXPORTER=otlp", "OTEL_LOGS_EXPORTER=otlp",
		"OTEL_METRIC_EXPORT_INTERVAL=50", "OTEL_BSP_SCHEDULE_DELAY=20", "OTEL_BLRP_SCHEDULE_DELAY=20",
	}, env...)
}

// variety is a pace with several routes, and a few requests to it whose outcomes differ. It returns what the
// clients got, by path.
func variety(t *testing.T, keys string, env ...string) (*pacetest.Pace, *pacetest.Backend, map[string]pacetest.Response) {
	t.Helper()
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		if strings.HasSuffix(x.Target, "/broken") {
			x.Write("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 3\r\n\r\nbad")
			return
		}
		pacetest.Fine(x)
	})
	p := pacetest.StartText(t, keys+fmt.Sprintf(`
upstream.app.backends = ["http://%s", "http://%s"]
route = [
	{ match = "/", name = "all", upstream = "app" },
	{ match = "/failures/", name = "failures", upstream = "app", log = "failures" },
	{ match = "/quiet/", name = "quiet", upstream = "app", log = "none" },
]
`, b.Address(), pacetest.NewClosed(t).Address()), env...)
	got := map[string]pacetest.Response{}
	for _, path := range []string{"/fine", "/broken", "/failures/fine", "/failures/broken", "/quiet/fine", "/quiet/broken", "/again"} {
		got[path] = p.Get(path)
	}
	return p, b, got
}

// TestOTLP_MetricsAreThoseOfThePage compares the last export, which pace makes as it ends, with the page that a
// scrape got before, series by series, and both with what the client was told.
func TestOTLP_MetricsAreThoseOfThePage(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ protocol, temporality, keys string }{
		"gRPC":                       {"grpc", "", ""},
		"HTTP":                       {"http/protobuf", "", ""},
		"differences":                {"grpc", "delta", ""},
		"differences of instruments": {"http/protobuf", "LowMemory", ""},
		"native histograms":          {"grpc", "", "metrics.native_histograms = true"},
		"native differences":         {"grpc", "delta", "metrics.native_histograms = true"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := otlp.Receiver(t)
			p, _, got := variety(t, tt.keys, exportAll(r, tt.protocol, "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE="+tt.temporality)...)
			r.WaitExports(func(e [][]otlp.Point) bool { return len(e) > 2 }) // the differences are in several
			wantStatus(t, p.Get("/last"), 200)
			page := quietPage(t, p)
			if code := p.Stop(); code != 0 {
				t.Errorf("exit %d", code)
			}
			exported := series(t, r.Exports(), tt.temporality != "")
			for name, want := range page {
				if got, ok := exported[name]; !ok && want != (amount{}) || got != want {
					t.Errorf("%s: the page has %v, the exports %v (there: %v)", name, want, got, ok)
				}
			}
			for name, value := range exported {
				if _, ok := page[name]; !ok && value != (amount{}) {
					t.Errorf("%s is exported, but not on the page", name)
				}
			}
			if n := sum(exported, "http_server_request_duration_seconds{"); n.count != uint64(len(got)+1) {
				t.Errorf("%d requests are exported, %d got a response", n.count, len(got)+1)
			}
			if n := sum(exported, "pace_phase_duration_seconds{phase=wait}"); n.count == 0 {
				t.Error("the phases are not exported")
			}
			if len(page) < 100 {
				t.Errorf("only %d series are compared", len(page))
			}
		})
	}
}

// amount is what a series says.
type amount struct {
	value float64
	count uint64 // of a histogram; value is its sum then
}

// passing are families that change without a request: the last export is of when all connections are closed.
var passing = []string{"pace_connections", "pace_backend_connections", "go_", "process_", "target_info", "pace_metric_exports", "pace_spans", "pace_log"}

func isPassing(name string) bool {
	return slices.ContainsFunc(passing, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// quietPage reads the page once two scrapes say the same, so no request is still being counted.
func quietPage(t *testing.T, p *pacetest.Pace) map[string]amount {
	t.Helper()
	page := pageOf(p.Metrics())
	pacetest.Eventually(t, func() error {
		time.Sleep(50 * time.Millisecond)
		before := page
		if page = pageOf(p.Metrics()); !maps.Equal(before, page) {
			return notYet("the page still changes")
		}
		return nil
	})
	return page
}

func pageOf(m pacetest.Metrics) map[string]amount {
	page := map[string]amount{}
	for name, family := range m {
		if isPassing(name) {
			continue
		}
		for _, s := range family.GetMetric() {
			labels := map[string]any{}
			for _, l := range s.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			page[name+labelText(labels)] = amountOf(s)
		}
	}
	return page
}

func amountOf(s *dto.Metric) amount {
	if h := s.GetHistogram(); h != nil {
		return amount{rounded(h.GetSampleSum()), h.GetSampleCount()}
	}
	return amount{value: s.GetCounter().GetValue() + s.GetGauge().GetValue()}
}

// rounded forgives what adding up in another order changes.
func rounded(seconds float64) float64 { return float64(int64(seconds*1e6+0.5)) / 1e6 }

func labelText(labels map[string]any) string {
	var list []string
	for name, value := range labels {
		list = append(list, strings.ReplaceAll(name, ".", "_")+"="+fmt.Sprint(value))
	}
	slices.Sort(list)
	return "{" + strings.Join(list, ",") + "}"
}

// series is what the exports say of each series, under the names of the page: the last export, and the sum of
// differences.
func series(t *testing.T, exports [][]otlp.Point, mayDiffer bool) map[string]amount {
	t.Helper()
	all, differences := map[string]amount{}, 0
	for i, export := range exports {
		for _, p := range export {
			name := strings.ReplaceAll(p.Name, ".", "_") + map[string]string{"s": "_seconds", "By": "_bytes"}[p.Unit]
			if p.Kind == "counter" {
				name += "_total"
			}
			if isPassing(name) {
				continue
			}
			name += labelText(p.Attrs)
			switch a := (amount{p.Value + p.Sum, p.Count}); {
			case p.Delta:
				differences++
				all[name] = amount{all[name].value + a.value, all[name].count + a.count}
			case i == len(exports)-1:
				all[name] = a
			}
		}
	}
	if (differences > 0) != mayDiffer {
		t.Errorf("%d points are differences: %v", differences, mayDiffer)
	}
	for name, a := range all {
		if a.count > 0 {
			all[name] = amount{rounded(a.value), a.count}
		}
	}
	return all
}

func sum(all map[string]amount, prefix string) (total amount) {
	for name, a := range all {
		if strings.HasPrefix(name, prefix) {
			total = amount{total.value + a.value, total.count + a.count}
		}
	}
	return total
}

// TestOTLP_LinesAreThoseOfTheLog compares the log records with the lines of pace's log, field by field, and with
// the spans and the responses by the trace's id.
func TestOTLP_LinesAreThoseOfTheLog(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"grpc", "http/protobuf"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			r := otlp.Receiver(t)
			p, _, got := variety(t, "", exportAll(r, protocol)...)
			if code := p.Stop(); code != 0 {
				t.Errorf("exit %d", code)
			}
			lines := p.Lines("request")
			if len(lines) != 4 || len(r.Lines()) != 4 { // two routes log less
				t.Fatalf("%d lines and %d log records, want 4", len(lines), len(r.Lines()))
			}
			records := map[string]otlp.Line{}
			for _, l := range r.Lines() {
				records[fmt.Sprint(l.Attrs["path"])] = l
			}
			for _, line := range lines {
				path := line.Text("path")
				l := records[path]
				wantSameLine(t, line, l)
				spans := r.ByTrace(l.TraceID)
				if l.TraceID != got[path].Header.Get("X-Trace-Id") || len(spans) == 0 || l.Flags&1 != 1 {
					t.Errorf("%s: trace %s with %d spans, flags %x; the client was told %s", path, l.TraceID, len(spans), l.Flags, got[path].Header.Get("X-Trace-Id"))
				}
				if !slices.ContainsFunc(spans, func(s otlp.Span) bool { return s.Kind == otlp.Server && s.SpanID == l.SpanID }) {
					t.Errorf("%s: no SERVER span has the id %s", path, l.SpanID)
				}
				if l.Resource["service.name"] != "pace" || l.Resource["service.instance.id"] != spans[0].Resource["service.instance.id"] || l.Scope != "pace" {
					t.Errorf("%s: resource %v, scope %q; want those of the spans", path, l.Resource, l.Scope)
				}
			}
		})
	}
}

// wantSameLine compares a line of the log with its log record.
func wantSameLine(t *testing.T, line pacetest.Line, l otlp.Line) {
	t.Helper()
	attrs := maps.Clone(map[string]any(line))
	for _, field := range []string{"time", "level", "msg", "trace_id", "span_id"} {
		delete(attrs, field)
	}
	if got := asJSON(t, l.Attrs); !reflect.DeepEqual(got, attrs) {
		t.Errorf("got  %v\nwant %v", got, attrs)
	}
	severities := map[string]int{"INFO": 9, "WARN": 13, "ERROR": 17}
	if l.Body != line.Text("msg") || l.SeverityText != line.Text("level") || l.Severity != severities[line.Text("level")] ||
		l.TraceID != line.Text("trace_id") || l.SpanID != line.Text("span_id") {
		t.Errorf("got %+v, want what the line says: %v", l, line)
	}
	if at, err := time.Parse(time.RFC3339Nano, line.Text("time")); err != nil || !at.Equal(l.Time) {
		t.Errorf("got %v, want %s (%v)", l.Time, line.Text("time"), err)
	}
}

// asJSON returns attributes as a line of JSON has them: all numbers are alike.
func asJSON(t *testing.T, attrs map[string]any) (line map[string]any) {
	t.Helper()
	raw, err := json.Marshal(attrs)
	if err == nil {
		err = json.Unmarshal(raw, &line)
	}
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// The level of the log holds for log records, too, and a trace that was not sampled and not kept is not marked.
func TestOTLP_LinesFollowTheLevel(t *testing.T) {
	t.Parallel()
	r := otlp.Receiver(t)
	p, _, _ := variety(t, "tracing.sample_ratio = 0\ntracing.keep.enabled = false", exportAll(r, "grpc")...)
	p.Stop()
	for _, l := range r.Lines() {
		if l.Flags&1 != 0 || l.TraceID == "" {
			t.Errorf("%v: trace %q, flags %x; want the id, and that it was not sampled", l.Attrs["path"], l.TraceID, l.Flags)
		}
	}
	if n := len(r.Lines()); n != 4 || len(r.Spans()) != 0 {
		t.Errorf("%d log records and %d spans, want 4 and none", n, len(r.Spans()))
	}

	quiet := otlp.Receiver(t)
	cfg := upstreams(pacetest.NewBackend(t, pacetest.Fine))
	q := pacetest.Start(t, cfg, append(exportAll(quiet, "grpc"), "OTEL_TRACES_EXPORTER=none")...)
	wantStatus(t, q.Get("/before"), 200)
	q.Reload(set(cfg, "log", "level", "error"))
	q.WantMetric(1, "pace_config_reloads_total", "result", "applied") // the line comes a moment before the level is another
	wantStatus(t, q.Get("/after"), 200)
	q.Stop()
	if l := quiet.Lines(); len(l) != 1 || l[0].Attrs["path"] != "/before" {
		t.Errorf("got %v, want one log record, because log.level = error hides the other", l)
	}
}

// TestOTLP_LossesAreCounted: a collector that takes nothing costs no request, and each line that it did not get is
// counted, and so are the exports of metrics. The log says when it begins and ends.
func TestOTLP_LossesAreCounted(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]otlp.Fault{"it refuses": otlp.Refuse, "it hangs": otlp.Hang, "it is unavailable": otlp.Unavailable, "it answers garbage": otlp.Garbage} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := otlp.Receiver(t)
			r.Fail(fault)
			p := pacetest.Start(t, upstreams(pacetest.NewBackend(t, pacetest.Fine)), exportAll(r, "http/protobuf",
				"OTEL_BLRP_EXPORT_TIMEOUT=1000", "OTEL_BSP_EXPORT_TIMEOUT=1000", "OTEL_METRIC_EXPORT_TIMEOUT=1000",
				"OTEL_BLRP_MAX_QUEUE_SIZE=20", "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE=10")...)
			client := pacetest.H1.Client(t)
			for range 200 {
				wantStatus(t, pacetest.Do(client, p.Request("GET", "/x", "")), 200)
			}
			p.WantMetric(200, "pace_log_records_dropped_total")
			pacetest.Eventually(t, func() error {
				if n := p.Metrics().Sum("pace_metric_exports_failed_total"); n < 2 {
					return notYet("%v exports of metrics are counted as failed", n)
				}
				return nil
			})
			r.Fail(otlp.None)
			exports := len(r.Exports())
			r.WaitExports(func(e [][]otlp.Point) bool { return len(e) > exports })
			pacetest.Eventually(t, func() error { // the first ones may be lost on connections that are gone
				wantStatus(t, p.Get("/after"), 200)
				if len(r.Lines()) == 0 {
					return notYet("no log record comes")
				}
				return nil
			})
			if code := p.Stop(); code != 0 {
				t.Errorf("exit %d", code)
			}
			for _, what := range []string{"metrics", "log records"} {
				lost, again := p.Lines(what+" are being lost: the collector does not take them"), p.Lines("the collector takes "+what+" again")
				if len(lost) == 0 || len(lost) > 3 || len(again) == 0 { // not one for each batch
					t.Errorf("%d lines say that %s are lost, and %d that they are taken again", len(lost), what, len(again))
				}
			}
		})
	}
}

// TestOTLP_Environment covers the variables of metrics and logs, each signal for itself.
func TestOTLP_Environment(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t"
	type want struct{ spans, exports, lines bool }
	for name, tt := range map[string]struct {
		keys string
		env  []string
		want want
	}{
		"nothing asked for":          {"", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://GRPC"}, want{spans: true}},
		"metrics alone":              {"", []string{"OTEL_METRICS_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://GRPC"}, want{exports: true}},
		"logs alone, over HTTP":      {"", []string{"OTEL_LOGS_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=http://HTTP/v1/logs", "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL=http/protobuf"}, want{lines: true}},
		"each over its own protocol": {"", []string{"OTEL_METRICS_EXPORTER=otlp", "OTEL_LOGS_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_ENDPOINT=http://HTTP", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://GRPC", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL=grpc"}, want{true, true, true}},
		"to the file's endpoint":     {`tracing.endpoint = "GRPC"`, []string{"OTEL_METRICS_EXPORTER=otlp", "OTEL_LOGS_EXPORTER=otlp"}, want{true, true, true}},
		"to the file's, over HTTP":   {"tracing.endpoint = \"http://HTTP/v1/traces\"\ntracing.protocol = \"http/protobuf\"", []string{"OTEL_METRICS_EXPORTER=otlp", "OTEL_LOGS_EXPORTER=otlp"}, want{true, true, true}},
		"compressed":                 {"", []string{"OTEL_METRICS_EXPORTER=otlp", "OTEL_LOGS_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_ENDPOINT=http://HTTP", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "OTEL_EXPORTER_OTLP_COMPRESSION=gzip"}, want{true, true, true}},
		"a list":                     {"", []string{"OTEL_METRICS_EXPORTER=prometheus, otlp", "OTEL_LOGS_EXPORTER=console,otlp", "OTEL_EXPORTER_OTLP_ENDPOINT=http://GRPC", "OTEL_TRACES_EXPORTER=none"}, want{exports: true, lines: true}},
		"other exporters":            {"", []string{"OTEL_METRICS_EXPORTER=prometheus", "OTEL_LOGS_EXPORTER=console", "OTEL_EXPORTER_OTLP_ENDPOINT=http://GRPC"}, want{spans: true}},
		"none":                       {"", []string{"OTEL_METRICS_EXPORTER=none", "OTEL_LOGS_EXPORTER=none", "OTEL_EXPORTER_OTLP_ENDPOINT=http://GRPC"}, want{spans: true}},
		"the SDK is off":             {"", []string{"OTEL_METRICS_EXPORTER=otlp", "OTEL_LOGS_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_ENDPOINT=http://GRPC", "OTEL_SDK_DISABLED=true"}, want{}},
		"the configuration has none": {"metrics.enabled = false", []string{"OTEL_METRICS_EXPORTER=otlp", "OTEL_LOGS_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_ENDPOINT=http://GRPC"}, want{spans: true, lines: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := otlp.Receiver(t)
			fill := strings.NewReplacer("GRPC", r.GRPC, "HTTP", r.HTTP)
			env := []string{
				"OTEL_METRIC_EXPORT_INTERVAL=50", "OTEL_BLRP_SCHEDULE_DELAY=20",
				"OTEL_EXPORTER_OTLP_TRACES_HEADERS=x-key=" + secret, "OTEL_EXPORTER_OTLP_METRICS_HEADERS=x-key=" + secret, "OTEL_EXPORTER_OTLP_LOGS_HEADERS=x-key=" + secret,
			}
			if !tt.want.spans { // any variable of traces would ask for them
				env = slices.Delete(env, 2, 3)
			}
			for _, kv := range tt.env {
				key, value, _ := strings.Cut(kv, "=")
				env = append(env, key+"="+fillOTLP(fill, value))
			}
			p, _, _ := variety(t, fill.Replace(tt.keys)+"\nlog.level = \"debug\"", env...)
			if tt.want.exports {
				r.WaitExports(func(e [][]otlp.Point) bool { return len(e) > 1 })
			}
			p.Stop()
			if got := (want{len(r.Spans()) > 0, len(r.Exports()) > 0, len(r.Lines()) > 0}); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			for signal, exported := range map[string]bool{otlp.Traces: tt.want.spans, otlp.Metrics: tt.want.exports, otlp.Logs: tt.want.lines} {
				if h := r.Header(signal); exported && h.Get("X-Key") != secret {
					t.Errorf("%s came without its header: %v", signal, h)
				}
			}
			if strings.Contains(p.Stderr(), secret) {
				t.Error("the log has the value of a header")
			}
		})
	}
}

// fillOTLP fills in the receiver's addresses in a URL, and leaves other values alone.
func fillOTLP(fill *strings.Replacer, value string) string {
	if rest, ok := strings.CutPrefix(value, "http://"); ok {
		return "http://" + fill.Replace(rest)
	}
	return value
}
