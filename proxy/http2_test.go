package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"pace/telemetry/metrics"
)

// TestHTTP2 holds what becomes of requests that come by HTTP/2 to the same words.
func TestHTTP2(t *testing.T) {
	t.Parallel()
	hang := func(c net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) }
	for name, tt := range map[string]struct {
		backend func(net.Conn, *bufio.Reader)
		change  func(*setup)
		ask     func(ctx context.Context, p *proxied, client *http.Client) string
		want    string
		outcome string
		status  float64
	}{
		"an answer": {responding(func(q *http.Request, body string) string { return ok(q.Header.Get("Via") + " " + body) }), nil,
			post(strings.NewReader("hello"), 5), "200 2 pace hello", "ok", 200},
		"a body of unknown length": {responding(func(q *http.Request, body string) string { return ok(fmt.Sprint(q.TransferEncoding, body)) }), nil,
			post(strings.NewReader("hello"), -1), "200 [chunked]hello", "ok", 200},
		"a body that breaks off": {func(c net.Conn, r *bufio.Reader) {
			http.ReadRequest(r)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
		}, nil, post(nil, 0), "200 half broken off", "upstream_truncated", 200},
		"a body over the limit, by its length": {hang, func(o *setup) { o.MaxBodyBytes = 3 }, post(strings.NewReader("hello"), 5), "413 The body of the request is larger than this proxy allows.\nOutcome: too_large\n", "too_large", 413},
		"a body over the limit, as it comes":   {hang, func(o *setup) { o.MaxBodyBytes = 3 }, post(strings.NewReader("hello"), -1), "413 The body of the request is larger than this proxy allows.\nOutcome: too_large\n", "too_large", 413},
		"a body that stalls":                   {hang, func(o *setup) { o.BodyTimeout = 50 * time.Millisecond }, post(stall("hel"), -1), "408 The body of the request did not arrive in time.\nOutcome: request_timeout\n", "request_timeout", 408},
		"a backend that breaks off while the client sends": {func(c net.Conn, r *bufio.Reader) { http.ReadRequest(r); reset(c) }, nil,
			post(stall("hel"), -1), "502 The backend closed the connection before its response was complete.\nOutcome: upstream_reset\n", "upstream_reset", 502},
		"an answer that comes before the request's end": {early, nil, post(stall("hel"), -1), "403 no", "client_error", 403},
		"a query with a blank": {hang, nil,
			func(ctx context.Context, p *proxied, client *http.Client) string {
				r, _ := http.NewRequestWithContext(ctx, "GET", p.URL, nil)
				r.URL.RawQuery = "a b"
				return seen(client.Do(r))
			}, "400 The proxy cannot forward this request.\nOutcome: bad_request\n", "bad_request", 400},
		"a client that leaves while it waits": {hang, nil, func(ctx context.Context, p *proxied, client *http.Client) string {
			ctx, cancel := context.WithCancel(ctx)
			go func() {
				for in := p.inFlight(); len(in) == 0 || in[0].Phase != "wait"; in = p.inFlight() {
					time.Sleep(time.Millisecond)
				}
				cancel()
			}()
			return post(nil, 0)(ctx, p, client)
		}, "left", "client_gone", 499},
		"a client that leaves in the body": {func(c net.Conn, r *bufio.Reader) {
			http.ReadRequest(r)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
			io.Copy(io.Discard, r)
		}, nil, func(ctx context.Context, p *proxied, client *http.Client) string {
			ctx, cancel := context.WithCancel(ctx)
			r, _ := http.NewRequestWithContext(ctx, "GET", p.URL, nil)
			resp, err := client.Do(r)
			if err != nil {
				cancel()
				return err.Error()
			}
			b := make([]byte, 4)
			io.ReadFull(resp.Body, b)
			cancel()
			return string(b)
		}, "half", "client_aborted", 200},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, tt.change, rawOrigin(t, tt.backend))
			if got := tt.ask(t.Context(), p, h2Client(t)); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if l := p.line(t); l["outcome"] != tt.outcome || l["status"] != tt.status {
				t.Errorf("got %v, want %s", l, tt.outcome)
			}
			if n := p.metric(t, metrics.ServerDuration.Name, "pace_outcome", tt.outcome); n != 1 {
				t.Errorf("%v in the histogram, want 1", n)
			}
			if n := p.metric(t, metrics.Refused.Name); n != 0 {
				t.Errorf("%v were counted as refused", n)
			}
		})
	}
}

// post sends this body, and sees the answer.
func post(body io.Reader, length int64) func(context.Context, *proxied, *http.Client) string {
	return func(ctx context.Context, p *proxied, client *http.Client) string {
		r, err := http.NewRequestWithContext(ctx, "POST", p.URL, body)
		if err != nil {
			return err.Error()
		}
		r.ContentLength = length
		return seen(client.Do(r))
	}
}

func seen(resp *http.Response, err error) string {
	if errors.Is(err, context.Canceled) {
		return "left"
	} else if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	if resp.ProtoMajor != 2 {
		return resp.Proto
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Sprintf("%d %s broken off", resp.StatusCode, b)
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, b)
}

// sendHTTP2 sends a request without a body that has these fields, name and value in turn, on a
// connection of its own. net/http's client would put some of them right.
func (p *proxied) sendHTTP2(t testing.TB, fields ...string) {
	t.Helper()
	var block []byte
	for i := 0; i < len(fields); i += 2 { // literals that nobody indexes (RFC 7541 §6.2.2), shorter than 127 bytes
		block = append(append(append(block, 0, byte(len(fields[i]))), fields[i]...), byte(len(fields[i+1])))
		block = append(block, fields[i+1]...)
	}
	const settings, headers, endStream, endHeaders = 4, 1, 1, 4 // RFC 9113 §6
	c, _ := p.dial(t)
	io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	c.Write([]byte{0, 0, 0, settings, 0, 0, 0, 0, 0})
	c.Write(append([]byte{0, byte(len(block) >> 8), byte(len(block)), headers, endStream | endHeaders, 0, 0, 0, 1}, block...))
}

// stalling is a body that has no end, and after its head no more.
type stalling struct {
	head    io.Reader
	stopped chan struct{}
}

func stall(head string) *stalling { return &stalling{strings.NewReader(head), make(chan struct{})} }

func (s *stalling) Read(b []byte) (int, error) {
	if n, _ := s.head.Read(b); n > 0 {
		return n, nil
	}
	<-s.stopped
	return 0, io.ErrUnexpectedEOF
}

func (s *stalling) Close() error { close(s.stopped); return nil }

// Many requests at a time on one connection do not get in each other's way.
func TestHTTP2_ConcurrentSafe(t *testing.T) {
	t.Parallel()
	backend := origin(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Write(b)
	})
	p := start(t, nil, backend)
	client := h2Client(t)
	post(nil, 0)(t.Context(), p, client) // connects
	const requests = 100
	responses := make(chan string, requests)
	for i := range requests {
		go func() {
			responses <- post(strings.NewReader(fmt.Sprint(i)), -1)(t.Context(), p, client) + fmt.Sprintf(" of %d", i)
		}()
	}
	for range requests {
		var got, want int
		if a := <-responses; true {
			if n, err := fmt.Sscanf(a, "200 %d of %d", &got, &want); n != 2 || got != want {
				t.Errorf("got %q, %v", a, err)
			}
		}
	}
	if n := p.metric(t, metrics.Connections.Name); n != 1 {
		t.Errorf("%v connections, want 1", n)
	}
	p.lines(t, requests+1)
}
