package contract

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

// This file tests the effects of the keys of [server] and [upstreams]. The keys of [rate_limit], [tracing],
// [metrics], [admin], [log] and [headers] have their tests in the files about these subjects.

func TestServer_Listen(t *testing.T) {
	t.Parallel()
	address := pacetest.NewClosed(t).Address()
	p := pacetest.Start(t, set(upstreams(pacetest.NewBackend(t, pacetest.Fine)), "server", "listen", address))
	if p.Proxy != address {
		t.Errorf("listens on %s, want %s", p.Proxy, address)
	}
	wantStatus(t, p.Get("/x"), 200)
}

func TestServer_WorkersCapGOMAXPROCS(t *testing.T) {
	t.Parallel()
	p := pacetest.Start(t, set(upstreams(pacetest.NewClosed(t)), "server", "workers", 1))
	p.WantMetric(1, "go_sched_gomaxprocs_threads")
}

func TestServer_ReadHeaderTimeout(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, set(upstreams(b), "server", "read_header_timeout", "300ms"))
	halves := []string{"GET /x HTTP/1.1\r\nHost: x\r\n", "GET /x HTTP/1.1\r\nHost: x\r\n\r", "GET /x HTTP/1.1\r\nHost: x", "GET /x HTTP/1.1\r\nHo", "GET /x HT", "G"}
	for _, half := range halves {
		began := time.Now()
		w := p.Wire()
		w.Send(half)
		if rest, err := w.Rest(); rest != "" || err != nil {
			t.Errorf("%q got %q, %v; want nothing and the end", half, rest, err)
		}
		if took := time.Since(began); took < 300*time.Millisecond || took > 10*time.Second {
			t.Errorf("closed after %v", took)
		}
	}
	if len(b.Requests()) != 0 {
		t.Error("half a header was forwarded")
	}
	wantRefused(t, p, nil, float64(len(halves)), "header_timeout")
}

func TestServer_ReadHeaderTimeoutSparesTheBody(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, set(upstreams(b), "server", "read_header_timeout", "2s"))
	w := p.Wire()
	w.Send("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nslow")
	time.AfterFunc(3*time.Second, func() { w.Write([]byte("body")) })
	wantStatus(t, w.Response("POST"), 200)
	if got := b.WantGot(1, "/x")[0]; string(got.Body) != "slowbody" {
		t.Errorf("the backend got %q", got.Body)
	}
}

func TestServer_IdleTimeout(t *testing.T) {
	t.Parallel()
	p := pacetest.Start(t, set(upstreams(pacetest.NewBackend(t, pacetest.Fine)), "server", "idle_timeout", "300ms"))
	began := time.Now() // later, the test might be late
	w := p.Wire()
	w.Send("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
	wantStatus(t, w.Response("GET"), 200)
	if rest, err := w.Rest(); rest != "" || err != nil {
		t.Errorf("the idle connection got %q, %v", rest, err)
	}
	if took := time.Since(began); took < 300*time.Millisecond || took > 10*time.Second {
		t.Errorf("closed after %v", took)
	}
}

// TestServer_MaxHeaderBytesToTheByte: on the first request of a connection and on a later one, below
// what net/http reads ahead and above, over both protocols.
func TestServer_MaxHeaderBytesToTheByte(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1024, 5000, 65536} {
		b := pacetest.NewBackend(t, pacetest.Fine)
		p := pacetest.Start(t, set(upstreams(b), "server", "max_header_bytes", limit))
		header := func(size int) string {
			const start, end = "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nX-Long: ", "\r\n\r\n"
			return start + strings.Repeat("x", size-len(start)-len(end)) + end
		}
		for _, earlier := range []int{0, 1, 2} {
			for size, status := range map[int]int{limit: 200, limit + 1: 431, limit + 4000: 431} {
				w := p.Wire()
				for range earlier {
					w.Send(header(limit) + "hello")
					wantStatus(t, w.Response("POST"), 200)
				}
				go w.Write([]byte(header(size) + "hello")) // pace may close before it has taken all
				if got := w.Head("POST").StatusCode; got != status {
					t.Errorf("max_header_bytes %d: a header of %d bytes after %d requests got %d, want %d", limit, size, earlier, got, status)
				}
			}
		}
		for fill, status := range map[int]int{limit / 2: 200, limit: 431} { // HTTP/2 has its own measure, near enough
			got := pacetest.Do(pacetest.H2C.Client(t), p.Request("GET", "/h2", "", "X-Long", strings.Repeat("x", fill)))
			wantStatus(t, got, status)
		}
		p.WantMetric(7, "pace_refused_total", "reason", "header_too_large")
		p.WantMetric(7, "pace_refused_total")
	}
}

func TestServer_MaxHeaderBytes(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, set(upstreams(b), "server", "max_header_bytes", 10_000))
	wantStatus(t, p.Get("/x", "X-Long", strings.Repeat("x", 8_000)), 200)
	w := p.Wire()
	go w.Write([]byte("GET /long HTTP/1.1\r\nHost: x\r\nX-Long: " + strings.Repeat("x", 20_000) + "\r\n\r\n"))
	if got := w.Head("GET"); got.StatusCode != 431 {
		t.Errorf("status %d, want 431", got.StatusCode)
	}
	if len(b.Got("/long")) != 0 {
		t.Error("the long header was forwarded")
	}
}

func TestUpstreams_ResponseTimeoutIsToTheHeader(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		x.ReadBody()
		x.Write("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nslow")
		time.Sleep(3 * time.Second)
		x.Write("body")
	})
	p := pacetest.Start(t, set(upstreams(b), "upstreams", "response_timeout", "2s"))
	got := p.Get("/x")
	wantStatus(t, got, 200)
	if got.Body != "slowbody" {
		t.Errorf("body %q", got.Body)
	}
}

// TestUpstreams_ResponseTimeoutSparesTheUpload: the clock for the response starts when the
// request is out, not while a slow client still sends it.
func TestUpstreams_ResponseTimeoutSparesTheUpload(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, set(upstreams(b), "upstreams", "response_timeout", "2s"))
	w := p.Wire()
	w.Send("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nslow")
	time.AfterFunc(3*time.Second, func() { w.Write([]byte("body")) })
	wantStatus(t, w.Response("POST"), 200)
}

func TestUpstreams_ConnectTimeout(t *testing.T) {
	t.Parallel()
	p := pacetest.Start(t, set(upstreams(pacetest.NewBlackhole(t)), "upstreams", "connect_timeout", "300ms"))
	began := time.Now()
	wantStatus(t, p.Get("/x"), 504)
	if took := time.Since(began); took < 300*time.Millisecond || took > 10*time.Second {
		t.Errorf("gave up connecting after %v", took)
	}
}

func TestUpstreams_MaxIdlePerBackend(t *testing.T) {
	t.Parallel()
	b, open := warmBackend(t)
	p := pacetest.Start(t, set(upstreams(b), "upstreams", "max_idle_per_backend", 2))
	var clients sync.WaitGroup
	for range 6 {
		clients.Go(func() { p.Get("/warm-up") })
	}
	b.WantGot(6, "/warm-up")
	close(open)
	clients.Wait()
	pacetest.Eventually(t, func() error {
		if n := b.Open(); n > 2 {
			return notYet("%d idle connections, want 2", n)
		}
		return nil
	})
	wantStatus(t, p.Get("/x"), 200)
	if b.Accepted() != 6 {
		t.Errorf("%d connections were made, want 6: the seventh request had an idle one", b.Accepted())
	}
}

func TestUpstreams_IdleTimeout(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, set(upstreams(b), "upstreams", "idle_timeout", "2s"))
	wantStatus(t, p.Get("/x"), 200)
	if b.Open() != 1 {
		t.Errorf("%d connections are kept, want 1", b.Open())
	}
	wantLetGo(t, b)
}

func TestUpstreams_ConnectionsAreReused(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{
		"/chunked": chunkedWith("fine", 3, ""), "/trailers": chunkedWith("fine", 1, "X-Late: 1\r\n"), "/204": pacetest.Status(204, ""), "/": pacetest.Fine,
	}))
	p := pacetest.Start(t, upstreams(b))
	for range 5 {
		for _, path := range words("/fine /chunked /trailers /204") {
			if got := p.Send("POST", path, "data"); got.Err != nil || got.Status >= 300 {
				t.Errorf("%s: status %d, %v", path, got.Status, got.Err)
			}
		}
	}
	if b.Accepted() != 1 {
		t.Errorf("%d connections for 20 requests in a row, want 1", b.Accepted())
	}
}

// TestClient_BreaksOffInItsBody: half a body is never passed on as a whole one, and the side
// that left is the client.
func TestClient_BreaksOffInItsBody(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(b))
	w := p.Wire()
	w.Send("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf")
	b.WantGot(1, "/x")
	w.Leave()
	line := p.WantAccess("/x")
	if line.Text("outcome") != "client_gone" || line.Int("status") != 499 {
		t.Errorf("log says %s, %s; want client_gone, 499", line.Text("outcome"), line.Text("status"))
	}
	wantLetGo(t, b)
	pacetest.Eventually(t, func() error { return broken(b) })
}

// TestClient_StallsInItsBody: server.body_timeout bounds the wait for the next byte.
func TestClient_StallsInItsBody(t *testing.T) {
	t.Parallel()
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		b := pacetest.NewBackend(t, pacetest.Fine)
		p, spans := pacetest.StartTraced(t, set(upstreams(b), "server", "body_timeout", "300ms"))
		in, out := pacetest.Pipe()
		defer out.Close()
		req := p.Request("POST", "/x", "")
		req.Body, req.ContentLength = in, -1
		go io.WriteString(out, "half") // and no more
		got := pacetest.Do(mode.Client(t), req)
		wantStatus(t, got, 408)
		wantProxyStatus(t, got, "http_request_error")
		line := p.WantAccess("/x")
		if line.Text("outcome") != "request_timeout" || line.Int("status") != 408 || !strings.EqualFold(line.Text("level"), "warn") {
			t.Errorf("log says %s, %s, %s; want request_timeout, 408, warn", line.Text("outcome"), line.Text("status"), line.Text("level"))
		}
		server := pacetest.WantTrace(spans, 1, pacetest.Path("/x")).Server
		wantAttr(t, server.Attrs, "pace.outcome", "request_timeout")
		if server.StatusCode != otlp.Unset {
			t.Errorf("the span's status is %d, want unset", server.StatusCode)
		}
		p.WantMetric(1, "http_server_request_duration_seconds_count", "pace_outcome", "request_timeout", "http_response_status_code", "408")
		if len(b.Got("/x")) > 0 { // pace may have begun to send it on, or not
			pacetest.Eventually(t, func() error { return broken(b) })
		}
	})
}

// TestClient_TakesNothing: server.deliver_timeout bounds how long a client may hold a backend's
// connection by not reading.
func TestClient_TakesNothing(t *testing.T) {
	t.Parallel()
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
			x.Write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
			for piece := strings.Repeat("x", 1<<20); x.Write("%s", piece); {
			}
		})
		p, spans := pacetest.StartTraced(t, set(upstreams(b), "server", "deliver_timeout", "500ms"))
		resp, err := mode.Client(t).Do(p.Request("GET", "/x", ""))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close() // unread
		wantLetGo(t, b)
		line := p.WantAccess("/x")
		delivering, _ := line["deliver_ms"].(float64)
		if line.Text("outcome") != "client_aborted" || line.Int("status") != 200 || delivering < 500 {
			t.Errorf("log says %s, %s, delivered for %v ms; want client_aborted, 200, 500 at least", line.Text("outcome"), line.Text("status"), delivering)
		}
		server := pacetest.WantTrace(spans, 1, pacetest.Path("/x")).Server
		wantAttr(t, server.Attrs, "pace.outcome", "client_aborted")
		p.WantMetric(1, "http_server_request_duration_seconds_count", "pace_outcome", "client_aborted", "http_response_status_code", "200")
		if n, err := io.Copy(io.Discard, resp.Body); err == nil {
			t.Errorf("the answer looks whole after %d bytes", n)
		}
	})
}

// broken returns nil once the backend knows that the one body it got is not whole.
func broken(b *pacetest.Backend) error {
	if got := b.Requests(); len(got) != 1 || got[0].BodyErr == nil {
		return notYet("half a body has not ended as broken for the backend: %+v", got)
	}
	return nil
}

func TestClient_AsksForATunnel(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(b))
	w := p.Wire()
	w.Send("CONNECT " + b.Address() + " HTTP/1.1\r\nHost: " + b.Address() + "\r\n\r\n")
	got := w.Response("GET")
	wantStatus(t, got, 400)
	wantProxyStatus(t, got, "http_request_error")
	p.WantMetric(1, "http_server_request_duration_seconds_count", "pace_outcome", "bad_request", "http_request_method", "CONNECT")
	p.WantMetric(1, "http_requests_duration_seconds_count", "method", "CONNECT", "status", "400")
	if n := len(b.Requests()); n != 0 {
		t.Errorf("the backend got %d requests", n)
	}
}

func TestClient_SendsAMalformedBody(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(b))
	w := p.Wire()
	w.Send("POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n")
	got := w.Response("POST")
	if got.Status != 400 {
		t.Errorf("status %d, want 400", got.Status)
	}
	if line := p.WantAccess("/x"); line.Text("outcome") != "bad_request" || line.Int("status") != 400 || !strings.EqualFold(line.Text("level"), "warn") {
		t.Errorf("log says %s, %s, %s; want bad_request, 400, warn", line.Text("outcome"), line.Text("status"), line.Text("level"))
	}
	pacetest.Eventually(t, func() error {
		for _, r := range b.Got("/x") {
			if r.BodyErr == nil {
				return notYet("the malformed body has not ended as broken for the backend")
			}
		}
		return nil
	})
	p.WantMetric(1, "http_server_request_duration_seconds_count", "pace_outcome", "bad_request", "http_response_status_code", "400")
}

// TestClient_CancelsOverH2 is client_gone and client_aborted for streams.
func TestClient_CancelsOverH2(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{"/wait": pacetest.Hang, "/": pacetest.Endless}))
	p := pacetest.Start(t, upstreams(b))
	c := pacetest.H2C.Client(t)

	waiting := pacetest.NewCancelled(p.Request("GET", "/wait", ""))
	ended := make(chan error, 1)
	go func() { ended <- pacetest.Do(c, waiting.Request).Err }()
	b.WantGot(1, "/wait")
	waiting.Cancel()
	if err := <-ended; err == nil {
		t.Error("the cancelled request got an answer")
	}
	if line := p.WantAccess("/wait"); line.Text("outcome") != "client_gone" || line.Int("status") != 499 {
		t.Errorf("log says %s, %s; want client_gone, 499", line.Text("outcome"), line.Text("status"))
	}

	inBody := pacetest.NewCancelled(p.Request("GET", "/endless", ""))
	resp, err := c.Do(inBody.Request)
	if err != nil {
		t.Fatal(err)
	}
	io.CopyN(io.Discard, resp.Body, 100_000)
	inBody.Cancel()
	if line := p.WantAccess("/endless"); line.Text("outcome") != "client_aborted" || line.Int("status") != 200 {
		t.Errorf("log says %s, %s; want client_aborted, 200", line.Text("outcome"), line.Text("status"))
	}
	wantLetGo(t, b)
	p.WantMetric(1, "http_server_request_duration_seconds_count", "pace_outcome", "client_gone", "http_response_status_code", strconv.Itoa(499))
	p.WantMetric(1, "http_server_request_duration_seconds_count", "pace_outcome", "client_aborted", "http_response_status_code", strconv.Itoa(http.StatusOK))
}

// TestClient_TakesNothingOfItsConnection over HTTP/2, whose windows are open: it ends after the same time, and if it
// may take nothing for ever, when one of its requests has to end.
func TestClient_TakesNothingOfItsConnection(t *testing.T) {
	t.Parallel()
	ca := pacetest.NewCA(t)
	certificate := ca.Issue("pace.test")
	for _, tt := range []struct {
		deliver, timeout string // of the server, of the route
		want             string
		from, to         float64 // delivery in ms
	}{
		{"6s", "0s", "client_aborted", 6000, 10_000}, // and not twice as long
		{"0s", "1s", "route_timeout", 1000, 7500},
	} {
		t.Run("deliver_timeout = "+tt.deliver, func(t *testing.T) {
			t.Parallel()
			b := pacetest.NewBackend(t, pacetest.Endless)
			c := overTLS(set(upstreams(b), "server", "deliver_timeout", tt.deliver), certificate)
			c["listener.b"] = pacetest.Table{"listen": "127.0.0.1:0"}
			p := pacetest.Start(t, c.WithRoutes(pacetest.Table{"match": "/", "upstream": "default", "timeout": tt.timeout}))
			for i, over := range []*tls.Config{ca.Config("pace.test"), nil} {
				w := pacetest.DialH2Wire(t, p.Listeners[i], over)
				w.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
				w.WriteWindowUpdate(0, 1<<30)
				path := fmt.Sprintf("/%d", i)
				w.Headers(1, true, pacetest.H2Request("GET", path)...)
				line := p.WantAccess(path)
				if ms, _ := line["deliver_ms"].(float64); line.Text("outcome") != tt.want || ms < tt.from || ms > tt.to {
					t.Errorf("over TLS %v: log says %s, delivered for %v ms; want %s, %v to %v", over != nil, line.Text("outcome"), ms, tt.want, tt.from, tt.to)
				}
			}
			if tt.deliver != "0s" {
				p.WantMetric(0, "pace_connections")
			}
		})
	}
}
