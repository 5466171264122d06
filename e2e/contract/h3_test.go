package contract

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"pace/e2e/pacetest"
)

// overH3 is the configuration of a pace with one listener over TLS that serves HTTP/3 as well.
func overH3(c pacetest.Config, certificates ...pacetest.Certificate) pacetest.Config {
	c = overTLS(c, certificates...)
	c["listener.a"]["http3"] = true
	return c
}

// h3Request makes a request to pace over HTTP/3.
func h3Request(t *testing.T, p *pacetest.Pace, method, path string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequest(method, "https://"+p.Proxy+path, body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// A client gets over HTTP/3 what it gets over TCP, small and large bodies, by the same certificates. The backend is told
// of it, and metric, span and line have the version. Only a body that comes is passed on as one.
func TestH3_Requests(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		x.ReadBody()
		x.Write("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(x.Body), x.Body)
	})
	ca := pacetest.NewCA(t)
	p, spans := pacetest.StartTraced(t, overH3(upstreams(b), ca.Issue("pace.test")))
	client := ca.H3("pace.test")
	large := strings.Repeat("0123456789abcdef", 1<<17)
	tests := []struct {
		method, body string
		chunked      bool
	}{
		{"GET", "", false}, {"HEAD", "", false}, {"POST", "", false}, {"DELETE", "", false}, {"POST", "small", false},
		{"POST", large, false}, {"PUT", "chunks", true}, {"POST", large, true}, {"GET", "odd", true},
	}
	for i, tt := range tests {
		var body io.Reader = strings.NewReader(tt.body)
		switch {
		case tt.chunked:
			body = struct{ io.Reader }{body}
		case tt.body == "":
			body = nil
		}
		got := pacetest.Do(client.Client, h3Request(t, p, tt.method, "/x", body))
		wantStatus(t, got, 200)
		if got.Body != tt.body {
			t.Errorf("%s: %d bytes came back of %d, %v", tt.method, len(got.Body), len(tt.body), got.Err)
		}
		asked := b.Requests()[i]
		if asked.Header.Get("Via") != "3 pace" || asked.Header.Get("X-Forwarded-Proto") != "https" {
			t.Errorf("the backend is told %v", asked.Header)
		}
		if framed := strings.Contains(asked.Head, "chunked"); framed != tt.chunked {
			t.Errorf("%s of %d bytes: the backend got %v", tt.method, len(tt.body), asked.Header)
		}
		server := pacetest.WantTrace(spans, 1, pacetest.ID(got.Header.Get("X-Trace-Id"))).Server
		wantAttr(t, server.Attrs, "network.protocol.version", "3")
		wantAttr(t, server.Attrs, "tls.protocol.version", "1.3")
	}
	p.WantMetric(float64(len(tests)), "pace_protocol_requests_total", "network_protocol_version", "3")
	p.WantMetric(1, "pace_tls_handshakes_total", "tls_protocol_version", "1.3")
	lines := p.AwaitLines(len(tests), "request")
	if len(lines) != len(tests) {
		t.Errorf("%d lines of %d", len(lines), len(tests))
	}
	for _, line := range lines {
		if line.Text("outcome") != "ok" || line.Text("tls") != "1.3" || line.Text("client") != "127.0.0.1" {
			t.Errorf("the line says %v", line)
		}
	}
}

// Responses over TCP say where HTTP/3 is served, those of the backend and pace's own, and in place of what the backend
// says. A listener without HTTP/3 says nothing.
func TestH3_IsAdvertised(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		x.Write("HTTP/1.1 200 OK\r\nAlt-Svc: h2=\":1\"\r\nContent-Length: 0\r\n\r\n")
	})
	ca := pacetest.NewCA(t)
	c := overH3(upstreams(b), ca.Issue("pace.test"))
	c["listener.b"] = pacetest.Table{"listen": "127.0.0.1:0", "tls": true}
	p := pacetest.Start(t, c)
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		for _, path := range []string{"/x", "//"} {
			for j, addr := range p.Listeners {
				req, _ := http.NewRequest("GET", "https://"+addr+path, nil)
				got := pacetest.Do(ca.Client(mode, "pace.test"), req)
				_, port, _ := strings.Cut(addr, ":")
				want := `h3=":` + port + `"; ma=86400`
				if j == 1 {
					want = `h2=":1"`
				}
				if alt := got.Header.Get("Alt-Svc"); alt != want && (path == "/x" || j == 0) {
					t.Errorf("%s: got %q, want %q (%v)", addr+path, alt, want, got.Err)
				}
			}
		}
	})
}
