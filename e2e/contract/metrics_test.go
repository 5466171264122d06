package contract

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"pace/e2e/pacetest"
)

// row is one row of interface.md's table of metrics.
type row struct {
	kind   dto.MetricType
	labels []string  // every label the name may have
	always []string  // those each series must have
	bounds []float64 // of a histogram, where interface.md gives them
}

var older1 = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5}

// semconv's bounds of http.server.request.duration.
var semconv = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}

var rows = map[string]row{
	"http_requests_duration_seconds": {dto.MetricType_HISTOGRAM, words("method status"), words("method status"), older1},
	"http_server_request_duration_seconds": {
		dto.MetricType_HISTOGRAM,
		words("http_request_method url_scheme http_response_status_code http_route pace_route pace_outcome error_type"),
		words("http_request_method url_scheme http_response_status_code http_route pace_route pace_outcome"), semconv,
	},
	"http_server_active_requests": {dto.MetricType_GAUGE, words("http_request_method url_scheme"), words("http_request_method url_scheme"), nil},
	"http_client_request_duration_seconds": {
		dto.MetricType_HISTOGRAM,
		words("http_request_method server_address server_port http_response_status_code error_type pace_upstream"),
		words("http_request_method server_address server_port pace_upstream"), nil,
	},
	"pace_failovers_total":              {dto.MetricType_COUNTER, words("pace_upstream reason"), words("pace_upstream reason"), nil},
	"pace_retries_total":                {dto.MetricType_COUNTER, words("pace_upstream reason"), words("pace_upstream reason"), nil},
	"pace_retry_budget_exhausted_total": {dto.MetricType_COUNTER, words("pace_upstream"), words("pace_upstream"), nil},
	"pace_requests_total":               {dto.MetricType_COUNTER, words("pace_outcome pace_side http_route pace_route"), words("pace_outcome pace_side http_route pace_route"), nil},
	"pace_client_left_total":            {dto.MetricType_COUNTER, words("left_in http_route pace_route"), words("left_in http_route pace_route"), nil},
	"pace_rejections_total":             {dto.MetricType_COUNTER, words("reason http_route pace_route"), words("reason http_route pace_route"), nil},
	"pace_acme_failures_total":          {dto.MetricType_COUNTER, nil, nil, nil},
	"pace_refused_total":                {dto.MetricType_COUNTER, words("reason"), words("reason"), nil},
	"pace_connections":                  {dto.MetricType_GAUGE, words("state"), words("state"), nil},
	"pace_backend_active_requests":      {dto.MetricType_GAUGE, words("pace_upstream server_address server_port"), words("pace_upstream server_address server_port"), nil},
	"pace_backend_connections":          {dto.MetricType_GAUGE, words("pace_upstream server_address server_port state"), words("pace_upstream server_address server_port state"), nil},
	"pace_limiter_keys":                 {dto.MetricType_GAUGE, words("policy"), words("policy"), nil},
	"pace_limiter_evicted_total":        {dto.MetricType_COUNTER, words("policy"), words("policy"), nil},
	"pace_spans_dropped_total":          {dto.MetricType_COUNTER, words("reason"), words("reason"), nil},
	"pace_log_dropped_total":            {dto.MetricType_COUNTER, words("reason"), words("reason"), nil},
	"pace_traces_kept_total":            {dto.MetricType_COUNTER, words("reason"), words("reason"), nil},
	"pace_traces_dropped_total":         {dto.MetricType_COUNTER, words("reason"), words("reason"), nil},
	"pace_phase_duration_seconds":       {dto.MetricType_HISTOGRAM, words("phase"), words("phase"), nil},
	"pace_overhead_seconds":             {dto.MetricType_HISTOGRAM, nil, nil, nil},
	"pace_streams":                      {dto.MetricType_GAUGE, words("kind"), words("kind"), nil},
	"pace_stream_duration_seconds":      {dto.MetricType_HISTOGRAM, words("kind pace_close_reason"), words("kind pace_close_reason"), nil},
	"pace_stream_io_bytes_total":        {dto.MetricType_COUNTER, words("kind direction"), words("kind direction"), nil},
	"pace_mirror_dropped_total":         {dto.MetricType_COUNTER, words("reason"), words("reason"), nil},
	"pace_config_reloads_total":         {dto.MetricType_COUNTER, words("result"), words("result"), nil},
	"pace_backend_up":                   {dto.MetricType_GAUGE, words("pace_upstream server_address server_port"), words("pace_upstream server_address"), nil},
	"pace_panic_picks_total":            {dto.MetricType_COUNTER, words("pace_upstream"), words("pace_upstream"), nil},

	"pace_tls_handshakes_total":         {dto.MetricType_COUNTER, words("tls_protocol_version"), words("tls_protocol_version"), nil},
	"pace_protocol_requests_total":      {dto.MetricType_COUNTER, words("network_protocol_version"), words("network_protocol_version"), nil},
	"pace_tls_handshake_failures_total": {dto.MetricType_COUNTER, words("reason"), words("reason"), nil},
	"pace_log_records_dropped_total":    {dto.MetricType_COUNTER, words("reason"), words("reason"), nil},
	"pace_metric_exports_failed_total":  {dto.MetricType_COUNTER, nil, nil, nil},
	"pace_backend_transitions_total":    {dto.MetricType_COUNTER, words("pace_upstream server_address server_port to"), words("pace_upstream server_address to"), nil},

	"pace_config_last_reload_successful":                {dto.MetricType_GAUGE, nil, nil, nil},
	"pace_config_last_reload_success_timestamp_seconds": {dto.MetricType_GAUGE, nil, nil, nil},

	"pace_build_info": {dto.MetricType_GAUGE, words("version goversion"), words("version goversion"), nil},
}

var words = strings.Fields

// TestMetrics_EveryRow drives traffic that touches each instrument and reads the whole
// exposition: names, types, labels, bounds, and that nothing else is there.
func TestMetrics_EveryRow(t *testing.T) {
	t.Parallel()
	p := startBusy(t)
	p.WantMetric(0, "pace_spans_dropped_total")
	m := p.Metrics()
	for name, want := range rows {
		family, ok := m[name]
		if !ok {
			t.Errorf("no %s", name)
			continue
		}
		if family.GetType() != want.kind || family.GetHelp() == "" {
			t.Errorf("%s is a %s with help %q, want a %s with help", name, family.GetType(), family.GetHelp(), want.kind)
		}
		for _, series := range family.GetMetric() {
			wantLabels(t, name, series, want)
		}
	}
	for name := range m {
		if _, known := rows[name]; !known && !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") && name != "target_info" {
			t.Errorf("%s is not in interface.md", name)
		}
	}
	for _, name := range []string{"go_goroutines", "process_resident_memory_bytes", "target_info"} {
		if m[name] == nil {
			t.Errorf("no %s", name)
		}
	}
	if got := m.Sum("pace_build_info"); got != 1 {
		t.Errorf("pace_build_info = %v, want 1", got)
	}
	if got := m.Sum("target_info", "service_name", "pace"); got != 1 {
		t.Errorf("target_info{service_name=pace} = %v, want 1", got)
	}
}

func wantLabels(t *testing.T, name string, series *dto.Metric, want row) {
	t.Helper()
	var got []string
	for _, l := range series.GetLabel() {
		got = append(got, l.GetName())
		if !slices.Contains(want.labels, l.GetName()) {
			t.Errorf("%s has a label %s=%q", name, l.GetName(), l.GetValue())
		}
	}
	for _, label := range want.always {
		if !slices.Contains(got, label) {
			t.Errorf("%s%v lacks the label %s", name, got, label)
		}
	}
	if want.bounds == nil {
		return
	}
	var bounds []float64
	for _, b := range series.GetHistogram().GetBucket() {
		if !math.IsInf(b.GetUpperBound(), 1) {
			bounds = append(bounds, b.GetUpperBound())
		}
	}
	if !slices.Equal(bounds, want.bounds) {
		t.Errorf("%s has bounds %v, want %v", name, bounds, want.bounds)
	}
}

// startBusy starts a pace that has lived through something for each instrument.
func startBusy(t *testing.T) *pacetest.Pace {
	t.Helper()
	fine := pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{
		"/500": pacetest.Status(500, "no"), "/": pacetest.Fine, "/upgrade": pacetest.UpgradeEcho,
		"/stale": pacetest.CloseReused,
	}))
	cfg := upstreams(fine, pacetest.NewClosed(t))
	cfg["rate_limit"] = pacetest.Table{"max_requests": 20}
	set(cfg, "server", "trusted_proxies", []string{"127.0.0.0/8"})
	p, _ := pacetest.StartTraced(t, set(cfg, "upstreams", "max_retries", 2))
	for range 10 {
		wantStatus(t, p.Get("/fine"), 200)
		wantStatus(t, p.Get("/stale"), 200)
	}
	wantStatus(t, p.Get("/rejected"), 429)
	upgrades(t, scene{p: p, path: "/upgrade", from: "203.0.113.7"})
	refused := p.Wire()
	refused.Send("this is no request\r\n\r\n")
	refused.Rest()
	p.WantMetric(1, "pace_rejections_total", "reason", "rate_limited", "http_route", "/")
	p.WantMetric(2, "pace_limiter_keys", "policy", "default")
	p.WantMetric(1, "pace_stream_duration_seconds_count")
	return p
}

func TestMetrics_MethodsAreKnownOrOther(t *testing.T) {
	t.Parallel()
	p := pacetest.Start(t, upstreams(pacetest.NewBackend(t, pacetest.Fine)))
	for _, method := range words("GET HEAD POST PUT DELETE OPTIONS TRACE PATCH BREW get PROPFIND") {
		if got := p.Send(method, "/x", ""); got.Status != 200 {
			t.Errorf("%s: status %d, %v", method, got.Status, got.Err)
		}
	}
	for _, method := range words("GET HEAD POST PUT DELETE OPTIONS TRACE PATCH") {
		p.WantMetric(1, "http_requests_duration_seconds_count", "method", method, "status", "200")
		p.WantMetric(1, "http_server_request_duration_seconds_count", "http_request_method", method)
	}
	p.WantMetric(3, "http_requests_duration_seconds_count", "method", "_OTHER")
	p.WantMetric(3, "http_server_request_duration_seconds_count", "http_request_method", "_OTHER")
	p.WantMetric(3, "http_client_request_duration_seconds_count", "http_request_method", "_OTHER")
}

func TestMetrics_DurationsAreSeconds(t *testing.T) {
	t.Parallel()
	const wait = 300 * time.Millisecond
	b := pacetest.NewBackend(t, pacetest.Later(wait, pacetest.Fine))
	p := pacetest.Start(t, upstreams(b))
	began := time.Now()
	wantStatus(t, p.Get("/x"), 200)
	took := time.Since(began)
	p.WantMetric(1, "http_server_request_duration_seconds_count")
	m := p.Metrics()
	for _, name := range []string{"http_requests_duration_seconds", "http_server_request_duration_seconds", "http_client_request_duration_seconds"} {
		if got := m.Sum(name + "_sum"); got < wait.Seconds() || got > took.Seconds() {
			t.Errorf("%s_sum = %v, want between the backend's %v and the client's %v", name, got, wait, took)
		}
	}
}

func TestMetrics_ClientRowsNameTheBackend(t *testing.T) {
	t.Parallel()
	b, dead := pacetest.NewBackend(t, pacetest.Fine), pacetest.NewClosed(t)
	p := pacetest.Start(t, upstreams(b, dead))
	for range 4 {
		wantStatus(t, p.Get("/x"), 200)
	}
	p.WantMetric(4, "http_client_request_duration_seconds_count", "http_request_method", "GET", "server_address", "127.0.0.1",
		"server_port", fmt.Sprint(b.Port()), "http_response_status_code", "200", "error_type", "", "pace_upstream", "default")
	failovers := p.Metrics().Sum("pace_failovers_total")
	if failovers == 0 {
		t.Fatal("the dead backend never had its turn")
	}
	port := dead.Address()[strings.LastIndexByte(dead.Address(), ':')+1:]
	p.WantMetric(failovers, "http_client_request_duration_seconds_count", "server_port", port, "error_type", "connect_failed",
		"http_response_status_code", "")
}

func TestMetrics_ActiveRequestsAndConnections(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	b := pacetest.NewBackend(t, pacetest.Gated(open, pacetest.Fine))
	p := pacetest.Start(t, upstreams(b))
	var wires []*pacetest.Wire
	for range 3 {
		w := p.Wire()
		w.Send("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
		wires = append(wires, w)
	}
	b.WantGot(3, "/x")
	p.WantMetric(3, "http_server_active_requests", "http_request_method", "GET", "url_scheme", "http")
	p.WantMetric(3, "pace_connections", "state", "active")
	close(open)
	for _, w := range wires {
		wantStatus(t, w.Response("GET"), 200)
	}
	p.WantMetric(0, "http_server_active_requests")
	p.WantMetric(3, "pace_connections", "state", "idle")
	p.WantMetric(0, "pace_connections", "state", "active")
	for _, w := range wires {
		w.Close()
	}
	p.WantMetric(0, "pace_connections")
}

// TestMetrics_CountBeforeTheClientKnows: a request is in both histograms before the client
// sees the end of its response, or at most 100 ms after.
func TestMetrics_CountBeforeTheClientKnows(t *testing.T) {
	t.Parallel()
	p := pacetest.Start(t, upstreams(pacetest.NewBackend(t, pacetest.Fine)))
	c := pacetest.H1.Client(t)
	for i := range 20 {
		wantStatus(t, pacetest.Do(c, p.Request("GET", "/x", "")), 200)
		ended := time.Now()
		for {
			began := time.Now()
			m := p.Metrics()
			one, other := m.Sum("http_requests_duration_seconds_count"), m.Sum("http_server_request_duration_seconds_count")
			if one == float64(i+1) && other == float64(i+1) {
				break
			}
			// Only a look that began too late and still found nothing proves a delay.
			if late := began.Sub(ended); late > 100*time.Millisecond {
				t.Fatalf("%v after the end of answer %d the histograms have %v and %v", late, i+1, one, other)
			}
		}
	}
}

// h2Preface is what an HTTP/2 client begins with, and an empty SETTINGS frame (RFC 9113 §3.4).
const h2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"

func TestMetrics_RefusedBeforeTheHandler(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason, raw string
		half        bool // the client keeps the connection open, silent
	}{
		"a line that is no request": {"bad_request", "this is no request\r\n\r\n", false},
		"no Host":                   {"bad_request", "GET / HTTP/1.1\r\n\r\n", false},
		"two Hosts":                 {"bad_request", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", false},
		"a header too large":        {"header_too_large", "GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + strings.Repeat("x", 200_000) + "\r\n\r\n", false},
		"a header too slow":         {"header_timeout", "GET / HTTP/1.1\r\nHost: x\r\n", true},
		"HTTP/2 data on no stream":  {"h2_error", h2Preface + "\x00\x00\x00\x00\x00\x00\x00\x00\x00", false},
		"HTTP/3.0 on a TCP stream":  {"unsupported", "GET / HTTP/3.0\r\nHost: x\r\n\r\n", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := pacetest.NewBackend(t, pacetest.Fine)
			cfg := upstreams(b)
			if tt.half {
				set(cfg, "server", "read_header_timeout", "3s") // the request after it has as much time on a busy machine
			}
			p, spans := pacetest.StartTraced(t, cfg)
			w := p.Wire()
			go w.Write([]byte(tt.raw)) // pace may close before it has taken all
			if !tt.half {
				w.Rest()
			}
			p.WantMetric(1, "pace_refused_total", "reason", tt.reason)
			wantStatus(t, p.Get("/after"), 200)
			pacetest.WantTrace(spans, 1, pacetest.Path("/after"))
			m := p.Metrics()
			refused, counted := m.Sum("pace_refused_total"), m.Sum("http_server_request_duration_seconds_count")
			if refused != 1 || counted != 1 || m.Sum("http_requests_duration_seconds_count") != 1 {
				t.Errorf("refused %v, in the histogram %v; want 1 and the 1 that was not refused", refused, counted)
			}
			p.WantAccess("/after")
			if n := len(p.Lines("request")); n != 1 {
				t.Errorf("%d access lines, want 1", n)
			}
			if n := len(b.Requests()); n != 1 {
				t.Errorf("the backend got %d requests, want 1", n)
			}
		})
	}
}

// TestMetrics_ExemplarsOnlyWithAnExporter reads the OpenMetrics form, the only one that
// shows them.
func TestMetrics_ExemplarsOnlyWithAnExporter(t *testing.T) {
	t.Parallel()
	const openMetrics = "application/openmetrics-text; version=1.0.0"
	b := pacetest.NewBackend(t, pacetest.Fine)
	traced, spans := pacetest.StartTraced(t, upstreams(b))
	plain := pacetest.Start(t, upstreams(b))
	response := traced.Get("/x")
	wantStatus(t, response, 200)
	wantStatus(t, plain.Get("/x"), 200)
	pacetest.WantTrace(spans, 1, pacetest.ID(response.Header.Get("X-Trace-Id")))
	traced.WantMetric(1, "http_server_request_duration_seconds_count")
	plain.WantMetric(1, "http_server_request_duration_seconds_count")
	for _, histogram := range []string{
		"http_requests_duration_seconds", "http_server_request_duration_seconds", "http_client_request_duration_seconds",
		"pace_phase_duration_seconds", "pace_overhead_seconds",
	} {
		pacetest.Eventually(t, func() error { // the collector has the trace, but pace may not know yet
			exemplar := regexp.MustCompile(`(?m)^` + histogram + `_bucket.* # .*trace_id="` + response.Header.Get("X-Trace-Id") + `"`)
			if !exemplar.MatchString(traced.Exposition(openMetrics)) {
				return notYet("no exemplar of %s leads to the request's trace", histogram)
			}
			return nil
		})
	}
	if got := plain.Exposition(openMetrics); strings.Contains(got, "trace_id") {
		t.Error("an exemplar without an exporter leads nowhere")
	}
}

// TestSeries_AreBounded: 10,000 requests of random everything leave the number of series
// where it was once each method and each response had been seen.
func TestSeries_AreBounded(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	cfg := upstreams(b)
	cfg["rate_limit"] = pacetest.Table{"max_requests": 100}
	p := pacetest.Start(t, set(cfg, "server", "trusted_proxies", []string{"127.0.0.0/8"}))
	for range 100 {
		p.Get("/", "X-Forwarded-For", "192.0.2.1")
	}
	for i, method := range append(slices.Clone(knownMethods), "BREW") {
		for _, scheme := range []string{"http", "https"} { // both responses of every method
			p.Send(method, "/", "", "X-Forwarded-For", "192.0.2.1", "X-Forwarded-Proto", scheme)
			p.Send(method, "/", "", "X-Forwarded-For", fmt.Sprintf("192.0.2.%d", i+2), "X-Forwarded-Proto", scheme)
		}
	}
	randomRequests(t, p, 200, 1)
	before, keys := p.Series(), p.Exposition("text/plain")
	randomRequests(t, p, 10_000, 2)
	if after := p.Series(); after != before {
		t.Errorf("%d series before, %d after:\n%s", before, after, newSeries(keys, p.Exposition("text/plain")))
	}
	for _, word := range []string{"clientword", "192.0.2", "example"} {
		if strings.Contains(p.Exposition("text/plain"), word) {
			t.Errorf("%q, which a client sent, is in the exposition", word)
		}
	}
}

var knownMethods = words("GET HEAD POST PUT DELETE OPTIONS TRACE PATCH")

// newSeries lists the series of after that are not in before.
func newSeries(before, after string) string {
	names := func(text string) map[string]bool {
		set := map[string]bool{}
		for line := range strings.Lines(text) {
			set[line[:max(0, strings.LastIndexByte(line, ' '))]] = true
		}
		return set
	}
	had := names(before)
	return strings.Join(slices.Sorted(maps.Keys(maps.Collect(func(yield func(string, bool) bool) {
		for name := range names(after) {
			if !had[name] && !strings.HasPrefix(name, "#") && !yield(name, true) {
				return
			}
		}
	}))), "\n")
}
