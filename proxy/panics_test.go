package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// everything is a backend that exercises each stage: it tells of an interim response, then answers; or
// it switches protocols.
func everything(c net.Conn, r *bufio.Reader) {
	for {
		q, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		io.Copy(io.Discard, q.Body)
		if q.Header.Get("Upgrade") != "" {
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			io.Copy(c, r)
			return
		}
		io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
		io.WriteString(c, ok("fine"))
	}
}

// A panic in any stage is one 500 internal_error, counted once, whoever asks and however often the
// stage is passed; the next request is served, and draining does not wait for the one that failed.
func TestAPanicInEveryStage(t *testing.T) {
	t.Parallel()
	requests := map[string]string{
		"GET":     "GET /x HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: \"\xff;,\r\n\r\n",
		"POST":    "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
		"chunked": "POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"OPTIONS": "OPTIONS /x HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\n\r\n",
	}
	var running sync.WaitGroup // of all side by side, for most of the time of each is draining, which waits
	defer running.Wait()
	for s, tt := range map[stage]struct {
		requests  string
		responded bool // the status was sent before: the response is broken off instead
	}{
		inMiddleware: {"GET POST chunked OPTIONS", false},
		inForwarding: {"GET POST chunked OPTIONS", false},
		inDescribe:   {"GET POST chunked OPTIONS", false},
		inRejected:   {"GET POST chunked OPTIONS", false},
		inLimited:    {"GET POST chunked OPTIONS", false},
		inPick:       {"GET POST chunked", false},
		inAttempt:    {"GET POST chunked", false},
		inPhase:      {"GET POST chunked", false},
		inInterim:    {"GET POST chunked", false},
		inDeliver:    {"GET POST chunked", false},
		inRespond:    {"OPTIONS", false},
		inStream:     {"GET POST chunked", true},
		inEnd:        {"GET POST chunked OPTIONS", true},
	} {
		for name := range strings.FieldsSeq(tt.requests) {
			oneStage := func(t *testing.T) {
				var armed atomic.Bool
				p := start(t, func(o *setup) {
					o.Trusted = prefixes("127.0.0.0/8")
					o.seam = func(at stage) {
						if at == s && armed.Load() {
							panic("a bug in a stage")
						}
					}
				}, rawOrigin(t, everything))
				armed.Store(true)
				got := p.say(t, strings.Replace(requests[name], "\r\n", "\r\nConnection: close\r\n", 1))
				armed.Store(false)
				got = strings.TrimPrefix(got, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
				status := 500.0
				if tt.responded {
					status = 200
				}
				if !tt.responded && !strings.HasPrefix(got, "HTTP/1.1 500 ") {
					t.Errorf("the client got %q, want a 500", got)
				}
				l := p.line(t)
				if l.text("outcome") != "internal_error" || l.number("status") != status || l.text("path") != "/x" {
					t.Errorf("the line says %v", l)
				}
				p.wantOneBug(t)
				if r, body := p.ask(t, requests["GET"]); r.StatusCode != 103 && (r.StatusCode != 200 || body != "fine") {
					t.Errorf("the next request gets %d %q", r.StatusCode, body)
				}
				if err := <-p.drain(t, 5*time.Second); err != nil {
					t.Errorf("draining: %v", err)
				}
			}
			running.Go(func() { t.Run(fmt.Sprintf("stage %d of a %s", s, name), oneStage) })
		}
	}
}

// wantOneBug fails t unless there was one request, counted once, and one line that tells of the panic.
func (p *proxied) wantOneBug(t *testing.T) {
	t.Helper()
	for _, name := range []string{"http_requests_duration_seconds", "http_server_request_duration_seconds"} {
		if got := p.metric(t, name); got != 1 {
			t.Errorf("%s counts %v requests, want 1", name, got)
		}
	}
	if got := p.metric(t, "pace_requests_total", "pace_outcome", "internal_error", "pace_side", "pace"); got != 1 {
		t.Errorf("%v requests ended as internal_error, want 1", got)
	}
	if got := p.metric(t, "http_server_active_requests"); got != 0 {
		t.Errorf("%v requests are active, want none", got)
	}
	if got := p.metric(t, "pace_refused_total"); got != 0 {
		t.Errorf("%v requests were refused, want none", got)
	}
	lines := p.said(t, "bug of pace: it panicked while it handled a request")
	if len(lines) < 1 || !strings.Contains(lines[0].text("panic"), "a bug in a stage") || !strings.Contains(lines[0].text("stack")+lines[0].text("panic"), "panics_test.go") {
		t.Errorf("the log tells of the panic: %v", lines)
	}
	if n := p.handler.InFlight.Count(); n != 0 {
		t.Errorf("%d requests are running, want none", n)
	}
	for _, b := range p.upstream.Backends() {
		if n := b.InFlight(); n != 0 {
			t.Errorf("%d requests are in flight at %s, want none", n, b.Addr)
		}
	}
}

// The same over HTTP/2, whose streams share a connection.
func TestAPanicOverHTTP2(t *testing.T) {
	t.Parallel()
	for _, s := range []stage{inMiddleware, inForwarding, inDescribe, inPick, inPhase, inDeliver} {
		var armed atomic.Bool
		p := start(t, func(o *setup) {
			o.seam = func(at stage) {
				if at == s && armed.Load() {
					panic("a bug in a stage")
				}
			}
		}, rawOrigin(t, everything))
		c := h2Client(t)
		armed.Store(true)
		if got := post(strings.NewReader("abc"), 3)(t.Context(), p, c); !strings.HasPrefix(got, "500 ") {
			t.Errorf("stage %d: got %q, want 500", s, got)
		}
		armed.Store(false)
		p.line(t)
		p.wantOneBug(t)
		if got := post(strings.NewReader("abc"), 3)(t.Context(), p, c); got != "200 fine" {
			t.Errorf("stage %d: the next request got %q", s, got)
		}
	}
}

// A panic in either direction of a stream ends that stream, and nothing else.
func TestAPanicInAStream(t *testing.T) {
	t.Parallel()
	for _, s := range []stage{inStream, inStreamToBackend} {
		var armed atomic.Bool
		armed.Store(true)
		p := start(t, func(o *setup) {
			o.seam = func(at stage) {
				if at == s && armed.Load() {
					panic("a bug in a stage")
				}
			}
		}, rawOrigin(t, everything))
		got := p.say(t, "GET /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 101 ") {
			t.Errorf("stage %d: got %q", s, got)
		}
		if l := p.line(t); l.text("outcome") != "upgraded" || l.text("close_reason") != "drained" {
			t.Errorf("stage %d: the line says %v", s, l)
		}
		if n := len(p.said(t, "bug of pace: it panicked while it handled a request")); n != 1 {
			t.Errorf("stage %d: %d lines tell of the panic, want 1", s, n)
		}
		armed.Store(false)
		if err := <-p.drain(t, 5*time.Second); err != nil {
			t.Errorf("draining: %v", err)
		}
	}
}

// A panic of the record's own end costs the client its connection, and nothing else.
func TestAPanicInTheRecord(t *testing.T) {
	t.Parallel()
	var happened atomic.Bool
	p := start(t, func(o *setup) {
		o.seam = func(at stage) {
			if at == inRecord && happened.CompareAndSwap(false, true) {
				panic("a bug in a stage")
			}
		}
	}, rawOrigin(t, everything))
	p.say(t, "GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
	panics := func() int { return len(p.said(t, "bug of pace: it panicked while it handled a request")) }
	waitFor(t, "the line about the panic, which comes after the response", func() bool { return panics() > 0 })
	if err := <-p.drain(t, 5*time.Second); err != nil {
		t.Errorf("draining: %v", err)
	}
	if n := panics(); n != 1 {
		t.Errorf("%d lines tell of the panic, want 1", n)
	}
}

// What watches all requests survives a panic about one of them.
func TestAPanicOfTheWatcher(t *testing.T) {
	t.Parallel()
	var happened atomic.Int64
	p := startServer(t, func(o *setup, so *ServerOptions) {
		so.Settings.DeliverTimeout = 50 * time.Millisecond
		o.seam = func(at stage) {
			if at == inOverdue {
				happened.Add(1)
				panic("a bug in a stage")
			}
		}
	}, origin(t, func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, zeros{}) }))
	c, _ := p.dial(t)
	io.WriteString(c, "GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
	waitFor(t, "two panics", func() bool { return happened.Load() > 1 })
	c.Close()
	p.line(t)
}
