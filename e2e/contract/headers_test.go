package contract

import (
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

var (
	hex32       = regexp.MustCompile(`^[0-9a-f]{32}$`)
	traceparent = regexp.MustCompile(`^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$`)
)

func TestHeaders_ToTheBackend(t *testing.T) {
	t.Parallel()
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		b := pacetest.NewBackend(t, pacetest.Fine)
		p, spans := pacetest.StartTraced(t, upstreams(b))
		response := pacetest.Do(mode.Client(t), p.Request("GET", "/x", "", "Host", "shop.example"))
		wantStatus(t, response, 200)
		got := b.WantGot(1, "/x")[0]
		via := map[pacetest.Mode]string{pacetest.H1: "1.1 pace", pacetest.H2C: "2.0 pace"}[mode]
		if v := got.Header.Get("Via"); v != "1.1 pace" && v != via && v != strings.Replace(via, ".0", "", 1) {
			t.Errorf("Via = %q, want 1.1 pace", v)
		}
		for name, want := range map[string]string{
			"X-Proxy": "pace", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "shop.example",
			"X-Forwarded-Proto": "http", "X-Request-Id": response.Header.Get("X-Request-Id"),
		} {
			if v := got.Header.Values(name); len(v) != 1 || v[0] != want || want == "" {
				t.Errorf("%s = %q, want %q", name, v, want)
			}
		}
		if v := strings.ToLower(got.Header.Get("Forwarded")); !strings.Contains(v, "for=127.0.0.1") || !strings.Contains(v, "proto=http") ||
			!strings.Contains(v, "host=shop.example") && !strings.Contains(v, `host="shop.example"`) {
			t.Errorf("Forwarded = %q, want for, host and proto", v)
		}
		parent := traceparent.FindStringSubmatch(got.Header.Get("Traceparent"))
		if parent == nil || parent[1] != response.Header.Get("X-Trace-Id") {
			t.Fatalf("traceparent = %q, want the trace %s", got.Header.Get("Traceparent"), response.Header.Get("X-Trace-Id"))
		}
		if trace := pacetest.WantTrace(spans, 1, pacetest.ID(parent[1])); trace.Clients[0].SpanID != parent[2] {
			t.Errorf("traceparent names %s, want the attempt's span %s", parent[2], trace.Clients[0].SpanID)
		}
	})
}

func TestHeaders_ToTheClient(t *testing.T) {
	t.Parallel()
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		b := pacetest.NewBackend(t, pacetest.With(200, "X-Own: kept\r\n", "fine"))
		dead := pacetest.NewClosed(t)
		response := pacetest.Do(mode.Client(t), pacetest.Start(t, upstreams(b)).Request("GET", "/x", ""))
		wantStatus(t, response, 200)
		for name, want := range map[string]string{"X-Backend": b.Name(), "Via": "1.1 pace", "X-Own": "kept", "Proxy-Status": ""} {
			if v := response.Header.Get(name); v != want {
				t.Errorf("%s = %q, want %q", name, v, want)
			}
		}
		own := pacetest.Do(mode.Client(t), pacetest.Start(t, upstreams(dead)).Request("GET", "/x", ""))
		wantStatus(t, own, 502)
		if v := own.Header.Get("X-Backend"); v != "" {
			t.Errorf("pace's own answer has X-Backend %q", v)
		}
		for _, h := range []pacetest.Response{response, own} {
			if !hex32.MatchString(h.Header.Get("X-Trace-Id")) || h.Header.Get("X-Request-Id") == "" {
				t.Errorf("status %d: X-Trace-Id %q, X-Request-Id %q", h.Status, h.Header.Get("X-Trace-Id"), h.Header.Get("X-Request-Id"))
			}
		}
		if v := own.Header.Get("Proxy-Status"); v != `pace; error=connection_refused; details="connect_failed"` {
			t.Errorf("Proxy-Status = %q", v)
		}
	})
}

func TestHeaders_UntrustedPeersForwardingIsReplaced(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(b))
	wantStatus(t, p.Get("/x", "X-Forwarded-For", "1.2.3.4", "X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "https",
		"Forwarded", "for=1.2.3.4;host=evil.example;proto=https", "X-Real-IP", "1.2.3.4", "X-Proxy", "evil",
		"X_Forwarded_For", "1.2.3.4", "x_forwarded-proto", "https", "X_Real_IP", "1.2.3.4", "X_Kept", "yes"), 200)
	got := b.WantGot(1, "/x")[0]
	for name, v := range got.Header { // to CGI and its kin these are the same
		if strings.Contains(name, "_") && name != http.CanonicalHeaderKey("X_Kept") {
			t.Errorf("%s = %q came through", name, v)
		}
	}
	if v := got.Header.Get("X_Kept"); v != "yes" {
		t.Errorf("X_Kept = %q, want what the client sent", v)
	}
	for _, secret := range []string{"1.2.3.4", "evil", "https"} {
		for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "X-Proxy"} {
			if v := strings.Join(got.Header.Values(name), "|"); strings.Contains(v, secret) {
				t.Errorf("%s = %q still has what the client sent", name, v)
			}
		}
	}
	if line := p.WantAccess("/x"); line.Text("client") != "127.0.0.1" {
		t.Errorf("client = %q, want the peer's address", line.Text("client"))
	}
}

func TestHeaders_TrustedProxysForwardingIsContinued(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p, spans := pacetest.StartTraced(t, set(upstreams(b), "server", "trusted_proxies", []string{"127.0.0.0/8", "10.0.0.0/8"}))
	wantStatus(t, p.Get("/x", "X-Forwarded-For", "6.6.6.6, 203.0.113.7, 10.0.0.2", "X-Forwarded-Host", "shop.example",
		"X-Forwarded-Proto", "https", "Forwarded", `for=203.0.113.7;proto=https;host=shop.example`), 200)
	got := b.WantGot(1, "/x")[0]
	for name, want := range map[string]string{
		"X-Forwarded-For": "6.6.6.6, 203.0.113.7, 10.0.0.2, 127.0.0.1", "X-Forwarded-Host": "shop.example", "X-Forwarded-Proto": "https",
	} {
		if v := strings.Join(got.Header.Values(name), ", "); v != want {
			t.Errorf("%s = %q, want %q", name, v, want)
		}
	}
	forwarded := strings.ToLower(strings.Join(got.Header.Values("Forwarded"), ", "))
	if !strings.HasPrefix(forwarded, "for=203.0.113.7;proto=https;host=shop.example,") || !strings.Contains(forwarded[40:], "for=127.0.0.1") {
		t.Errorf("Forwarded = %q, want the proxy's element and then one of pace's", forwarded)
	}
	// The nearest address that is no trusted proxy; what stands left of it anyone may have written.
	if line := p.WantAccess("/x"); line.Text("client") != "203.0.113.7" {
		t.Errorf("client = %q, want 203.0.113.7", line.Text("client"))
	}
	server := pacetest.WantTrace(spans, 1, pacetest.Path("/x")).Server
	wantAttr(t, server.Attrs, "client.address", "203.0.113.7")
	wantAttr(t, server.Attrs, "network.peer.address", "127.0.0.1")
	wantAttr(t, server.Attrs, "url.scheme", "https")
	p.WantMetric(1, "http_server_request_duration_seconds_count", "url_scheme", "https")
}

// TestHeaders_TrustedAddressesAlone: in a network that is trusted whole, the leftmost is the client.
func TestHeaders_TrustedAddressesAlone(t *testing.T) {
	t.Parallel()
	cfg := set(upstreams(pacetest.NewBackend(t, pacetest.Fine)), "server", "trusted_proxies", []string{"127.0.0.0/8", "10.0.0.0/8"})
	p := pacetest.Start(t, set(set(cfg, "rate_limit", "max_requests", 1), "rate_limit", "window_seconds", 3600))
	for path, client := range map[string]string{"/a": "10.0.0.1", "/b": "10.0.0.2"} { // each has a limit of its own
		wantStatus(t, p.Get(path, "X-Forwarded-For", client+", 10.0.0.9"), 200)
		if line := p.WantAccess(path); line.Text("client") != client {
			t.Errorf("client = %q, want %s", line.Text("client"), client)
		}
	}
	wantStatus(t, p.Get("/c", "X-Forwarded-For", "10.0.0.1, 10.0.0.9"), 429)
}

func TestHeaders_OfAnIPv6Peer(t *testing.T) {
	t.Parallel()
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skipf("no IPv6 loopback: %v", err)
	} else {
		l.Close()
	}
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, set(upstreams(b), "server", "listen", "[::1]:0"))
	wantStatus(t, p.Get("/x"), 200)
	got := b.WantGot(1, "/x")[0].Header
	if v := got.Get("X-Forwarded-For"); v != "::1" {
		t.Errorf("X-Forwarded-For = %q", v)
	}
	if v := strings.ToLower(got.Get("Forwarded")); !strings.Contains(v, `for="[::1]"`) { // RFC 7239 §6
		t.Errorf("Forwarded = %q", v)
	}
	if line := p.WantAccess("/x"); line.Text("client") != "::1" {
		t.Errorf("client = %q", line.Text("client"))
	}
}

func TestHeaders_RequestID(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		proxies   []string
		sent      string
		continued bool
	}{
		"from a trusted proxy":                {[]string{"127.0.0.0/8"}, "from-the-edge-7", true},
		"from an untrusted client":            {[]string{}, "from-the-edge-7", false},
		"absurd, though from a trusted proxy": {[]string{"127.0.0.0/8"}, strings.Repeat("y", 5000), false},
	} {
		b := pacetest.NewBackend(t, pacetest.Fine)
		p := pacetest.Start(t, set(upstreams(b), "server", "trusted_proxies", tt.proxies))
		response := p.Get("/x", "X-Request-Id", tt.sent)
		wantStatus(t, response, 200)
		id := response.Header.Get("X-Request-Id")
		if id == "" || (id == tt.sent) != tt.continued {
			t.Errorf("%s: X-Request-Id = %.80q, want continued: %t", name, id, tt.continued)
		}
		if sent := b.WantGot(1, "/x")[0].Header.Get("X-Request-Id"); sent != id {
			t.Errorf("%s: the backend was told %.80q, the client %.80q", name, sent, id)
		}
		if logged := p.WantAccess("/x").Text("request_id"); logged != id {
			t.Errorf("%s: log says %.80q, the client was told %.80q", name, logged, id)
		}
	}
}

func TestHeaders_NamesAreSettings(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	cfg := upstreams(b)
	cfg["headers"] = pacetest.Table{"proxy_name": "X-Edge", "proxy_value": "north", "backend_name": "X-Served-By"}
	cfg["tracing"] = pacetest.Table{"response_header": "X-Trace"}
	response := pacetest.Start(t, cfg).Get("/x")
	got := b.WantGot(1, "/x")[0]
	if got.Header.Get("X-Edge") != "north" || got.Header.Get("X-Proxy") != "" {
		t.Errorf("X-Edge = %q, X-Proxy = %q", got.Header.Get("X-Edge"), got.Header.Get("X-Proxy"))
	}
	if response.Header.Get("X-Served-By") != b.Name() || response.Header.Get("X-Backend") != "" {
		t.Errorf("X-Served-By = %q, X-Backend = %q", response.Header.Get("X-Served-By"), response.Header.Get("X-Backend"))
	}
	if !hex32.MatchString(response.Header.Get("X-Trace")) || response.Header.Get("X-Trace-Id") != "" {
		t.Errorf("X-Trace = %q, X-Trace-Id = %q", response.Header.Get("X-Trace"), response.Header.Get("X-Trace-Id"))
	}
}

func TestHeaders_OffByEmptyName(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	cfg := set(set(upstreams(b), "headers", "backend_name", ""), "tracing", "response_header", "")
	response := pacetest.Start(t, cfg).Get("/x")
	wantStatus(t, response, 200)
	for name, values := range response.Header {
		if strings.Contains(strings.Join(values, ""), "backend_") || hex32.MatchString(values[0]) && name != "X-Request-Id" {
			t.Errorf("%s: %q is still there", name, values)
		}
	}
}

func TestHeaders_BackendsOwnAreNotDoubled(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.With(200, "X-Backend: forged\r\nX-Trace-Id: forged\r\nX-Request-Id: forged\r\nVia: 1.0 inner\r\n", "fine"))
	response := pacetest.Start(t, upstreams(b)).Get("/x")
	if v := response.Header.Values("X-Backend"); len(v) != 1 || v[0] != b.Name() {
		t.Errorf("X-Backend = %q", v)
	}
	if v := response.Header.Values("X-Trace-Id"); len(v) != 1 || !hex32.MatchString(v[0]) {
		t.Errorf("X-Trace-Id = %q", v)
	}
	if v := response.Header.Values("X-Request-Id"); len(v) != 1 || v[0] != b.WantGot(1, "/x")[0].Header.Get("X-Request-Id") {
		t.Errorf("X-Request-Id = %q", v)
	}
	if v := strings.Join(response.Header.Values("Via"), ", "); v != "1.0 inner, 1.1 pace" {
		t.Errorf("Via = %q, want the inner proxy's and pace's", v)
	}
}

// TestTrust covers tracing.trust: whose traceparent is continued.
func TestTrust(t *testing.T) {
	t.Parallel()
	const (
		theirTrace = "0af7651916cd43dd8448eb211c80319c"
		theirSpan  = "b7ad6b7169203331"
	)
	tests := map[string]struct {
		trust   string
		proxies []string
		want    bool // continued
	}{
		"all":                               {"all", nil, true},
		"none":                              {"none", nil, false},
		"none, not even a proxy":            {"none", []string{"127.0.0.0/8"}, false},
		"trusted, from a proxy":             {"trusted", []string{"127.0.0.0/8"}, true},
		"trusted, from an untrusted client": {"trusted", []string{"10.0.0.0/8"}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := pacetest.NewBackend(t, pacetest.Fine)
			cfg := set(set(upstreams(b), "tracing", "trust", tt.trust), "server", "trusted_proxies", append([]string{}, tt.proxies...))
			p, spans := pacetest.StartTraced(t, cfg)
			response := p.Get("/x", "Traceparent", "00-"+theirTrace+"-"+theirSpan+"-01", "Tracestate", "them=1")
			wantStatus(t, response, 200)
			server := pacetest.WantTrace(spans, 1, pacetest.Path("/x")).Server
			sent := b.WantGot(1, "/x")[0].Header
			if server.TraceID != response.Header.Get("X-Trace-Id") || !strings.Contains(sent.Get("Traceparent"), server.TraceID) {
				t.Errorf("span in trace %s, client told %s, backend told %s", server.TraceID, response.Header.Get("X-Trace-Id"), sent.Get("Traceparent"))
			}
			if tt.want {
				if server.TraceID != theirTrace || server.ParentID != theirSpan || sent.Get("Tracestate") != "them=1" {
					t.Errorf("trace %s, parent %s, tracestate %q: not continued", server.TraceID, server.ParentID, sent.Get("Tracestate"))
				}
				return
			}
			if server.TraceID == theirTrace || server.ParentID != "" || sent.Get("Tracestate") != "" {
				t.Errorf("trace %s, parent %q, tracestate %q: continued", server.TraceID, server.ParentID, sent.Get("Tracestate"))
			}
			if !hasLink(server, theirTrace, theirSpan) {
				t.Errorf("links %+v, want one to the client's span", server.Links)
			}
		})
	}
}

func hasLink(s otlp.Span, traceID, spanID string) bool {
	for _, l := range s.Links {
		if l.TraceID == traceID && l.SpanID == spanID {
			return true
		}
	}
	return false
}
