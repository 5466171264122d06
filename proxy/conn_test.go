package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"pace/proxy/front"
	"pace/telemetry/metrics"
)

// preface is how an HTTP/2 client begins, with an empty SETTINGS frame.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// TestRefused provokes each reason for which a request never reaches the handler, first on a new
// connection and then on one that has served a request. Such a request is in nothing else.
func TestRefused(t *testing.T) {
	const before = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, tt := range map[string]struct {
		send   string
		reason string
		status string // "": none is answered
	}{
		"a request line that is none":              {"rubbish that is no request\r\n\r\n", "bad_request", "400"},
		"no Host":                                  {"GET / HTTP/1.1\r\n\r\n", "bad_request", "400"},
		"two Hosts":                                {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "bad_request", "400"},
		"a field name with a blank":                {"GET / HTTP/1.1\r\nHost: x\r\nA B: c\r\n\r\n", "bad_request", "400"},
		"two lengths":                              {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "bad_request", "400"},
		"a path that is none":                      {"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", "bad_request", "400"},
		"a header that is too large":               {"GET / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("x", 100<<10) + "\r\n\r\n", "header_too_large", "431"},
		"a coding that nobody speaks":              {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", "unsupported", "501"},
		"a version that nobody speaks":             {"GET / HTTP/3.0\r\nHost: x\r\n\r\n", "unsupported", "505"},
		"an expectation that cannot be met":        {"GET / HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n\r\n", "unsupported", "417"},
		"a header that does not end in time":       {"GET / HTTP/1.1\r\nHost:", "header_timeout", ""},
		"one of fewer bytes than HTTP/2's preface": {"GET /par", "header_timeout", "400"},
		"one that stops in its second line":        {"GET / HTTP/1.1\r\n", "header_timeout", ""},
		"an HTTP/2 frame that breaks its law":      {preface + "\x00\x00\x01\x00\x00\x00\x00\x00\x01x", "h2_error", ""},
	} {
		for first, served := range map[string]int{"": 0, before: 1} {
			if served > 0 && tt.reason == "h2_error" {
				continue // HTTP/2 is spoken from the start, or never
			}
			t.Run(fmt.Sprintf("%s after %d requests", name, served), func(t *testing.T) {
				t.Parallel()
				backend := origin(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "HTTP/1.1 400 No") })
				p := startServer(t, func(_ *setup, o *ServerOptions) {
					if tt.reason == "header_timeout" {
						o.Settings.ReadHeaderTimeout = 500 * time.Millisecond
					}
				}, backend)
				c, r := p.dial(t)
				if served > 0 {
					io.WriteString(c, first)
					resp, err := http.ReadResponse(r, nil)
					if err != nil || resp.StatusCode != 200 {
						t.Fatalf("before: got %v, %v", resp, err)
					}
					io.Copy(io.Discard, resp.Body)
				}
				io.WriteString(c, tt.send)
				rest, _ := io.ReadAll(r) // a reset ends it, where we had more to say
				if tt.status != "" && !strings.HasPrefix(string(rest), "HTTP/1.1 "+tt.status) && len(rest) > 0 {
					t.Errorf("got %q, want %s", rest, tt.status)
				}
				waitFor(t, "the refusal's count", func() bool { return p.metric(t, metrics.Refused.Name) > 0 })
				if n, all := p.metric(t, metrics.Refused.Name, "reason", tt.reason), p.metric(t, metrics.Refused.Name); n != 1 || all != 1 {
					t.Errorf("%v refused for %s and %v in all, want 1 and 1: %v", n, tt.reason, all, p.said(t, "refused a client's request or connection"))
				}
				if n := p.metric(t, metrics.ServerDuration.Name); n != float64(served) {
					t.Errorf("%v requests in the histogram, want %d", n, served)
				}
				waitFor(t, "the line in the log", func() bool { return len(p.said(t, "refused a client's request or connection")) > 0 })
				if l := p.said(t, "refused a client's request or connection")[0]; l["reason"] != tt.reason || l["level"] != "WARN" {
					t.Errorf("got %v", l)
				}
				if served > 0 {
					p.lines(t, 1)
				}
			})
		}
	}
}

// A request that stops in its header is refused as late wherever its first bytes came: behind the
// one before, in the same packet, too.
func TestRefused_LateAfterAnother(t *testing.T) {
	const whole, part = "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET /late HTTP/1.1\r\nHost: x\r\n"
	for name, packets := range map[string][]string{
		"in one packet":                 {whole + part},
		"in one packet, after a packet": {whole, whole + part},
		"in two packets":                {whole, part},
		"cut in its method":             {whole + "GET ", "/late HTTP/1.1\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startServer(t, func(_ *setup, o *ServerOptions) { o.Settings.ReadHeaderTimeout = 100 * time.Millisecond },
				origin(t, func(http.ResponseWriter, *http.Request) {}))
			c, r := p.dial(t)
			served := 0
			for _, text := range packets {
				io.WriteString(c, text)
				if strings.HasPrefix(text, whole) {
					if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 200 {
						t.Fatalf("got %v, %v", resp, err)
					}
					served++
				}
			}
			if rest, err := io.ReadAll(r); len(rest) > 0 || err != nil {
				t.Errorf("got %q, %v", rest, err)
			}
			waitFor(t, "the refusal's count", func() bool { return p.metric(t, metrics.Refused.Name) > 0 })
			if n, all := p.metric(t, metrics.Refused.Name, "reason", "header_timeout"), p.metric(t, metrics.Refused.Name); n != 1 || all != 1 {
				t.Errorf("%v refused for header_timeout and %v in all, want 1 and 1", n, all)
			}
			p.lines(t, served)
		})
	}
}

// What looks like a refusal, but is not one.
func TestNotRefused(t *testing.T) {
	t.Parallel()
	const looks = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
	backend := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			io.Copy(io.Discard, req.Body)
			switch req.URL.Path {
			case "/body":
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(looks))
				time.Sleep(10 * time.Millisecond) // so that pace writes the body by itself
				io.WriteString(c, looks)
			case "/large":
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(looks)<<14, strings.Repeat(looks, 1<<14))
			case "/400":
				io.WriteString(c, looks)
			}
		}
	})
	p := start(t, nil, backend)
	c, r := p.dial(t)
	for i, request := range []string{
		"GET /body HTTP/1.1\r\nHost: x\r\n\r\n", "GET /large HTTP/1.1\r\nHost: x\r\n\r\n", "GET /400 HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET mailto:x HTTP/1.1\r\nHost: x\r\n\r\n", // refused by the handler
	} {
		io.WriteString(c, request)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		io.Copy(io.Discard, resp.Body)
	}
	p.say(t, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nConnection: close\r\n\r\n")
	p.lines(t, 5)
	silent, _ := p.dial(t) // who leaves before asking anything
	silent.Close()
	waitFor(t, "the end of all connections but one", func() bool {
		return p.metric(t, metrics.Connections.Name) == 1
	})
	if n := p.metric(t, metrics.Refused.Name); n != 0 {
		t.Errorf("%v were counted as refused: %v", n, p.said(t, "refused a client's request or connection"))
	}
}

// A connection that is given up because nothing is asked on it has been refused nothing.
func TestNotRefused_IdleConnections(t *testing.T) {
	t.Parallel()
	backend := origin(t, func(http.ResponseWriter, *http.Request) {})
	p := startServer(t, func(_ *setup, o *ServerOptions) {
		o.Settings.ReadHeaderTimeout, o.Settings.IdleTimeout = 50*time.Millisecond, 50*time.Millisecond
	}, backend)
	p.dial(t) // asks nothing
	c, r := p.dial(t)
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 200 {
		t.Fatalf("got %v, %v", resp, err)
	}
	if _, err := r.ReadByte(); err != io.EOF { // pace closes it
		t.Errorf("got %v", err)
	}
	waitFor(t, "the end of both", func() bool { return p.metric(t, metrics.Connections.Name) == 0 })
	if n := p.metric(t, metrics.Refused.Name); n != 0 {
		t.Errorf("%v were counted as refused", n)
	}
}

// A client that sends many malformed requests causes one log line per second, not one per request.
func TestRefused_LogIsCapped(t *testing.T) {
	t.Parallel()
	p := start(t, nil, unreachable(t))
	begin := time.Now()
	for range 200 {
		p.say(t, "rubbish that is no request\r\n\r\n")
	}
	seconds := int(time.Since(begin).Seconds()) + 2 // begun ones count
	waitFor(t, "the counts", func() bool { return p.metric(t, metrics.Refused.Name) == 200 })
	if n := len(p.said(t, "refused a client's request or connection")); n > seconds {
		t.Errorf("%d lines in %d seconds", n, seconds)
	}
}

// Connections are counted by what they are busy with, through their whole life.
func TestConnections(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	backend := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if req.URL.Path == "/ws" {
				io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
				io.Copy(io.Discard, r)
				return
			}
			<-release
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	p := start(t, nil, backend)
	want := func(when string, active, idle float64) {
		t.Helper()
		waitFor(t, fmt.Sprintf("%v active and %v idle: %s", active, idle, when), func() bool {
			return p.metric(t, metrics.Connections.Name, "state", "active") == active && p.metric(t, metrics.Connections.Name, "state", "idle") == idle
		})
	}
	want("at the start", 0, 0)
	a, ar := p.dial(t)
	b, br := p.dial(t)
	want("two have connected", 0, 2)
	io.WriteString(a, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	want("one has asked", 1, 1)
	release <- struct{}{}
	if _, err := http.ReadResponse(ar, nil); err != nil {
		t.Fatal(err)
	}
	want("it has its answer", 0, 2)
	io.WriteString(b, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if resp, err := http.ReadResponse(br, nil); err != nil || resp.StatusCode != 101 {
		t.Fatalf("got %v, %v", resp, err)
	}
	want("the other has become a stream, which is counted as such", 0, 1)
	if n := p.metric(t, metrics.Streams.Name, "kind", "websocket"); n != 1 {
		t.Errorf("%v streams, want 1", n)
	}
	a.Close()
	b.Close()
	want("both have left", 0, 0)
	h2, _ := p.dial(t)
	io.WriteString(h2, preface)
	want("one speaks HTTP/2, and asks nothing", 0, 1)
	h2.Close()
	want("it has left", 0, 0)
}

// The proxy's listener shows its metrics to loopback and to whom it is told, never through a proxy.
func TestScrape(t *testing.T) {
	t.Parallel()
	backend := origin(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "proxied") })
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "metrics") })
	for name, tt := range map[string]struct {
		scrape *front.Scrape
		path   string
		field  string
		status int
		body   string
	}{
		"through one that says Via alone":   {&front.Scrape{Path: "/metrics", Metrics: page}, "/metrics", "Via: 1.1 x\r\n", 404, "404 page not found\n"},
		"in another spelling":               {&front.Scrape{Path: "/metrics", Metrics: page}, "/metrics", "X_Forwarded_Port: 80\r\n", 404, "404 page not found\n"},
		"from loopback":                     {&front.Scrape{Path: "/metrics", Metrics: page}, "/metrics", "", 200, "metrics"},
		"through a proxy":                   {&front.Scrape{Path: "/metrics", Metrics: page}, "/metrics", "X-Forwarded-For: 127.0.0.1\r\n", 404, "404 page not found\n"},
		"through one that says Forwarded":   {&front.Scrape{Path: "/metrics", Metrics: page}, "/metrics", "Forwarded: for=_x\r\n", 404, "404 page not found\n"},
		"through a proxy that is allowed":   {&front.Scrape{Path: "/metrics", Metrics: page, Allow: prefixes("127.0.0.0/8")}, "/metrics", "X-Forwarded-For: 6.6.6.6\r\n", 200, "metrics"},
		"without metrics":                   {&front.Scrape{Path: "/metrics"}, "/metrics", "", 404, "404 page not found\n"},
		"another path is proxied":           {&front.Scrape{Path: "/metrics", Metrics: page}, "/metrics/x", "", 200, "proxied"},
		"where no path is kept for metrics": {nil, "/metrics", "", 200, "proxied"},
	} {
		t.Run(name, func(t *testing.T) {
			p := startServer(t, func(_ *setup, o *ServerOptions) { o.Settings.Scrape = tt.scrape }, backend)
			resp, body := p.ask(t, "GET "+tt.path+" HTTP/1.1\r\nHost: x\r\n"+tt.field+"\r\n")
			if resp.StatusCode != tt.status || body != tt.body {
				t.Errorf("got %d %q, want %d %q", resp.StatusCode, body, tt.status, tt.body)
			}
			if n, want := p.metric(t, metrics.ServerDuration.Name), float64(btoi(tt.body == "proxied")); n != want {
				t.Errorf("%v in the histogram, want %v", n, want)
			}
		})
	}
}
