package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"pace/proxy/body"
	"pace/proxy/transport"
	"pace/proxy/upstream"
	"pace/telemetry"
	"pace/telemetry/metrics"
)

// bodyOf returns the body of a request, of at most 4 bytes.
func bodyOf(ctx context.Context, src io.Reader) *body.Body {
	r := (&http.Request{Body: io.NopCloser(src), ProtoMajor: 1, ContentLength: -1}).WithContext(ctx)
	return body.New(httptest.NewRecorder(), r, nil, 4, 0)
}

// TestOutcome is the table of how a failed attempt is named.
func TestOutcome(t *testing.T) {
	t.Parallel()
	live, gone := context.Background(), func() context.Context {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		return ctx
	}()
	late, malformed := os.ErrDeadlineExceeded, errors.New("invalid byte in chunk length")
	stopped, leave := context.WithCancel(context.Background())
	ours := bodyOf(stopped, strings.NewReader(""))
	ours.Stop()
	leave()
	read := func(ctx context.Context, err error) *body.Body {
		b := bodyOf(ctx, io.MultiReader(strings.NewReader("1234"), iotest.ErrReader(err)))
		io.ReadAll(b)
		return b
	}
	large := bodyOf(live, strings.NewReader("12345"))
	io.ReadAll(large)
	for name, tt := range map[string]struct {
		kind transport.Kind
		ctx  context.Context
		body *body.Body
		want telemetry.Outcome
	}{
		"refused":                                      {transport.ConnectFailed, live, nil, telemetry.ConnectFailed},
		"no connection in time":                        {transport.ConnectTimeout, live, nil, telemetry.ConnectTimeout},
		"no header in time":                            {transport.ResponseTimeout, live, nil, telemetry.UpstreamTimeout},
		"lost":                                         {transport.Reset, live, nil, telemetry.UpstreamReset},
		"rubbish":                                      {transport.Invalid, live, nil, telemetry.UpstreamInvalid},
		"canceled, which only a client does":           {transport.Canceled, live, nil, telemetry.ClientGone},
		"at one instant the client goes first":         {transport.Reset, gone, nil, telemetry.ClientGone},
		"likewise with a body":                         {transport.Reset, gone, bodyOf(gone, strings.NewReader("")), telemetry.ClientGone},
		"but not if we made it look so":                {transport.Reset, gone, ours, telemetry.UpstreamReset},
		"a body over the limit":                        {transport.RequestBody, live, large, telemetry.TooLarge},
		"a body that stalls":                           {transport.RequestBody, gone, read(gone, late), telemetry.RequestTimeout},
		"also if the context's end was seen first":     {transport.Canceled, gone, read(gone, late), telemetry.RequestTimeout},
		"a body that breaks the rules":                 {transport.RequestBody, live, read(live, malformed), telemetry.BadRequest},
		"a body that is shorter than announced":        {transport.RequestBody, live, bodyOf(live, strings.NewReader("")), telemetry.ClientGone},
		"a request that cannot be written":             {transport.RequestBody, live, nil, telemetry.BadRequest},
		"a client that leaves while we send its body":  {transport.Canceled, gone, bodyOf(gone, strings.NewReader("")), telemetry.ClientGone},
		"the backend is late, and the client has left": {transport.ResponseTimeout, gone, nil, telemetry.ClientGone},
	} {
		r := (&http.Request{ProtoMajor: 1}).WithContext(tt.ctx)
		q := &request{client: client{r: r, ctx: tt.ctx}, body: tt.body, r: r, ctx: tt.ctx}
		if got := q.outcomeOf(&transport.Error{Kind: tt.kind}); got != tt.want {
			t.Errorf("%s: got %v, want %v", name, got, tt.want)
		}
	}
}

func noSuchHost(context.Context, string) ([]netip.Addr, error) {
	return nil, &net.DNSError{Err: "no such host", Name: "backend.test", IsNotFound: true}
}

// failing is a dialer that the system gives this error.
func failing(errno syscall.Errno) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", errno)}
	}
}

// TestExhausted_AnotherBackendIsTriedOnlyWhereThatHelps: a port is missing for one destination, a
// descriptor for all.
func TestExhausted_AnotherBackendIsTriedOnlyWhereThatHelps(t *testing.T) {
	t.Parallel()
	for errno, dials := range map[syscall.Errno]int32{syscall.EADDRNOTAVAIL: 2, syscall.EMFILE: 1, syscall.ENFILE: 1, syscall.ENOBUFS: 1, syscall.ENOMEM: 1} {
		var n atomic.Int32
		p := start(t, func(o *setup) {
			o.pool.Retry.Failovers = 1
			o.pool.Transport.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				n.Add(1)
				return failing(errno)(ctx, network, addr)
			}
		}, "127.0.0.1:1", "127.0.0.1:2")
		c, r := p.dial(t)
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != 503 || n.Load() != dials {
			t.Errorf("%v: %v, %v after %d dials, want 503 after %d", errno, resp, err, n.Load(), dials)
		}
	}
}

// TestOutcomes provokes each outcome that one request can have, through sockets, and holds the
// client's view, the line and the histogram to each other.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	response := func(text string) func(net.Conn, *bufio.Reader) {
		return func(c net.Conn, r *bufio.Reader) {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			io.Copy(io.Discard, req.Body)
			io.WriteString(c, text)
		}
	}
	hang := func(c net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) }
	const get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, tt := range map[string]struct {
		backend func(net.Conn, *bufio.Reader) // nil: nobody listens
		change  func(*setup)
		send    string
		leave   bool // without waiting for an answer
		status  int  // that the client sees; 0: none
		outcome string
		logged  int // status in telemetry, if it is another one
	}{
		"ok":               {response("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"), nil, get, false, 200, "ok", 0},
		"a redirect is ok": {response("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"), nil, get, false, 302, "ok", 0},
		"client_error":     {response("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), nil, get, false, 404, "client_error", 0},
		"upstream_error":   {response("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"), nil, get, false, 503, "upstream_error", 0},
		"connect_failed":   {nil, nil, get, false, 502, "connect_failed", 0},
		"connect_timeout":  {nil, func(o *setup) { o.pool.Transport.Dial = never; o.pool.Transport.ConnectTimeout = 20 * time.Millisecond }, get, false, 504, "connect_timeout", 0},
		"tls_failed":       {response("HTTP/1.1 400 Bad Request\r\n\r\n"), func(o *setup) { o.pool.Addresses[0].Scheme = upstream.HTTPS }, get, false, 502, "tls_failed", 0},
		"dns_failed": {nil, func(o *setup) {
			o.pool.Addresses, o.pool.Lookup = addresses("backend.test:80"), noSuchHost
		}, get, false, 502, "dns_failed", 0},
		"exhausted":                          {nil, func(o *setup) { o.pool.Transport.Dial = failing(syscall.EMFILE) }, get, false, 503, "exhausted", 0},
		"upstream_timeout":                   {hang, func(o *setup) { o.pool.Transport.ResponseTimeout = 30 * time.Millisecond }, get, false, 504, "upstream_timeout", 0},
		"upstream_reset":                     {response(""), nil, get, false, 502, "upstream_reset", 0},
		"reset in the header":                {response("HTTP/1.1 200 OK\r\nConte"), nil, get, false, 502, "upstream_reset", 0},
		"upstream_invalid":                   {response("SSH-2.0-OpenSSH\r\n"), nil, get, false, 502, "upstream_invalid", 0},
		"upstream_truncated":                 {response("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"), nil, get, false, 200, "upstream_truncated", 0},
		"truncated chunks":                   {response("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"), nil, get, false, 200, "upstream_truncated", 0},
		"client_gone":                        {hang, nil, get, true, 0, "client_gone", 499},
		"gone in its own body":               {hang, nil, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf", true, 0, "client_gone", 499},
		"request_timeout":                    {hang, func(o *setup) { o.BodyTimeout = 30 * time.Millisecond }, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf", false, 408, "request_timeout", 0},
		"request_timeout in chunks":          {hang, func(o *setup) { o.BodyTimeout = 30 * time.Millisecond }, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", false, 408, "request_timeout", 0},
		"bad_request: CONNECT":               {hang, nil, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", false, 400, "bad_request", 0},
		"bad_request: what no server has":    {hang, nil, "GET mailto:x HTTP/1.1\r\nHost: x\r\n\r\n", false, 400, "bad_request", 0},
		"bad_request: chunks that are none":  {hang, nil, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nrubbish\r\n", false, 400, "bad_request", 0},
		"too_large":                          {hang, func(o *setup) { o.MaxBodyBytes = 3 }, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nfour", false, 413, "too_large", 0},
		"too_large in chunks":                {hang, func(o *setup) { o.MaxBodyBytes = 3 }, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n", false, 413, "too_large", 0},
		"just as large as it may be":         {response("HTTP/1.1 204 No\r\n\r\n"), func(o *setup) { o.MaxBodyBytes = 4 }, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n", false, 204, "ok", 0},
		"internal_error":                     {nil, func(o *setup) { o.pool.Transport.Dial = panics }, get, false, 500, "internal_error", 0},
		"internal_error before any backend":  {nil, func(o *setup) { o.Limit = &Limit{} }, get, false, 500, "internal_error", 0},
		"an answer that comes before a body": {early, nil, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf", false, 403, "client_error", 0},
	} {
		t.Run(name, func(t *testing.T) {
			address := unreachable(t)
			if tt.backend != nil {
				address = rawOrigin(t, tt.backend)
			}
			p := start(t, tt.change, address)
			c, r := p.dial(t)
			io.WriteString(c, tt.send)
			if tt.leave {
				waitFor(t, "the wait for the backend", func() bool {
					in := p.inFlight()
					return len(in) == 1 && (in[0].Phase == "wait" || in[0].Phase == "read_request")
				})
				c.Close()
			} else {
				resp, err := http.ReadResponse(r, nil)
				if err != nil || resp.StatusCode != tt.status {
					t.Fatalf("got %v, %v; want %d", resp, err, tt.status)
				}
				_, err = io.ReadAll(resp.Body)
				if whole := !strings.HasPrefix(tt.outcome, "upstream_tr"); (err == nil) != whole {
					t.Errorf("the body ended with %v, want it to look whole: %v", err, whole)
				}
			}
			l, status := p.line(t), tt.status
			if tt.logged != 0 {
				status = tt.logged
			}
			if l["outcome"] != tt.outcome || l["status"] != float64(status) {
				t.Errorf("got line %v, want %s and %d", l, tt.outcome, status)
			}
			if n := p.metric(t, metrics.ServerDuration.Name, "pace_outcome", tt.outcome, "http_response_status_code", fmt.Sprint(status)); n != 1 {
				t.Errorf("%v in the histogram, want 1", n)
			}
			if n := p.metric(t, metrics.ActiveRequests.Name); n != 0 {
				t.Errorf("%v requests are still active", n)
			}
		})
	}
}

func never(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }

func panics(context.Context, string, string) (net.Conn, error) { panic("a bug") }

// early answers at once, and then takes what still comes.
func early(c net.Conn, r *bufio.Reader) {
	http.ReadRequest(r)
	io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
	io.Copy(io.Discard, r)
}

// A client that leaves in the body, whether it resets or closes in good order.
func TestClientAborted(t *testing.T) {
	t.Parallel()
	backend := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
		for {
			if _, err := io.WriteString(c, "4\r\nmore\r\n"); err != nil {
				return
			}
			time.Sleep(time.Millisecond) // a backend at work
		}
	})
	for name, leave := range map[string]func(net.Conn){"by a reset": reset, "in good order": func(c net.Conn) { c.Close() }} {
		p := start(t, nil, backend)
		c, r := p.dial(t)
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s: got %v, %v", name, resp, err)
		}
		leave(c)
		if l := p.line(t); l["outcome"] != "client_aborted" || l["status"] != 200.0 || l["level"] != "WARN" {
			t.Errorf("%s: got %v", name, l)
		}
	}
}

// What the client does wrong with its body while the answer is under way breaks that off, and is
// told apart, however the answer is moved.
func TestRequestBodyFailsInMidAnswer(t *testing.T) {
	responses := map[string]string{
		"an answer in chunks":   "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"one that is spliced":   "Content-Length: 8388608\r\n\r\nhalf",
		"a stream of events":    "Content-Type: text/event-stream\r\n\r\ndata: 1\n\n",
		"one without a length":  "Connection: close\r\n\r\nhalf",
		"one that names no end": "Connection: Content-Length\r\nContent-Length: 8388608\r\n\r\nhalf",
	}
	backend := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\n"+responses[req.Header.Get("Answer")])
		io.Copy(io.Discard, r)
	})
	for name, tt := range map[string]struct {
		change           func(*setup)
		act              func(net.Conn)
		outcome, closing string
	}{
		"it breaks the rules": {nil, func(c net.Conn) { io.WriteString(c, "rubbish\r\n") }, "bad_request", "client_lost"},
		"it grows too large":  {func(o *setup) { o.MaxBodyBytes = 5 }, func(c net.Conn) { io.WriteString(c, "4\r\nmore\r\n") }, "too_large", "client_lost"},
		"it stalls":           {func(o *setup) { o.BodyTimeout = 200 * time.Millisecond }, func(net.Conn) {}, "request_timeout", "client_lost"},
		"its client leaves":   {nil, func(c net.Conn) { c.Close() }, "client_aborted", "client_closed"},
	} {
		for response := range responses {
			t.Run(name+" in "+response, func(t *testing.T) {
				t.Parallel()
				p := start(t, tt.change, backend)
				c, r := p.dial(t)
				io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nAnswer: "+response+"\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n")
				resp, err := http.ReadResponse(r, nil)
				if err != nil || resp.StatusCode != 200 {
					t.Fatalf("got %v, %v", resp, err)
				}
				if _, err := io.ReadFull(resp.Body, make([]byte, 4)); err != nil {
					t.Fatal(err)
				}
				tt.act(c)
				if b, err := io.ReadAll(resp.Body); err == nil {
					t.Errorf("the body looks whole: %q", b)
				}
				l := p.line(t)
				if l["stream"] == "sse" {
					if l["outcome"] != "ok" || l["close_reason"] != tt.closing {
						t.Errorf("got %v, want %s", l, tt.closing)
					}
				} else if l["outcome"] != tt.outcome || l["status"] != 200.0 {
					t.Errorf("got %v, want %s", l, tt.outcome)
				}
			})
		}
	}
}

// To HTTP/1.0 the end of the connection is the end of the body: one that is not whole ends in a reset.
func TestTruncatedForHTTP10(t *testing.T) {
	t.Parallel()
	backend := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
	})
	p := start(t, nil, backend)
	c, r := p.dial(t)
	io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
	if b, err := io.ReadAll(r); err == nil {
		t.Errorf("the body looks whole: %q", b)
	}
	if l := p.line(t); l["outcome"] != "upstream_truncated" {
		t.Errorf("got %v", l)
	}
}

// A pool without backends has nobody to ask.
func TestNoBackend(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	resp, body := get(t, p.URL)
	if resp.StatusCode != 503 || !strings.Contains(body, "\nOutcome: no_backend\n") || resp.Header.Get("Proxy-Status") != `pace; error=destination_unavailable; details="no_backend"` {
		t.Errorf("got %d %q %v", resp.StatusCode, body, resp.Header)
	}
	if l := p.line(t); l["outcome"] != "no_backend" || l["attempts"] != 0.0 || l["upstream"] != "default" {
		t.Errorf("got %v", l)
	}
}

// A bug of ours is answered, told with its stack, and harms no other request.
func TestPanicIsOneRequestsAlone(t *testing.T) {
	t.Parallel()
	backend := origin(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hi") })
	fails := true
	p := start(t, func(o *setup) {
		o.pool.Transport.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if fails {
				panic("a bug in dialing")
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
	}, backend)
	resp, body := get(t, p.URL)
	if resp.StatusCode != 500 || !strings.Contains(body, "\nOutcome: internal_error\n") || resp.Header.Get("Proxy-Status") != `pace; error=proxy_internal_error; details="internal_error"` {
		t.Errorf("got %d %q %v", resp.StatusCode, body, resp.Header)
	}
	waitFor(t, "the stack in the log", func() bool { return len(p.said(t, "bug of pace: it panicked while it handled a request")) == 1 })
	l := p.said(t, "bug of pace: it panicked while it handled a request")[0]
	if l["panic"] != "a bug in dialing" || !strings.Contains(l.text("stack"), "panic") || l["trace_id"] != resp.Header.Get("X-Trace-Id") || l["level"] != "ERROR" {
		t.Errorf("got %v", l)
	}
	fails = false
	for range 5 {
		if resp, body := get(t, p.URL); resp.StatusCode != 200 || body != "hi" {
			t.Errorf("afterwards: got %d %q", resp.StatusCode, body)
		}
	}
	if n := p.metric(t, metrics.ServerDuration.Name); n != 6 {
		t.Errorf("%v in the histogram, want 6", n)
	}
}

// A bug that shows when the answer has begun breaks it off: nobody takes it for whole.
func TestPanicInTheBodyBreaksOff(t *testing.T) {
	t.Parallel()
	p := start(t, func(o *setup) {
		o.pool.Transport.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, addr)
			return &panicsLate{Conn: c}, err
		}
	}, rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
		io.Copy(io.Discard, r)
	}))
	c, r := p.dial(t)
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("got %v, %v", resp, err)
	}
	if b, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("the body looks whole: %q", b)
	}
	if l := p.line(t); l["outcome"] != "internal_error" || l["status"] != 200.0 {
		t.Errorf("got %v", l)
	}
}

// panicsLate panics when it is read a second time.
type panicsLate struct {
	net.Conn
	reads int
}

func (c *panicsLate) Read(b []byte) (int, error) {
	if c.reads++; c.reads > 1 {
		panic("a bug in reading")
	}
	return c.Conn.Read(b)
}
