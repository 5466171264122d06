package contract

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"pace/e2e/pacetest"
)

func more(fields []string, add ...string) []string {
	return append(fields[:len(fields):len(fields)], add...)
}

// TestH2_WhatNetHTTPRefusesIsCounted: a request that is reset before any handler sees it is in
// pace_refused_total, once, and in nothing else. What the client still sends for it changes nothing.
func TestH2_WhatNetHTTPRefusesIsCounted(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		fields []string
	}{
		{"a name with a capital", more(get, "X-Upper", "x")},
		{"a name with a blank", more(get, "x y", "x")},
		{"an empty name", more(get, "", "x")},
		{"a value with CR LF", more(get, "x", "a\r\nb: c")},
		{"a value with LF", more(get, "x", "a\nb")},
		{"a value with NUL", more(get, "x", "a\x00b")},
		{"no :method", pacetest.H2Pairs(get, ":method", "-")},
		{"no :path", pacetest.H2Pairs(get, ":path", "-")},
		{"an empty :path", pacetest.H2Pairs(get, ":path", "")},
		{"no :scheme", pacetest.H2Pairs(get, ":scheme", "-")},
		{"a :scheme that nobody knows", pacetest.H2Pairs(get, ":scheme", "ftp")},
		{":method twice", append([]string{":method", "GET"}, get...)},
		{":path twice", append([]string{":path", "/y"}, get...)},
		{":authority twice", append([]string{":authority", "y"}, get...)},
		{"a pseudo-field of responses", append([]string{":status", "200"}, get...)},
		{"a pseudo-field that nobody knows", append([]string{":bogus", "x"}, get...)},
		{"a pseudo-field behind a field", append([]string{"x", "y"}, get...)},
		{"a :path that begins with no slash", pacetest.H2Pairs(get, ":path", "x")},
		{"a :path with a bad escape", pacetest.H2Pairs(get, ":path", "/%zz")},
		{"an :authority with a user", pacetest.H2Pairs(get, ":authority", "u@x")},
		{"CONNECT with a :path", pacetest.H2Pairs(get, ":method", "CONNECT")},
		{"CONNECT without :authority", []string{":method", "CONNECT"}},
	} {
		for _, body := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, body %v", tt.name, body), func(t *testing.T) {
				t.Parallel()
				b := pacetest.NewBackend(t, pacetest.Fine)
				p := pacetest.Start(t, upstreams(b))
				w := p.H2Wire()
				const rounds = 3
				for i := range uint32(rounds) {
					w.Headers(2*i+1, !body, tt.fields...)
					if body { // for the first frame net/http may reset the stream again, or end the connection
						w.WriteData(2*i+1, false, []byte("hel"))
						w.WriteData(2*i+1, true, []byte("lo"))
					}
					if got := w.Response(2*i + 1); !(got.Reset || body && got.GoAway) || got.Code != http2.ErrCodeProtocol || got.Status != 0 {
						t.Errorf("the client got %s, want RST_STREAM PROTOCOL_ERROR", got)
					}
					if body {
						w.Close()
						w = p.H2Wire()
					}
				}
				wantRefused(t, p, w, rounds, "h2_error")
				w.Headers(2*rounds+1, true, get...)
				if got := w.Response(2*rounds + 1).String(); got != "200" {
					t.Errorf("a request after them got %s", got)
				}
				wantRefused(t, p, w, rounds, "h2_error")
				p.WantMetric(1, "http_server_request_duration_seconds_count")
				b.WantGot(1, "/x")
			})
		}
	}
}

// wantRefused holds the metric to n refusals, all for this reason, after all that has been sent was read.
func wantRefused(t *testing.T, p *pacetest.Pace, w *pacetest.H2Wire, n float64, reason string) {
	t.Helper()
	if w != nil {
		if err := w.Alive(); err != nil {
			t.Errorf("the connection is over: %v", err)
		}
	}
	p.WantMetric(n, "pace_refused_total", "reason", reason)
	p.WantMetric(n, "pace_refused_total")
	if line := p.AwaitLines(1, "refused a client's request or connection")[0]; line.Text("reason") != reason {
		t.Errorf("the log says %v, want a line for %s", line, reason)
	}
}

// TestH2_StreamsOverTheLimit are refused, each once; those within the limit are served.
func TestH2_StreamsOverTheLimit(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	p := pacetest.Start(t, unhurried(upstreams(pacetest.NewBackend(t, pacetest.Gated(open, pacetest.Fine)))))
	w := p.H2Wire()
	limit := w.Settings[http2.SettingMaxConcurrentStreams]
	const over = 5
	for i := range limit + over {
		w.Headers(2*i+1, true, get...)
	}
	for i := range uint32(over) {
		if got := w.Response(2*(limit+i) + 1); !got.Reset || got.Status != 0 {
			t.Errorf("stream %d over the limit: %s", i, got)
		}
	}
	close(open)
	wantRefused(t, p, w, over, "h2_error")
	p.WantMetric(float64(limit), "http_server_request_duration_seconds_count", "pace_outcome", "ok")
}

// TestH2_ConnectionErrorsAreCounted, once, whatever net/http logs of them.
func TestH2_ConnectionErrorsAreCounted(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		send func(w *pacetest.H2Wire)
		code http2.ErrCode
	}{
		{"a frame above 16,384 bytes", func(w *pacetest.H2Wire) { w.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, 16385)) }, http2.ErrCodeFrameSize},
		{"an unknown frame above 16,384 bytes", func(w *pacetest.H2Wire) { w.WriteRawFrame(99, 0, 0, make([]byte, 16385)) }, http2.ErrCodeFrameSize},
		{"an even stream", func(w *pacetest.H2Wire) { w.Headers(2, true, get...) }, http2.ErrCodeProtocol},
		{"a stream that went down", func(w *pacetest.H2Wire) { w.Headers(5, true, get...); w.Headers(3, true, get...) }, http2.ErrCodeProtocol},
		{"a header that cannot be decoded", func(w *pacetest.H2Wire) {
			w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0xff, 0xff, 0x7f}, EndHeaders: true})
		}, http2.ErrCodeCompression},
		{"an invalid header in two frames", func(w *pacetest.H2Wire) {
			w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte("\x00\x01A\x01b")})
			w.WriteContinuation(1, true, []byte("\x82"))
		}, http2.ErrCodeProtocol},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := pacetest.Start(t, upstreams(pacetest.NewBackend(t, pacetest.Fine)))
			w := p.H2Wire()
			tt.send(w)
			for {
				f, err := w.ReadFrame()
				if err != nil {
					t.Fatalf("no GOAWAY: %v", err)
				}
				if g, ok := f.(*http2.GoAwayFrame); ok {
					if g.ErrCode != tt.code {
						t.Errorf("GOAWAY %v, want %v", g.ErrCode, tt.code)
					}
					break
				}
			}
			wantRefused(t, p, nil, 1, "h2_error")
		})
	}
}

// TestH2_AgreedOnAndNotSpoken: over TLS, a client that has agreed on HTTP/2 by ALPN and then speaks HTTP/1.1 gets
// nothing, and is one refusal.
func TestH2_AgreedOnAndNotSpoken(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	ca := pacetest.NewCA(t)
	p := pacetest.Start(t, overTLS(upstreams(b), ca.Issue("pace.test")))
	for i, sent := range []string{plainRequest, "PRI * HTTP/1.1\r\nHost: x\r\n\r\n", "\r\n" + plainRequest} {
		over := ca.Config("pace.test")
		over.NextProtos = []string{"h2"}
		nc := tls.Client(announce(t, p.Proxy, ""), over)
		io.WriteString(nc, sent)
		if got, err := io.ReadAll(nc); len(got) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q got %q, %v", sent, got, err)
		}
		p.WantMetric(float64(i+1), "pace_refused_total", "reason", "h2_error")
	}
	p.WantMetric(3, "pace_refused_total")
	p.WantMetric(0, "http_server_request_duration_seconds_count")
	if n := len(b.Requests()); n > 0 {
		t.Errorf("the backend got %d requests", n)
	}
}

// TestH2_ExtendedConnectIsRefused: pace does not announce extended CONNECT (RFC 8441), and resets a request for it,
// also where GODEBUG has net/http offer it to its handlers.
func TestH2_ExtendedConnectIsRefused(t *testing.T) {
	t.Parallel()
	for _, env := range [][]string{nil, {"GODEBUG=http2xconnect=1"}} {
		b := pacetest.NewBackend(t, pacetest.Fine)
		p := pacetest.Start(t, upstreams(b), env...)
		w := p.H2Wire()
		if n := w.Settings[http2.SettingEnableConnectProtocol]; n != 0 && env == nil {
			t.Errorf("SETTINGS_ENABLE_CONNECT_PROTOCOL = %d", n)
		}
		w.Headers(1, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "x", ":path", "/", "sec-websocket-version", "13")
		got := w.Response(1)
		if env == nil {
			if got.String() != "RST_STREAM PROTOCOL_ERROR" {
				t.Errorf("the client got %s", got)
			}
			wantRefused(t, p, w, 1, "h2_error")
		} else {
			if got.String() != "400" {
				t.Errorf("with GODEBUG the client got %s", got)
			}
			wantOneBadRequest(t, p)
		}
		if n := len(b.Requests()); n > 0 {
			t.Errorf("the backend got %d requests", n)
		}
	}
}

// TestH2_HeaderOverTheLimit: a header that is too large is 431 on its stream, refused once, and leaves the
// other requests of its connection alone.
func TestH2_HeaderOverTheLimit(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1024, 65536} {
		// What HTTP/2 counts of get, and of a field named x-long with an empty value.
		fixed := len("x-long") + 32
		for i := 0; i < len(get); i += 2 {
			fixed += len(get[i]) + len(get[i+1]) + 32
		}
		for _, tt := range []struct {
			name   string
			over   int
			fields int // among which the bytes are spread
			status string
		}{
			{"at the limit", 0, 1, "200"},
			{"a byte over", 1, 1, "431"},
			{"500 bytes over", 500, 1, "431"},
			{"1 KiB over", 1024, 1, "431"},
			{"5 KiB over, in one field", 5 << 10, 1, "431"},
			{"12 KiB over, in one field", 12 << 10, 1, "431"},
			{"1 KiB over, in many fields", 1024, 10, "431"},
			{"12 KiB over, in many fields", 12 << 10, 10, "431"},
		} {
			t.Run(fmt.Sprintf("%d: %s", limit, tt.name), func(t *testing.T) {
				t.Parallel()
				open := make(chan struct{})
				b := pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{
					"/": pacetest.Fine, "/waits": pacetest.Gated(open, pacetest.Fine),
				}))
				p := pacetest.Start(t, set(upstreams(b), "server", "max_header_bytes", limit))
				w := p.H2Wire()
				if n := w.Settings[http2.SettingMaxFrameSize]; n != 16384 {
					t.Errorf("the largest frame is advertised as %d, want 16384", n)
				}
				w.Headers(1, true, pacetest.H2Request("GET", "/waits")...)
				b.WantGot(1, "/waits")
				fields, fill := get, limit+tt.over-fixed-(tt.fields-1)*(len("x-long")+32)
				for i := range tt.fields {
					n := fill / (tt.fields - i)
					fields, fill = more(fields, "x-long", strings.Repeat("x", n)), fill-n
				}
				w.Headers(3, true, fields...)
				if got := w.Response(3).String(); got != tt.status {
					t.Errorf("the client got %s, want %s", got, tt.status)
				}
				if tt.status == "431" {
					wantRefused(t, p, w, 1, "header_too_large")
				}
				close(open)
				if got := w.Response(1).String(); got != "200" {
					t.Errorf("the other request on the connection got %s", got)
				}
			})
		}
	}
}

// TestRefused_OnceOverHTTP1: a header a little over the limit is one refusal there, too.
func TestRefused_OnceOverHTTP1(t *testing.T) {
	t.Parallel()
	for _, over := range []int{1, 1 << 10, 5 << 10, 200 << 10} {
		p := pacetest.Start(t, upstreams(pacetest.NewBackend(t, pacetest.Fine)))
		w := p.Wire()
		go w.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + strings.Repeat("x", 65536+over) + "\r\n\r\n"))
		if got := w.Head("GET"); got.StatusCode != 431 {
			t.Errorf("%d over: status %d", over, got.StatusCode)
		}
		w.Rest()
		wantRefused(t, p, nil, 1, "header_too_large")
	}
}

// TestScrape_IsInNothing: a scrape on the proxy's listener is no request of pace's, however its connection ends.
func TestScrape_IsInNothing(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string]string{
		"HTTP/1.1":              "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
		"Connection: close":     "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"HTTP/1.0":              "GET /metrics HTTP/1.0\r\n\r\n",
		"HTTP/1.0, one kept":    "GET /metrics HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
		"an untrusted client's": "GET /metrics HTTP/1.0\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pacetest.Start(t, set(upstreams(pacetest.NewBackend(t, pacetest.Fine)), "server", "read_header_timeout", "5s"))
			for range 3 {
				w := p.Wire()
				w.Send(raw)
				w.Response("GET")
				if !strings.Contains(raw, "1.1\r\nHost: x\r\n\r\n") && !strings.Contains(raw, "keep-alive") {
					w.Rest()
				}
				w.Close()
			}
			p.WantMetric(0, "pace_connections")
			p.WantMetric(0, "pace_refused_total")
			p.WantMetric(0, "http_server_request_duration_seconds_count")
			if lines := append(p.Lines("request"), p.Lines("refused a client's request or connection")...); len(lines) > 0 {
				t.Errorf("the log has %v", lines)
			}
		})
	}
}
