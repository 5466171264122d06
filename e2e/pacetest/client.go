package pacetest

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// Mode is a protocol that clients speak to pace.
type Mode string

const (
	H1  Mode = "h1"
	H2C Mode = "h2c"
)

// Run runs f over each protocol that there is without TLS.
func Run(t *testing.T, f func(t *testing.T, mode Mode)) { run(t, f, H1, H2C) }

// RunTLS runs f over each protocol that there is over TLS.
func RunTLS(t *testing.T, f func(t *testing.T, mode Mode)) { run(t, f, H1, H2C, H3) }

func run(t *testing.T, f func(t *testing.T, mode Mode), modes ...Mode) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			f(t, mode)
		})
	}
}

// Client returns a client that speaks mode, follows no redirect, asks for no compression
// and keeps its own connections.
func (mode Mode) Client(t testing.TB) *http.Client {
	tr := &http.Transport{DisableCompression: true, Protocols: new(http.Protocols), MaxIdleConnsPerHost: 128}
	if mode == H2C {
		tr.Protocols.SetUnencryptedHTTP2(true)
	} else {
		tr.Protocols.SetHTTP1(true)
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{
		Transport:     tr,
		Timeout:       2 * Patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Response is a response as far as a client received it.
type Response struct {
	Status  int // 0: no response header came
	Header  http.Header
	Trailer http.Header
	Body    string
	Err     error // why there is no response header, or why its body is incomplete
}

// Do sends req with c and reads the response to its end.
func Do(c *http.Client, req *http.Request) Response {
	resp, err := c.Do(req)
	if err != nil {
		return Response{Err: err}
	}
	return Read(resp)
}

// Read reads a response to its end.
func Read(resp *http.Response) Response {
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return Response{resp.StatusCode, resp.Header, resp.Trailer, string(body), err}
}

// Get sends a GET for path to pace on a connection of its own; pairs are header names and
// values.
func (p *Pace) Get(path string, pairs ...string) Response {
	return p.Send("GET", path, "", pairs...)
}

// Send sends a request with body to pace on a connection of its own.
func (p *Pace) Send(method, path, body string, pairs ...string) Response {
	p.t.Helper()
	return Do(H1.Client(p.t), p.Request(method, path, body, pairs...))
}

// Request makes a request for pace; pairs are header names and values.
func (p *Pace) Request(method, path, body string, pairs ...string) *http.Request {
	p.t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := newRequest(method, "http://"+p.Proxy+path, r, pairs...)
	if err != nil {
		p.t.Fatal(err)
	}
	return req
}

func newGet(url string, pairs ...string) (*http.Request, error) {
	return newRequest("GET", url, nil, pairs...)
}

func newRequest(method, url string, body io.Reader, pairs ...string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(context.Background(), method, url, body)
	if err != nil {
		return nil, err
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i] == "Host" {
			req.Host = pairs[i+1]
			continue
		}
		req.Header.Add(pairs[i], pairs[i+1])
	}
	return req, nil
}

// Wire is a client that writes and reads raw bytes.
type Wire struct {
	*net.TCPConn
	R *bufio.Reader
	t testing.TB
}

// Wire connects to pace's proxy listener.
func (p *Pace) Wire() *Wire {
	p.t.Helper()
	return DialWire(p.t, p.Proxy)
}

// DialWire connects to addr. Reads and writes end after twice [Patience] at the latest.
func DialWire(t testing.TB, addr string) *Wire {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(2 * Patience))
	return &Wire{c.(*net.TCPConn), bufio.NewReader(c), t}
}

// Send writes raw bytes.
func (w *Wire) Send(raw string) {
	w.t.Helper()
	if _, err := io.WriteString(w, raw); err != nil {
		w.t.Fatal(err)
	}
}

// Head reads one response header, 1xx included, for a request of method.
func (w *Wire) Head(method string) *http.Response {
	w.t.Helper()
	resp, err := http.ReadResponse(w.R, &http.Request{Method: method})
	if err != nil {
		w.t.Fatalf("no response header: %v", err)
	}
	return resp
}

// Response reads a whole response, 1xx not skipped.
func (w *Wire) Response(method string) Response {
	w.t.Helper()
	return Read(w.Head(method))
}

// Rest reads until pace closes; the error is nil after a FIN.
func (w *Wire) Rest() (string, error) {
	rest, err := io.ReadAll(w.R)
	return string(rest), err
}

// Leave aborts the connection with RST.
func (w *Wire) Leave() {
	w.SetLinger(0)
	w.Close()
}

// Cancelled is a request that its client can cancel.
type Cancelled struct {
	Request *http.Request
	Cancel  context.CancelFunc
}

// NewCancelled makes req one.
func NewCancelled(req *http.Request) Cancelled {
	ctx, cancel := context.WithCancel(req.Context())
	return Cancelled{req.WithContext(ctx), cancel}
}

// Pipe is a request's body that the test writes piece by piece. It fails after [Patience], because
// net/http's client waits for its body even when the connection is closed.
func Pipe() (*io.PipeReader, *io.PipeWriter) {
	in, out := io.Pipe()
	time.AfterFunc(Patience, func() { out.CloseWithError(os.ErrDeadlineExceeded) })
	return in, out
}
