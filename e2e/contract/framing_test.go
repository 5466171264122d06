package contract

import (
	"strings"
	"testing"
	"time"

	"pace/e2e/pacetest"
)

// TestFraming_ThatIsAtFaultIsRefused: nothing of it reaches a backend, and the connection ends.
func TestFraming_ThatIsAtFaultIsRefused(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, raw string }{
		{"a coding in HTTP/1.0", "POST /x HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		{"a coding and a length in HTTP/1.0", "POST /x HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nContent-Length: 15\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		{"a length and a coding", "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		{"a coding and a length", "GET /x HTTP/1.1\r\nHost: x\r\ntransfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n0\r\n\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := pacetest.NewBackend(t, pacetest.Fine)
			p := pacetest.Start(t, upstreams(b))
			w := p.Wire()
			w.Send(tt.raw)
			wantStatus(t, w.Response("POST"), 400)
			if rest, err := w.Rest(); rest != "" || err != nil {
				t.Errorf("after the response came %q, %v; want the end", rest, err)
			}
			if n := len(b.Requests()); n != 0 {
				t.Errorf("the backend got %d requests", n)
			}
			if line := p.WantAccess("/x"); line.Text("outcome") != "bad_request" || line.Int("status") != 400 {
				t.Errorf("log says %v", line)
			}
			p.WantMetric(1, "http_server_request_duration_seconds_count", "pace_outcome", "bad_request")
		})
	}
}

// TestFraming_OfThePipelinedSecond: the first request of the packet is served.
func TestFraming_OfThePipelinedSecond(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(b))
	w := p.Wire()
	w.Send("POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi" +
		"POST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /3 HTTP/1.1\r\nHost: x\r\n\r\n")
	wantStatus(t, w.Response("POST"), 200)
	wantStatus(t, w.Response("POST"), 400)
	if rest, err := w.Rest(); rest != "" || err != nil {
		t.Errorf("after it came %q, %v; want the end", rest, err)
	}
	if len(b.Got("/1")) != 1 || len(b.Requests()) != 1 {
		t.Errorf("the backend got %d requests, want the first alone", len(b.Requests()))
	}
}

// TestEmptyLines_BeforeARequestAreIgnored (RFC 9112 §2.2), but not any number of them.
func TestEmptyLines_BeforeARequestAreIgnored(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(b))
	w := p.Wire()
	w.Send("\r\nGET /1 HTTP/1.1\r\nHost: x\r\n\r\n")
	wantStatus(t, w.Response("GET"), 200)
	w.Send("\r\n\r\n\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n\r\nPUT /3 HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n\r\n\r\n\r\nGET /4 HTTP/1.1\r\nHost: x\r\n\r\n")
	for range 3 {
		wantStatus(t, w.Response("GET"), 200)
	}
	if got := b.WantGot(1, "/3")[0]; string(got.Body) != "\r\n\r\n" {
		t.Errorf("the backend got the body %q, want two empty lines", got.Body)
	}
	many := p.Wire()
	many.Send(strings.Repeat("\r\n", 1000) + "GET /5 HTTP/1.1\r\nHost: x\r\n\r\n")
	if got := many.Response("GET"); got.Status != 400 {
		t.Errorf("after a thousand empty lines: status %d, want 400", got.Status)
	}
}

// TestMalformed_ShorterThanAPrefaceIsAnsweredAtOnce, though net/http waits for more.
func TestMalformed_ShorterThanAPrefaceIsAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	p := pacetest.Start(t, set(upstreams(pacetest.NewBackend(t, pacetest.Fine)), "server", "read_header_timeout", "1h"))
	for i, raw := range []string{"x\r\n\r\n", "GET /\r\n", "QUIT\n", "\x16\x03\x01", "\x00", "\xff\xff"} {
		w := p.Wire()
		began := time.Now()
		w.Send(raw)
		if got := w.Response("GET"); got.Status != 400 {
			t.Errorf("%q: status %d, %v; want 400", raw, got.Status, got.Err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%q is answered after %v", raw, took)
		}
		p.WantMetric(float64(i+1), "pace_refused_total", "reason", "bad_request")
	}
}

// TestRejection_KeepsTheConnectionOfASmallBody that is there already.
func TestRejection_KeepsTheConnectionOfASmallBody(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, head, body string
		cfg              func(*testing.T) pacetest.Config
		status           int
		kept             bool
	}{
		{"limited", "Content-Length: 5\r\n", "hello", limited, 429, true},
		{"limited, with chunks", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", limited, 429, true},
		{"limited, with 64 KiB", "Content-Length: 65536\r\n", strings.Repeat("x", 65536), limited, 429, true},
		{"limited, with more", "Content-Length: 65537\r\n", strings.Repeat("x", 65537), limited, 429, false},
		{"limited, with a body that is not there", "Content-Length: 5\r\n", "", limited, 429, false},
		{"limited, and waiting for 100", "Content-Length: 5\r\nExpect: 100-continue\r\n", "", limited, 429, false},
		{"too large", "Content-Length: 200\r\n", strings.Repeat("x", 200), small, 413, true},
		{"too large, with chunks", "Transfer-Encoding: chunked\r\n", "c8\r\n" + strings.Repeat("x", 200) + "\r\n0\r\n\r\n", small, 413, true},
		{"no backend there", "Content-Length: 5\r\n", "hello", dead, 502, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := pacetest.Start(t, tt.cfg(t))
			w := p.Wire()
			if tt.status == 429 {
				w.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
				wantStatus(t, w.Response("GET"), 200)
			}
			w.Send("POST /x HTTP/1.1\r\nHost: x\r\n" + tt.head + "\r\n" + tt.body)
			got := w.Head("POST")
			if got.StatusCode != tt.status || got.Close == tt.kept {
				t.Fatalf("status %d, closes: %t; want %d, kept: %t", got.StatusCode, got.Close, tt.status, tt.kept)
			}
			if r := pacetest.Read(got); r.Err != nil {
				t.Fatal(r.Err)
			}
			if tt.kept {
				w.Send("POST /y HTTP/1.1\r\nHost: x\r\n" + tt.head + "\r\n" + tt.body)
				if again := w.Response("POST"); again.Status != tt.status {
					t.Errorf("the next request on the connection: status %d, %v", again.Status, again.Err)
				}
			}
		})
	}
}

func limited(t *testing.T) pacetest.Config {
	cfg := set(upstreams(pacetest.NewBackend(t, pacetest.Fine)), "rate_limit", "max_requests", 1)
	return set(cfg, "rate_limit", "window_seconds", 3600)
}

func small(t *testing.T) pacetest.Config {
	return set(upstreams(pacetest.NewBackend(t, pacetest.Fine)), "server", "max_body_bytes", 100)
}

func dead(t *testing.T) pacetest.Config { return upstreams(pacetest.NewClosed(t)) }
