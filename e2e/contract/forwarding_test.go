package contract

import (
	"strings"
	"testing"

	"pace/e2e/pacetest"
)

// TestForwarding_BothFamiliesSayTheSame: a backend that reads one family of fields gets the same as one
// that reads the other, and so are log, span and metric.
func TestForwarding_BothFamiliesSayTheSame(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name          string
		sent          []string
		client, proto string
		forwarded     string
	}{
		{"a proxy that speaks the X-Forwarded fields alone", words("X-Forwarded-For 192.0.2.7 X-Forwarded-Proto https X-Forwarded-Host shop.example"), "192.0.2.7", "https",
			`for=192.0.2.7;host="shop.example";proto=https, for=127.0.0.1;host="shop.example";proto=https`},
		{"a proxy that speaks Forwarded alone", words("Forwarded for=192.0.2.7;proto=https;host=shop.example"), "192.0.2.7", "https",
			`for=192.0.2.7;proto=https;host=shop.example, for=127.0.0.1;host="shop.example";proto=https`},
		{"both, which differ", words("X-Forwarded-For 192.0.2.7 X-Forwarded-Proto https X-Forwarded-Host shop.example Forwarded for=6.6.6.6;proto=http;host=evil.example"), "192.0.2.7", "https",
			`for=192.0.2.7;host="shop.example";proto=https, for=127.0.0.1;host="shop.example";proto=https`},
		{"lists with empty elements", []string{"X-Forwarded-For", "192.0.2.7, , 10.0.0.2,", "X-Forwarded-Proto", "https, http", "X-Forwarded-Host", "shop.example"}, "192.0.2.7", "https",
			`for=192.0.2.7;host="shop.example";proto=https, for=10.0.0.2;proto=https, for=127.0.0.1;host="shop.example";proto=https`},
		{"ports and brackets", []string{"X-Forwarded-For", "[2001:db8::7]:4711, 10.0.0.2:80", "X-Forwarded-Proto", "HTTPS", "X-Forwarded-Host", "shop.example"}, "2001:db8::7", "https",
			`for="[2001:db8::7]";host="shop.example";proto=https, for=10.0.0.2;proto=https, for=127.0.0.1;host="shop.example";proto=https`},
		{"a comma in quotes", []string{"Forwarded", `for=192.0.2.7;by="_a,b";proto=https;host="shop.example"`}, "192.0.2.7", "https",
			`for=192.0.2.7;by="_a,b";proto=https;host="shop.example", for=127.0.0.1;host="shop.example";proto=https`},
		{"quotes that a client left open", []string{"Forwarded", `for="6.6.6.6, for=192.0.2.7;proto=https;host=shop.example`}, "192.0.2.7", "https",
			`for=unknown;host="shop.example";proto=https, for=192.0.2.7;proto=https, for=127.0.0.1;host="shop.example";proto=https`},
	}
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		b := pacetest.NewBackend(t, pacetest.Fine)
		p, spans := pacetest.StartTraced(t, set(upstreams(b), "server", "trusted_proxies", []string{"127.0.0.0/8", "10.0.0.0/8"}))
		for i, tt := range tests {
			path := "/" + strings.ReplaceAll(strings.ReplaceAll(tt.name, " ", "-"), ",", "")
			wantStatus(t, pacetest.Do(mode.Client(t), p.Request("GET", path, "", tt.sent...)), 200)
			got := b.WantGot(1, path)[0].Header
			for name, want := range map[string]string{"X-Forwarded-Proto": tt.proto, "X-Forwarded-Host": "shop.example", "Forwarded": tt.forwarded} {
				if v := strings.Join(got.Values(name), " | "); v != want {
					t.Errorf("%s: %s\n got %s\nwant %s", tt.name, name, v, want)
				}
			}
			if v := got.Get("X-Forwarded-For"); !strings.Contains(v, tt.client) || !strings.HasSuffix(v, ", 127.0.0.1") {
				t.Errorf("%s: X-Forwarded-For = %s", tt.name, v)
			}
			if line := p.WantAccess(path); line.Text("client") != tt.client {
				t.Errorf("%s: log says client %s, want %s", tt.name, line.Text("client"), tt.client)
			}
			server := pacetest.WantTrace(spans, 1, pacetest.Path(path)).Server
			wantAttr(t, server.Attrs, "client.address", tt.client)
			wantAttr(t, server.Attrs, "url.scheme", tt.proto)
			p.WantMetric(float64(i+1), "http_server_request_duration_seconds_count", "url_scheme", "https")
		}
	})
}

// TestForwarding_FieldsOfProxies: what only a proxy can know passes if a trusted one says it, in the one
// spelling; Proxy passes from nobody.
func TestForwarding_FieldsOfProxies(t *testing.T) {
	t.Parallel()
	names := words("X-Forwarded-Port X-Forwarded-Prefix X-Forwarded-Server X-Forwarded-Ssl X-Forwarded-Scheme X-Forwarded-User X-Original-Url X-Original-Host " +
		"X-Rewrite-Url True-Client-Ip X-Client-Ip X-Real-Ip X-Cluster-Client-Ip Cf-Connecting-Ip Fastly-Client-Ip Front-End-Https X-Scheme")
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		for proxies, passes := range map[string]bool{"127.0.0.0/8": true, "10.0.0.0/8": false} {
			b := pacetest.NewBackend(t, pacetest.Fine)
			p := pacetest.Start(t, set(upstreams(b), "server", "trusted_proxies", []string{proxies}))
			pairs := words("Proxy http://evil X_Forwarded_Port 6666 X_Original_Url /admin X-Kept yes")
			for _, name := range names {
				pairs = append(pairs, name, "6666")
			}
			wantStatus(t, pacetest.Do(mode.Client(t), p.Request("GET", "/x", "", pairs...)), 200)
			got := b.WantGot(1, "/x")[0].Header
			for _, name := range names {
				if v := got.Get(name); (v == "6666") != passes {
					t.Errorf("from %s: %s = %q, want passed: %t", proxies, name, v, passes)
				}
			}
			for name := range got {
				if strings.Contains(name, "_") || name == "Proxy" {
					t.Errorf("from %s: %s came through", proxies, name)
				}
			}
			if got.Get("X-Kept") != "yes" {
				t.Errorf("X-Kept is lost")
			}
		}
	})
}

// TestForwarding_WithoutHost: HTTP/1.0 need not name a host; then no field names one.
func TestForwarding_WithoutHost(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]string{"HTTP/1.0 without Host": "HTTP/1.0\r\n", "an empty Host": "HTTP/1.1\r\nHost:\r\nConnection: close\r\n"} {
		b := pacetest.NewBackend(t, pacetest.Fine)
		p := pacetest.Start(t, upstreams(b))
		w := p.Wire()
		w.Send("GET /x " + head + "\r\n")
		wantStatus(t, w.Response("GET"), 200)
		got := b.WantGot(1, "/x")[0]
		if v, ok := got.Header["X-Forwarded-Host"]; ok {
			t.Errorf("%s: X-Forwarded-Host = %q", name, v)
		}
		if v := got.Header.Get("Forwarded"); v != "for=127.0.0.1;proto=http" {
			t.Errorf("%s: Forwarded = %q", name, v)
		}
		if got.Host != b.Address() {
			t.Errorf("%s: Host = %q", name, got.Host)
		}
	}
}

// TestExpectContinue_OfHTTP10IsIgnored: HTTP/1.0 has no 100, so no client waits for one.
func TestExpectContinue_OfHTTP10IsIgnored(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(b))
	w := p.Wire()
	w.Send("POST /x HTTP/1.0\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\ndata")
	got := w.Response("POST")
	wantStatus(t, got, 200)
	sent := b.WantGot(1, "/x")[0]
	if string(sent.Body) != "data" || sent.Header.Get("Expect") != "" {
		t.Errorf("the backend got %q with Expect %q", sent.Body, sent.Header.Get("Expect"))
	}
	if line := p.WantAccess("/x"); line.Text("outcome") != "ok" || line.Int("bytes_in") != 4 {
		t.Errorf("log says %s, bytes_in %s", line.Text("outcome"), line.Text("bytes_in"))
	}
}
