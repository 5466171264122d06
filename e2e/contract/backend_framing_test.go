package contract

import (
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strings"
	"testing"

	"pace/e2e/pacetest"
)

// TestBackend_BlanksAfterAChunkSize: RFC 9112 §7.1.1 allows them before an extension, and some servers pad
// their sizes with them.
func TestBackend_BlanksAfterAChunkSize(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		x.Write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2 ;a=b\r\nhe\r\n2  \r\nll\r\n1\t \r\no\r\n0 ; last\r\n\r\n")
	})
	p := pacetest.Start(t, upstreams(b))
	for _, mode := range []pacetest.Mode{pacetest.H1, pacetest.H2C} {
		c := mode.Client(t)
		for range 2 {
			got := pacetest.Do(c, p.Request("GET", "/"+string(mode), ""))
			if wantStatus(t, got, 200); got.Body != "hello" {
				t.Errorf("%s: body %q", mode, got.Body)
			}
		}
	}
	p.WantMetric(4, "http_server_request_duration_seconds_count", "pace_outcome", "ok")
	if b.Accepted() != 1 {
		t.Errorf("%d connections were made, want one that is used again", b.Accepted())
	}
}

// TestBackend_A101IsItsHeaderOnly: no length, no trailer; and "Connection: Upgrade", whatever the backend
// said of it.
func TestBackend_A101IsItsHeaderOnly(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]string{
		"with a length":              "Connection: Upgrade\r\nUpgrade: echo\r\nContent-Length: 0\r\n",
		"with chunks and a trailer":  "Connection: Upgrade\r\nUpgrade: echo\r\nTransfer-Encoding: chunked\r\nTrailer: Sum\r\n",
		"without Connection":         "Upgrade: Echo\r\n",
		"with another Connection":    "Connection: keep-alive\r\nupgrade: echo\r\n",
		"with Connection for others": "Connection: close, X-Hop\r\nX-Hop: 1\r\nUpgrade: echo\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
				x.Write("HTTP/1.1 101 Switching Protocols\r\n%s\r\n", header)
				x.Echo()
			})
			p, spans := pacetest.StartTraced(t, upstreams(b))
			w := p.Wire()
			w.Send("GET /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			got := w.Head("GET")
			if got.StatusCode != 101 || !strings.EqualFold(got.Header.Get("Upgrade"), "echo") || len(got.Header["Connection"]) != 1 || got.Header.Get("Connection") != "Upgrade" {
				t.Errorf("got %d, Connection %q, Upgrade %q", got.StatusCode, got.Header["Connection"], got.Header["Upgrade"])
			}
			for _, field := range []string{"Content-Length", "Transfer-Encoding", "Trailer", "X-Hop"} {
				if v, ok := got.Header[field]; ok || len(got.TransferEncoding) > 0 || len(got.Trailer) > 0 {
					t.Errorf("the 101 has %s: %q", field, v)
				}
			}
			w.Send("hello")
			w.CloseWrite()
			if rest, err := io.ReadAll(w.R); string(rest) != "hello" || err != nil {
				t.Errorf("the stream brought %q, %v", rest, err)
			}
			if line := p.WantAccess("/x"); line.Text("outcome") != "upgraded" || line.Int("status") != 101 {
				t.Errorf("the line says %s, %s", line.Text("outcome"), line.Text("status"))
			}
			wantAttr(t, pacetest.WantTrace(spans, 1, pacetest.ID(got.Header.Get("X-Trace-Id"))).Server.Attrs, "pace.outcome", "upgraded")
			p.WantMetric(1, "http_server_request_duration_seconds_count", "pace_outcome", "upgraded")
		})
	}
}

// TestBackend_A204HasNoLength: net/http takes it away over HTTP/1.1, but not over HTTP/2 (RFC 9110 §8.6).
func TestBackend_A204HasNoLength(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		x.Write("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n")
	})
	p := pacetest.Start(t, upstreams(b))
	for _, mode := range []pacetest.Mode{pacetest.H1, pacetest.H2C} {
		got := pacetest.Do(mode.Client(t), p.Request("GET", "/", ""))
		if wantStatus(t, got, 204); got.Header["Content-Length"] != nil {
			t.Errorf("%s: Content-Length: %q", mode, got.Header["Content-Length"])
		}
	}
}

// TestBackend_A426KeepsUpgrade: without it the client would not know what to switch to
// (RFC 9110 §15.5.22). HTTP/2 has no such field.
func TestBackend_A426KeepsUpgrade(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		if x.Target != "/early" {
			x.ReadBody()
		}
		status := 426
		if x.Target == "/200" {
			status = 200
		}
		x.Write("HTTP/1.1 %d %s\r\nConnection: upgrade\r\nUpgrade: TLS/1.2\r\nUpgrade: HTTP/1.1\r\nContent-Length: 2\r\n\r\nno", status, http.StatusText(status))
		if x.Target == "/early" {
			x.AwaitClose()
		}
	})
	p := pacetest.Start(t, upstreams(b))
	tests := []struct{ name, request, connection, upgrade string }{
		{"over HTTP/1.1", "GET /x HTTP/1.1\r\nHost: x\r\n\r\n", "Upgrade", "TLS/1.2, HTTP/1.1"},
		{"beside the close that the client asked for", "GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "close, Upgrade", "TLS/1.2, HTTP/1.1"},
		{"beside the close of an unfinished request", "POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n", "close, Upgrade", "TLS/1.2, HTTP/1.1"},
		{"over HTTP/1.0", "GET /x HTTP/1.0\r\n\r\n", "close, Upgrade", "TLS/1.2, HTTP/1.1"},
		{"but no other status does", "GET /200 HTTP/1.1\r\nHost: x\r\n\r\n", "", ""},
	}
	for _, tt := range tests {
		w := p.Wire()
		w.Send(tt.request)
		line, header := rawHead(t, w) // net/http's reader takes Connection out
		connection, upgrade := strings.Join(header["Connection"], ", "), strings.Join(header["Upgrade"], ", ")
		if connection != tt.connection || upgrade != tt.upgrade {
			t.Errorf("%s: got %q, Connection %q, Upgrade %q; want %q, %q", tt.name, line, connection, upgrade, tt.connection, tt.upgrade)
		}
	}
	got := pacetest.Do(pacetest.H2C.Client(t), p.Request("GET", "/x", ""))
	if wantStatus(t, got, 426); got.Header["Upgrade"] != nil || got.Header["Connection"] != nil {
		t.Errorf("over HTTP/2: Upgrade %q, Connection %q", got.Header["Upgrade"], got.Header["Connection"])
	}
	p.WantMetric(5, "http_server_request_duration_seconds_count", "pace_outcome", "client_error", "http_response_status_code", "426")
}

// rawHead reads one response header as it came.
func rawHead(t *testing.T, w *pacetest.Wire) (line string, header textproto.MIMEHeader) {
	t.Helper()
	r := textproto.NewReader(w.R)
	line, err := r.ReadLine()
	if err != nil {
		t.Fatal(err)
	}
	if header, err = r.ReadMIMEHeader(); err != nil {
		t.Fatal(err)
	}
	return line, header
}

// TestUpstreams_MaxResponseHeaderBytesToTheByte: what is over the limit is HTTP, and Proxy-Status says so.
func TestUpstreams_MaxResponseHeaderBytesToTheByte(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1024, 65536, 200_000} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
				size := limit
				if x.Target == "/over" {
					size++
				}
				const start, end = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Long: ", "\r\n\r\n"
				x.Write("%s", start+strings.Repeat("x", size-len(start)-len(end))+end+"hi")
			})
			p, spans := pacetest.StartTraced(t, set(upstreams(b), "upstreams", "max_response_header_bytes", limit))
			for _, mode := range []pacetest.Mode{pacetest.H1, pacetest.H2C} {
				wantStatus(t, pacetest.Do(mode.Client(t), p.Request("GET", "/most", "")), 200)
			}
			got := p.Get("/over")
			wantStatus(t, got, 502)
			if v := got.Header.Get("Proxy-Status"); !strings.HasPrefix(v, "pace; error=http_response_header_section_size") || !strings.Contains(got.Body, "upstream_invalid") {
				t.Errorf("Proxy-Status %q, body %q", v, got.Body)
			}
			trace := pacetest.WantTrace(spans, 1, pacetest.ID(got.Header.Get("X-Trace-Id")))
			wantAttr(t, trace.Server.Attrs, "pace.outcome", "upstream_invalid")
			wantAttr(t, trace.Clients[0].Attrs, "error.type", "upstream_invalid")
			if line := p.WantAccess("/over"); line.Text("outcome") != "upstream_invalid" || line.Int("status") != 502 {
				t.Errorf("the line says %s, %s", line.Text("outcome"), line.Text("status"))
			}
			p.WantMetric(1, "http_server_request_duration_seconds_count", "pace_outcome", "upstream_invalid")
			p.WantMetric(2, "http_server_request_duration_seconds_count", "pace_outcome", "ok")
		})
	}
}

// TestUpstreams_TooManyResponseFieldsAreTooLarge: and what is no HTTP at all is still that.
func TestUpstreams_TooManyResponseFieldsAreTooLarge(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{
		"/fields": pacetest.Raw("HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", 1001) + "\r\n"),
		"/hints":  pacetest.Raw("HTTP/1.1 103 Early Hints\r\nLink: " + strings.Repeat("l", 70_000) + "\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
		"/":       pacetest.Garbage,
	}))
	p := pacetest.Start(t, set(upstreams(b), "upstreams", "max_retries", 0))
	for path, want := range map[string]string{"/fields": "http_response_header_section_size", "/hints": "http_response_header_section_size", "/x": "http_protocol_error"} {
		got := p.Get(path)
		wantStatus(t, got, 502)
		if v := got.Header.Get("Proxy-Status"); !strings.HasPrefix(v, "pace; error="+want) {
			t.Errorf("%s: Proxy-Status %q, want %s", path, v, want)
		}
	}
	p.WantMetric(3, "http_server_request_duration_seconds_count", "pace_outcome", "upstream_invalid")
}
