package contract

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"pace/e2e/pacetest"
)

// h3End is one way in which a request over HTTP/3 ends.
type h3End struct {
	name    string
	server  map[string]any // keys of [server]
	backend pacetest.Behaviour
	act     func(t *testing.T, s h3Scene)

	outcome, side string
	status        int // in telemetry
	whole         bool
}

type h3Scene struct {
	p  *pacetest.Pace
	b  *pacetest.Backend
	ca *pacetest.CA
}

// client returns a client of its own.
func (s h3Scene) client() *pacetest.H3Client { return s.ca.H3("pace.test") }

// h3Leaves sends a request and cancels it once the backend has seen it.
func h3Leaves(method string, body io.Reader) func(*testing.T, h3Scene) {
	return func(t *testing.T, s h3Scene) {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			s.b.WantGot(1, "/x")
			time.Sleep(20 * time.Millisecond)
			cancel()
		}()
		if _, err := s.client().Do(h3Request(t, s.p, method, "/x", body).WithContext(ctx)); !errors.Is(err, context.Canceled) {
			t.Errorf("the client got %v", err)
		}
	}
}

// h3Gets sends a request and wants a whole response with this status; 0: one that is not whole.
func h3Gets(status int, method string, body func() io.Reader) func(*testing.T, h3Scene) {
	return func(t *testing.T, s h3Scene) {
		got := pacetest.Do(s.client().Client, h3Request(t, s.p, method, "/x", body()))
		switch {
		case status == 0 && got.Err == nil:
			t.Errorf("the response looks whole: %d, %d bytes", got.Status, len(got.Body))
		case status != 0 && (got.Status != status || got.Err != nil):
			t.Errorf("the client got status %d, %v; want %d", got.Status, got.Err, status)
		}
	}
}

func noBody() io.Reader { return nil }

// forever is a body of which only a few bytes come.
func forever() io.Reader { return io.MultiReader(strings.NewReader("some"), pacetest.Never{}) }

var h3Post = []string{":method", "POST", ":scheme", "https", ":authority", "pace.test", ":path", "/x"}

// h3Sends writes frames on a stream, and what the client does with it.
func h3Sends(frames func() []byte, then func(w *pacetest.H3Wire, s *quic.Stream)) func(*testing.T, h3Scene) {
	return func(t *testing.T, s h3Scene) {
		w := s.ca.H3Wire(s.p.Proxy, "pace.test")
		then(w, w.Stream(frames()))
	}
}

func h3Head(pairs ...string) func() []byte {
	return func() []byte { return pacetest.H3Headers(append(append([]string{}, h3Post...), pairs...)...) }
}

func h3Ends() []h3End {
	silent := func(x *pacetest.Exchange) { x.AwaitClose() }
	half := func(x *pacetest.Exchange) {
		x.Write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
		x.AwaitClose()
	}
	reads := func(x *pacetest.Exchange) { x.ReadBody(); pacetest.Fine(x) }
	return []h3End{
		{name: "the client leaves while it waits", backend: silent, act: h3Leaves("GET", nil), outcome: "client_gone", side: "client", status: 499},
		{name: "the client leaves during its upload", backend: reads, act: h3Leaves("POST", forever()), outcome: "client_gone", side: "client", status: 499},
		{name: "the client closes the connection while it waits", backend: silent, outcome: "client_gone", side: "client", status: 499,
			act: func(t *testing.T, s h3Scene) {
				w := s.ca.H3Wire(s.p.Proxy, "pace.test")
				w.Stream(h3Head()()).Close()
				s.b.WantGot(1, "/x")
				w.CloseWithError(0x100, "")
			}},
		{name: "the client resets its upload", backend: reads, outcome: "client_gone", side: "client", status: 499,
			act: func(t *testing.T, s h3Scene) {
				upload := s.ca.H3Wire(s.p.Proxy, "pace.test").Stream(h3Head("content-length", "10")())
				upload.Write(pacetest.H3Data("half"))
				s.b.WantGot(1, "/x") // or the reset overtakes the header
				upload.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
				upload.Read(make([]byte, 1))
			}},
		{name: "the client leaves the response", backend: half, outcome: "client_aborted", side: "client", status: 200,
			act: func(t *testing.T, s h3Scene) {
				resp, err := s.client().Do(h3Request(t, s.p, "GET", "/x", nil))
				if err != nil {
					t.Fatal(err)
				}
				io.ReadFull(resp.Body, make([]byte, 4))
				resp.Body.Close()
			}},
		{name: "the client takes nothing", server: map[string]any{"deliver_timeout": "500ms"}, outcome: "client_aborted", side: "client", status: 200,
			backend: func(x *pacetest.Exchange) {
				x.Write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
				for piece := strings.Repeat("x", 1<<20); x.Write("%s", piece); {
				}
			},
			act: func(t *testing.T, s h3Scene) {
				resp, err := s.client().Do(h3Request(t, s.p, "GET", "/x", nil))
				if err != nil {
					t.Fatal(err)
				}
				wantLetGo(t, s.b)
				if n, err := io.Copy(io.Discard, resp.Body); err == nil {
					t.Errorf("the response looks whole after %d bytes", n)
				}
			}},
		{name: "the client sends nothing more of its body", server: map[string]any{"body_timeout": "300ms"}, backend: reads,
			act: h3Gets(408, "POST", forever), outcome: "request_timeout", side: "client", status: 408, whole: true},
		{name: "a body that is announced as too large", server: map[string]any{"max_body_bytes": 10}, backend: reads,
			act: h3Gets(413, "POST", func() io.Reader { return strings.NewReader("more than ten bytes") }), outcome: "too_large", side: "client", status: 413, whole: true},
		{name: "a body that turns out too large", server: map[string]any{"max_body_bytes": 10}, backend: reads,
			act: h3Gets(413, "POST", func() io.Reader { return struct{ io.Reader }{strings.NewReader("more than ten bytes")} }), outcome: "too_large", side: "client", status: 413, whole: true},
		{name: "a body that is longer than announced", backend: reads, outcome: "bad_request", side: "client", status: 400,
			act: h3Sends(h3Head("content-length", "3"), func(w *pacetest.H3Wire, s *quic.Stream) { s.Write(pacetest.H3Data("hello")); s.Close(); io.ReadAll(s) })},
		{name: "a body that is shorter than announced", backend: reads, outcome: "bad_request", side: "client", status: 400,
			act: h3Sends(h3Head("content-length", "9"), func(w *pacetest.H3Wire, s *quic.Stream) { s.Write(pacetest.H3Data("hello")); s.Close(); io.ReadAll(s) })},
		{name: "a frame that may not come there", backend: reads, outcome: "bad_request", side: "client", status: 400,
			act: h3Sends(h3Head(), func(w *pacetest.H3Wire, s *quic.Stream) {
				s.Write(append(pacetest.H3Data("hello"), 4, 0)) // SETTINGS
				io.ReadAll(s)
			})},
		{name: "CONNECT for another protocol", backend: reads, outcome: "bad_request", side: "client", status: 400, whole: true,
			act: h3Sends(func() []byte {
				return pacetest.H3Headers(":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "pace.test", ":path", "/x")
			}, func(w *pacetest.H3Wire, s *quic.Stream) { s.Close(); io.ReadAll(s) })},
		{name: "the backend cuts the response", backend: func(x *pacetest.Exchange) {
			x.Write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
			x.Drop()
		}, act: h3Gets(0, "GET", noBody), outcome: "upstream_truncated", side: "backend", status: 200},
		{name: "the backend cuts the request", backend: func(x *pacetest.Exchange) { x.Reset() },
			act: h3Gets(502, "GET", noBody), outcome: "upstream_reset", side: "backend", status: 502, whole: true},
		{name: "the backend is silent", server: nil, backend: silent,
			act: h3Gets(504, "GET", noBody), outcome: "upstream_timeout", side: "backend", status: 504, whole: true},
	}
}

// How a request over HTTP/3 ends is said by client and backend, and line and metric have the same, with the right side.
func TestH3_Ends(t *testing.T) {
	t.Parallel()
	for _, tt := range h3Ends() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := pacetest.NewBackend(t, tt.backend)
			ca := pacetest.NewCA(t)
			c := set(overH3(upstreams(b), ca.Issue("pace.test")), "upstreams", "max_retries", 0)
			if tt.outcome == "upstream_timeout" {
				c = set(c, "upstreams", "response_timeout", "300ms")
			}
			for key, value := range tt.server {
				c = set(c, "server", key, value)
			}
			p := pacetest.Start(t, c)
			tt.act(t, h3Scene{p, b, ca})
			line := p.WantAccess("/x")
			if line.Text("outcome") != tt.outcome || line.Int("status") != tt.status {
				t.Errorf("the line says %s, %d; want %s, %d: %v", line.Text("outcome"), line.Int("status"), tt.outcome, tt.status, line)
			}
			p.WantMetric(1, "pace_requests_total", "pace_outcome", tt.outcome, "pace_side", tt.side)
			p.WantMetric(1, "pace_protocol_requests_total", "network_protocol_version", "3")
			p.WantMetric(0, "pace_refused_total", "reason", "header_too_large")
		})
	}
}

// Trailers pass both ways over HTTP/3, announced or not, and an interim response comes before the response.
func TestH3_TrailersAndInterim(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		x.Write("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
		x.ReadBody()
		x.Write("HTTP/1.1 200 OK\r\nContent-Type: text/x\r\nX-Field: 3\r\nTransfer-Encoding: chunked\r\nTrailer: X-Announced\r\n\r\n2\r\nhi\r\n0\r\nX-Announced: 1\r\nX-Other: 2\r\n\r\n")
	})
	ca := pacetest.NewCA(t)
	p := pacetest.Start(t, overH3(upstreams(b), ca.Issue("pace.test")))
	var hints []string
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		hints = append(hints, fmt.Sprint(code, h.Get("Link")))
		return nil
	}})
	req := h3Request(t, p, "POST", "/x", struct{ io.Reader }{strings.NewReader("body")}).WithContext(ctx)
	req.Header.Set("Te", "trailers")
	req.Trailer = http.Header{"X-Sum": {"4"}}
	got := pacetest.Do(ca.H3("pace.test").Client, req)
	wantStatus(t, got, 200)
	if fmt.Sprint(hints) != "[103</a>]" {
		t.Errorf("interim responses: %q", hints)
	}
	for name, want := range map[string]string{"Content-Type": "text/x", "X-Field": "3", "Via": "1.1 pace", "Content-Length": ""} {
		if value := got.Header.Get(name); value != want {
			t.Errorf("the client got %s: %q, want %q", name, value, want)
		}
	}
	if got.Header.Get("X-Request-Id") == "" {
		t.Errorf("the client got no id: %v", got.Header)
	}
	if got.Body != "hi" || got.Trailer.Get("X-Announced") != "1" || got.Trailer.Get("X-Other") != "2" {
		t.Errorf("the client got %q, trailer %v", got.Body, got.Trailer)
	}
	asked := b.WantGot(1, "/x")[0]
	if string(asked.Body) != "body" || asked.Trailer.Get("X-Sum") != "4" {
		t.Errorf("the backend got %q, trailer %v", asked.Body, asked.Trailer)
	}
}

// A client that waits for 100 gets it before it sends its body.
func TestH3_ExpectContinue(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) { x.ReadBody(); pacetest.Fine(x) })
	ca := pacetest.NewCA(t)
	p := pacetest.Start(t, overH3(upstreams(b), ca.Issue("pace.test")))
	w := ca.H3Wire(p.Proxy, "pace.test")
	s := w.Stream(h3Head("expect", "100-continue", "content-length", "4")())
	first := make([]byte, 1)
	if _, err := s.Read(first); err != nil || first[0] != 1 {
		t.Fatalf("no HEADERS come before the body: %v, %v", first, err)
	}
	s.Write(pacetest.H3Data("body"))
	s.Close()
	io.ReadAll(s)
	if line := p.WantAccess("/x"); line.Text("outcome") != "ok" {
		t.Errorf("the line says %v", line)
	}
	if got := b.WantGot(1, "/x")[0]; string(got.Body) != "body" {
		t.Errorf("the backend got %q", got.Body)
	}
}

// The length of a response to HEAD is what the backend said, and none if it said none.
func TestH3_Head(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		x.Write("HTTP/1.1 200 OK\r\n%s\r\n", map[string]string{"/none": "", "/zero": "Content-Length: 0\r\n", "/some": "Content-Length: 7\r\n"}[x.Target])
	})
	ca := pacetest.NewCA(t)
	p := pacetest.Start(t, overH3(upstreams(b), ca.Issue("pace.test")))
	client := ca.H3("pace.test")
	for path, want := range map[string]string{"/none": "[]", "/zero": "[0]", "/some": "[7]"} {
		got := pacetest.Do(client.Client, h3Request(t, p, "HEAD", path, nil))
		wantStatus(t, got, 200)
		if length := fmt.Sprint(got.Header["Content-Length"]); length != want {
			t.Errorf("%s: Content-Length is %s, want %s", path, length, want)
		}
	}
}

// A client and a backend over HTTP/2 talk to each other, though each waits for the other before it says more.
func TestH3_PingPong(t *testing.T) {
	t.Parallel()
	const rounds = 5
	b := pacetest.NewH2Backend(t, nil, func(x *pacetest.H2Exchange) {
		for i := range rounds {
			x.AwaitBody(4 * (i + 1))
			if i == 0 {
				x.SendHeader(false, ":status", "200")
			}
			x.SendData(false, "pong")
		}
		x.AwaitEnd()
		x.SendData(true, "")
	})
	ca := pacetest.NewCA(t)
	p := pacetest.Start(t, overH3(upstreams(b), ca.Issue("pace.test")))
	w := ca.H3Wire(p.Proxy, "pace.test")
	s := w.Stream(append(h3Head()(), pacetest.H3Data("ping")...))
	r := bufio.NewReader(s)
	for i := range rounds {
		if i > 0 {
			s.Write(pacetest.H3Data("ping"))
		}
		for {
			kind, payload, err := pacetest.H3Frame(r)
			if err != nil {
				t.Fatalf("no response to message %d: %v", i+1, err)
			}
			if kind == 0 && len(payload) > 0 {
				if string(payload) != "pong" {
					t.Fatalf("message %d got %q", i+1, payload)
				}
				break
			}
		}
	}
	s.Close()
	if rest, err := io.ReadAll(r); err != nil {
		t.Errorf("the end is %q, %v", rest, err)
	}
	if line := p.WantAccess("/x"); line.Text("outcome") != "ok" || line.Text("grpc_status") != "" {
		t.Errorf("the line says %v", line)
	}
}

// A gRPC call passes over HTTP/3, also one whose server speaks first, and its outcome is that of its code.
func TestH3_GRPC(t *testing.T) {
	t.Parallel()
	const message = "\x00\x00\x00\x00\x02hi"
	spoken := make(chan struct{})
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		if x.Target == "/first" {
			x.Write("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n" + message + "\r\n")
			<-spoken
			x.ReadBody()
			x.Write("0\r\nGrpc-Status: 14\r\n\r\n")
			return
		}
		x.ReadBody()
		x.Write("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n" + message + "\r\n0\r\nGrpc-Status: 0\r\n\r\n")
	})
	ca := pacetest.NewCA(t)
	p := pacetest.Start(t, overH3(upstreams(b), ca.Issue("pace.test")))
	call := func(path string, body io.Reader) *http.Request {
		req := h3Request(t, p, "POST", path, body)
		req.Header.Set("Content-Type", "application/grpc")
		req.Header.Set("Te", "trailers")
		return req
	}
	client := ca.H3("pace.test")
	got := pacetest.Do(client.Client, call("/unary", strings.NewReader(message)))
	wantStatus(t, got, 200)
	if got.Body != message || got.Trailer.Get("Grpc-Status") != "0" {
		t.Errorf("the client got %q, trailer %v", got.Body, got.Trailer)
	}
	r, w := io.Pipe()
	resp, err := client.Do(call("/first", r))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, len(message))); err != nil {
		t.Fatal(err)
	}
	close(spoken)
	io.WriteString(w, message)
	w.Close()
	if rest := pacetest.Read(resp); rest.Err != nil || rest.Trailer.Get("Grpc-Status") != "14" {
		t.Errorf("the client got %q, %v, trailer %v", rest.Body, rest.Err, rest.Trailer)
	}
	if line := p.WantAccess("/unary"); line.Text("outcome") != "ok" || line.Text("grpc_status") != "0" {
		t.Errorf("the line says %v", line)
	}
	if line := p.WantAccess("/first"); line.Text("outcome") != "upstream_error" || line.Text("grpc_status") != "14" {
		t.Errorf("the line says %v", line)
	}
}
