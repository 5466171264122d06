package contract

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

func TestSpans_OfAFineRequest(t *testing.T) {
	t.Parallel()
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		b := pacetest.NewBackend(t, pacetest.Fine)
		p, spans := pacetest.StartTraced(t, upstreams(b))
		response := pacetest.Do(mode.Client(t), p.Request("GET", "/shop/7?page=3&token=secret", "", "User-Agent", "tester/1"))
		wantStatus(t, response, 200)
		trace := pacetest.WantTrace(spans, 1, pacetest.ID(response.Header.Get("X-Trace-Id")))
		server := trace.Server
		if server.Name != "GET /" || server.ParentID != "" || server.StatusCode != otlp.Unset {
			t.Errorf("the span is %q, parent %q, status %d", server.Name, server.ParentID, server.StatusCode)
		}
		host, port, _ := net.SplitHostPort(p.Proxy)
		number, _ := strconv.Atoi(port)
		for key, want := range map[string]any{
			"http.request.method": "GET", "url.scheme": "http", "url.path": "/shop/7", "http.route": "/", "pace.route": "default",
			"http.response.status_code": 200, "server.address": host, "server.port": number,
			"client.address": "127.0.0.1", "network.peer.address": "127.0.0.1", "user_agent.original": "tester/1",
			"network.protocol.version": map[pacetest.Mode]string{pacetest.H1: "1.1", pacetest.H2C: "2"}[mode],
			"pace.outcome":             "ok", "pace.upstream": "default", "pace.attempts": 1,
		} {
			wantAttr(t, server.Attrs, key, want)
		}
		lacksAttr(t, server.Attrs, "error.type")
		if n, ok := server.Attrs["network.peer.port"].(int64); !ok || n < 1 || n > 65535 {
			t.Errorf("network.peer.port = %v", server.Attrs["network.peer.port"])
		}
		wantRedacted(t, fmt.Sprint(server.Attrs["url.query"]), "page", "token")
		wantClientSpan(t, trace, b)
		wantAttr(t, server.Resource, "service.name", "pace")
	})
}

func wantClientSpan(t *testing.T, trace pacetest.Trace, b *pacetest.Backend) {
	t.Helper()
	if len(trace.Clients) != 1 {
		t.Fatalf("%d CLIENT spans", len(trace.Clients))
	}
	client := trace.Clients[0]
	if client.Name != "GET" || client.StatusCode == otlp.Error {
		t.Errorf("the CLIENT span is %q with status %d", client.Name, client.StatusCode)
	}
	if client.Start.Before(trace.Server.Start) || client.End.After(trace.Server.End) {
		t.Errorf("the CLIENT span %v to %v reaches out of its parent %v to %v", client.Start, client.End, trace.Server.Start, trace.Server.End)
	}
	for key, want := range map[string]any{
		"http.request.method": "GET", "server.address": "127.0.0.1", "server.port": b.Port(), "http.response.status_code": 200,
		"network.peer.address": "127.0.0.1", "network.peer.port": b.Port(), "network.protocol.version": "1.1", "pace.connection.reused": false,
	} {
		wantAttr(t, client.Attrs, key, want)
	}
	lacksAttr(t, client.Attrs, "error.type")
	lacksAttr(t, client.Attrs, "http.request.resend_count")
	url := fmt.Sprint(client.Attrs["url.full"])
	if !strings.HasPrefix(url, "http://"+b.Address()+"/shop/7?") {
		t.Errorf("url.full = %q", url)
	}
	wantRedacted(t, url, "page", "token")
}

// wantRedacted wants the names of the query "page=3&token=secret" and not its values.
func wantRedacted(t *testing.T, text string, names ...string) {
	t.Helper()
	for _, name := range names {
		if !strings.Contains(text, name+"=") {
			t.Errorf("%q lacks the parameter %s", text, name)
		}
	}
	if strings.Contains(text, "secret") || strings.Contains(text, "page=3") {
		t.Errorf("%q is not redacted", text)
	}
}

func TestSpans_PeerIsTheConnections(t *testing.T) {
	t.Parallel()
	p, spans := pacetest.StartTraced(t, upstreams(pacetest.NewBackend(t, pacetest.Fine)))
	w := p.Wire()
	w.Send("GET /x HTTP/1.1\r\nHost: shop.example:8443\r\n\r\n")
	wantStatus(t, w.Response("GET"), 200)
	server := pacetest.WantTrace(spans, 1, pacetest.Path("/x")).Server
	wantAttr(t, server.Attrs, "network.peer.port", w.LocalAddr().(*net.TCPAddr).Port)
	wantAttr(t, server.Attrs, "server.address", "shop.example")
	wantAttr(t, server.Attrs, "server.port", 8443)
}

func TestSpans_QueryAllow(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p, spans := pacetest.StartTraced(t, set(upstreams(b), "tracing", "query_allow", []string{"page"}))
	wantStatus(t, p.Get("/x?page=3&token=secret&page=4&Page=secret"), 200)
	trace := pacetest.WantTrace(spans, 1, pacetest.Path("/x"))
	for _, text := range []any{trace.Server.Attrs["url.query"], trace.Clients[0].Attrs["url.full"]} {
		s := fmt.Sprint(text)
		if !strings.Contains(s, "page=3") || !strings.Contains(s, "page=4") || strings.Contains(s, "secret") {
			t.Errorf("%q, want page open and token redacted", s)
		}
	}
	if b.WantGot(1, "/x?page=3&token=secret&page=4&Page=secret"); strings.Contains(p.Stderr(), "secret") {
		t.Error("the log has the secret")
	}
}

// TestSpans_OddQueriesAreRedacted: what cannot be read as parameters may be a secret too.
func TestSpans_OddQueriesAreRedacted(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p, spans := pacetest.StartTraced(t, set(upstreams(b), "tracing", "query_allow", []string{"page"}))
	for i, query := range []string{"a=hushhush;b=hushhush", "token=%68ushhush%zz", "x=1&token=hushhush=&=hushhush"} {
		path := fmt.Sprintf("/%d", i)
		w := p.Wire()
		w.Send("GET " + path + "?" + query + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		wantStatus(t, w.Response("GET"), 200)
		trace := pacetest.WantTrace(spans, 1, pacetest.Path(path))
		for _, text := range []any{trace.Server.Attrs["url.query"], trace.Clients[0].Attrs["url.full"]} {
			if strings.Contains(fmt.Sprint(text), "ushhush") {
				t.Errorf("%s: %q is not redacted", query, text)
			}
		}
		b.WantGot(1, path+"?"+query) // forwarded as it came
	}
}

func TestSpans_RejectedRequestHasItsEvent(t *testing.T) {
	t.Parallel()
	cfg := upstreams(pacetest.NewBackend(t, pacetest.Fine))
	cfg["rate_limit"] = pacetest.Table{"max_requests": 1, "window_seconds": 30}
	p, spans := pacetest.StartTraced(t, cfg)
	wantStatus(t, p.Get("/x"), 200)
	response := p.Get("/rejected")
	wantStatus(t, response, 429)
	trace := pacetest.WantTrace(spans, 0, pacetest.Path("/rejected"))
	events := trace.Server.Named("pace.rate_limited")
	if len(events) != 1 || len(trace.Server.Events) != 1 || len(trace.Clients) != 0 {
		t.Fatalf("events %+v, %d CLIENT spans; want one event and none", trace.Server.Events, len(trace.Clients))
	}
	retry, _ := strconv.ParseFloat(response.Header.Get("Retry-After"), 64)
	for key, want := range map[string]any{
		"policy": "default", "key_kind": "client_ip", "limit": 1,
	} {
		wantAttr(t, events[0].Attrs, "pace.limit."+key, want)
	}
	for key, limit := range map[string]float64{"window_seconds": 30, "retry_after_seconds": retry} { // the header rounds up
		if got := number(events[0].Attrs["pace.limit."+key]); got > limit || got <= limit-1 {
			t.Errorf("pace.limit.%s = %v, want %v, or up to one less", key, got, limit)
		}
	}
	if len(events[0].Attrs) != 5 {
		t.Errorf("the event has %v, want five attributes", events[0].Attrs)
	}
	wantAttr(t, trace.Server.Attrs, "pace.attempts", 0)
}

// number reads an attribute that may be whole or not.
func number(v any) float64 {
	if n, ok := v.(int64); ok {
		return float64(n)
	}
	f, _ := v.(float64)
	return f
}

func TestSpans_UnknownMethodIsHTTP(t *testing.T) {
	t.Parallel()
	p, spans := pacetest.StartTraced(t, upstreams(pacetest.NewBackend(t, pacetest.Fine)))
	wantStatus(t, p.Send("BREW", "/x", ""), 200)
	trace := pacetest.WantTrace(spans, 1, pacetest.Path("/x"))
	if trace.Server.Name != "HTTP /" && trace.Server.Name != "HTTP" {
		t.Errorf("the SERVER span is %q", trace.Server.Name)
	}
	if trace.Clients[0].Name != "HTTP" {
		t.Errorf("the CLIENT span is %q", trace.Clients[0].Name)
	}
	wantAttr(t, trace.Server.Attrs, "http.request.method", "_OTHER")
	wantAttr(t, trace.Clients[0].Attrs, "http.request.method", "_OTHER")
}

func TestSpans_ReusedConnectionSaysSo(t *testing.T) {
	t.Parallel()
	p, spans := pacetest.StartTraced(t, upstreams(pacetest.NewBackend(t, pacetest.Fine)))
	for i, reused := range []bool{false, true, true} {
		path := fmt.Sprintf("/%d", i)
		wantStatus(t, p.Get(path), 200)
		trace := pacetest.WantTrace(spans, 1, pacetest.Path(path))
		wantAttr(t, trace.Clients[0].Attrs, "pace.connection.reused", reused)
	}
}

func TestSpans_Sampling(t *testing.T) {
	t.Parallel()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0"
	tests := map[string]struct {
		ratio  float64
		flags  string // of the client's traceparent; "" : none
		want   bool
		traced string
	}{
		"ratio 1":                       {1, "", true, ""},
		"ratio 0":                       {0, "", false, ""},
		"ratio 0, but the parent is":    {0, "1", true, ""},
		"ratio 1, but the parent isn't": {1, "0", false, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := pacetest.NewBackend(t, pacetest.Fine)
			p, spans := pacetest.StartTraced(t, set(upstreams(b), "tracing", "sample_ratio", tt.ratio))
			var pairs []string
			if tt.flags != "" {
				pairs = []string{"Traceparent", parent + tt.flags}
			}
			response := p.Get("/x", pairs...)
			wantStatus(t, response, 200)
			if line := p.WantAccess("/x"); line["trace_sampled"] != tt.want || line.Text("trace_id") != response.Header.Get("X-Trace-Id") {
				t.Errorf("log says sampled %v, trace %s; want %t, %s", line["trace_sampled"], line.Text("trace_id"), tt.want, response.Header.Get("X-Trace-Id"))
			}
			flags := traceparent.FindStringSubmatch(b.WantGot(1, "/x")[0].Header.Get("Traceparent"))
			if flags == nil || (flags[3][1]-'0')&1 == 1 != tt.want {
				t.Errorf("traceparent %q, want sampled: %t", flags, tt.want)
			}
			if code := p.Stop(); code != 0 { // flushes
				t.Errorf("exit %d", code)
			}
			if n := len(spans.Spans()); (n == 2) != tt.want || n != 0 && n != 2 {
				t.Errorf("%d spans were exported, want sampled: %t", n, tt.want)
			}
		})
	}
}

// TestEnvironment covers the OTEL_* variables and tracing.endpoint, over both protocols.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	r := otlp.Receiver(t)
	tests := map[string]struct {
		tracing pacetest.Table
		env     []string
		want    int // spans exported of one request
	}{
		"the endpoint as a key, gRPC":     {pacetest.Table{"endpoint": "http://GRPC"}, nil, 2},
		"the endpoint as a key, HTTP":     {pacetest.Table{"endpoint": "http://HTTP", "protocol": "http/protobuf"}, nil, 2},
		"the endpoint as a variable":      {nil, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://GRPC"}, 2},
		"the traces' endpoint":            {nil, []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://GRPC"}, 2},
		"HTTP as a variable":              {nil, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://HTTP", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"}, 2},
		"SDK disabled":                    {nil, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://GRPC", "OTEL_SDK_DISABLED=true"}, 0},
		"exporter none":                   {nil, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://GRPC", "OTEL_TRACES_EXPORTER=none"}, 0},
		"sampler always_off":              {nil, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://GRPC", "OTEL_TRACES_SAMPLER=always_off"}, 0},
		"sampler with a ratio of nothing": {nil, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://GRPC", "OTEL_TRACES_SAMPLER=traceidratio", "OTEL_TRACES_SAMPLER_ARG=0"}, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			// One receiver for all, so that they run in turn: each looks for its own path.
			cfg := upstreams(pacetest.NewBackend(t, pacetest.Fine))
			fill := strings.NewReplacer("GRPC", r.GRPC, "HTTP", r.HTTP)
			for key, value := range tt.tracing {
				set(cfg, "tracing", key, fillEndpoint(fill, fmt.Sprint(value)))
			}
			var env []string
			for _, kv := range tt.env {
				key, value, _ := strings.Cut(kv, "=")
				env = append(env, key+"="+fillEndpoint(fill, value))
			}
			p := pacetest.Start(t, cfg, append(env, "OTEL_BSP_SCHEDULE_DELAY=20")...)
			response := p.Get("/x")
			wantStatus(t, response, 200)
			if code := p.Stop(); code != 0 {
				t.Errorf("exit %d", code)
			}
			if got := r.ByTrace(response.Header.Get("X-Trace-Id")); len(got) != tt.want {
				t.Errorf("%d spans were exported, want %d", len(got), tt.want)
			}
		})
	}
}

// fillEndpoint fills in the receiver's addresses, and leaves other values alone.
func fillEndpoint(fill *strings.Replacer, value string) string {
	if !strings.HasPrefix(value, "http://") {
		return value
	}
	return "http://" + fill.Replace(strings.TrimPrefix(value, "http://"))
}

// TestEnvironment_SenselessEndsTheStart: it would be a line of a library's, not of the log, and spans
// that go nowhere.
func TestEnvironment_SenselessEndsTheStart(t *testing.T) {
	t.Parallel()
	file := write(t, "proxy.toml", onFreePorts(t, upstreams(pacetest.NewClosed(t))).TOML())
	for _, pair := range []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=127.0.0.1:4317", "OTEL_EXPORTER_OTLP_CERTIFICATE=nowhere.pem", "OTEL_EXPORTER_OTLP_TIMEOUT=10s",
		"OTEL_PROPAGATORS=smoke", "OTEL_RESOURCE_ATTRIBUTES=foo", "OTEL_TRACES_SAMPLER=sometimes", "OTEL_TRACES_EXPORTER=zipkin",
		"OTEL_RESOURCE_ATTRIBUTES=a=%FF", "OTEL_RESOURCE_ATTRIBUTES=le=1", "OTEL_RESOURCE_ATTRIBUTES=a=b,quantile=1", "OTEL_RESOURCE_ATTRIBUTES=job=1",
		"OTEL_RESOURCE_ATTRIBUTES=instance=1", "OTEL_RESOURCE_ATTRIBUTES=__name__=x", "OTEL_RESOURCE_ATTRIBUTES=__a=x", "OTEL_SERVICE_NAME=\xff",
		"OTEL_METRICS_EXPORTER=console", "OTEL_METRICS_EXPORTER=otlp,none", "OTEL_LOGS_EXPORTER=prometheus",
	} {
		variable, _, _ := strings.Cut(pair, "=")
		got := pacetest.Exec(t, t.TempDir(), []string{pair}, "run", "--config", file)
		if line := regexp.MustCompile(`\A` + variable + `: [^\n]+; [^\n]+\n\z`); got.Code != 2 || !line.MatchString(got.Stderr) {
			t.Errorf("%s: exit %d, stderr %q; want 2 and %s: WHAT; REMEDY", pair, got.Code, got.Stderr, variable)
		}
	}
}

func TestEnvironment_ServiceNameAndResource(t *testing.T) {
	t.Parallel()
	p, spans := pacetest.StartTraced(t, upstreams(pacetest.NewBackend(t, pacetest.Fine)),
		"OTEL_SERVICE_NAME=edge", "OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=test,service.version=9")
	wantStatus(t, p.Get("/x"), 200)
	server := pacetest.WantTrace(spans, 1, pacetest.Path("/x")).Server
	wantAttr(t, server.Resource, "service.name", "edge")
	id, _ := server.Resource["service.instance.id"].(string)
	if !regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(id) {
		t.Errorf("service.instance.id is %q, want a UUID", id)
	}
	p.WantMetric(1, "target_info", "service_instance_id", id)
	wantAttr(t, server.Resource, "deployment.environment.name", "test")
	p.WantMetric(1, "target_info", "service_name", "edge")
}

func TestEnvironment_Propagators(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(b), "OTEL_PROPAGATORS=b3")
	response := p.Get("/x", "B3", "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1")
	wantStatus(t, response, 200)
	got := b.WantGot(1, "/x")[0].Header
	if !strings.HasPrefix(got.Get("B3"), "0af7651916cd43dd8448eb211c80319c-") || response.Header.Get("X-Trace-Id") != "0af7651916cd43dd8448eb211c80319c" {
		t.Errorf("b3 = %q, X-Trace-Id = %q", got.Get("B3"), response.Header.Get("X-Trace-Id"))
	}
}

func TestNoExporterNamed_NothingIsExportedNorComplains(t *testing.T) {
	t.Parallel()
	p := pacetest.Start(t, upstreams(pacetest.NewBackend(t, pacetest.Fine)))
	for i := range 50 {
		wantStatus(t, p.Get(fmt.Sprintf("/%d", i)), 200)
	}
	p.WantMetric(0, "pace_spans_dropped_total")
	if code := p.Stop(); code != 0 {
		t.Errorf("exit %d", code)
	}
	for line := range strings.Lines(p.Stderr()) {
		if !strings.Contains(line, `"level":"INFO"`) {
			t.Errorf("pace complains: %s", line)
		}
	}
}
