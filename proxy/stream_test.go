package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"pace/telemetry/metrics"
)

const (
	switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	askSwitch = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
)

// TestStreams_CloseReasons lets each side end a WebSocket in each way.
func TestStreams_CloseReasons(t *testing.T) {
	t.Parallel()
	half := func(c net.Conn) { c.(*net.TCPConn).CloseWrite() }
	drained := func(c net.Conn) { io.Copy(io.Discard, c); c.Close() }
	for name, tt := range map[string]struct {
		client, backend func(net.Conn) // how each behaves after ten bytes from each side
		reason          string
	}{
		"the client says goodbye":            {half, drained, "client_closed"},
		"the backend says goodbye":           {drained, half, "backend_closed"},
		"the client's connection is lost":    {reset, drained, "client_lost"},
		"the backend's connection is lost":   {drained, reset, "backend_lost"},
		"the client closes and hears no end": {func(c net.Conn) { c.Close() }, drained, "client_closed"},
	} {
		t.Run(name, func(t *testing.T) {
			backend := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
				http.ReadRequest(r)
				io.WriteString(c, switching)
				io.CopyN(io.Discard, r, 10)
				io.WriteString(c, "0123456789")
				tt.backend(c)
			})
			p := start(t, nil, backend)
			c, r := p.dial(t)
			io.WriteString(c, askSwitch)
			if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "websocket" {
				t.Fatalf("got %v, %v", resp, err)
			}
			io.WriteString(c, "abcdefghij")
			if b, err := r.Peek(10); string(b) != "0123456789" {
				t.Fatalf("got %q, %v", b, err)
			}
			tt.client(c)
			l := p.line(t)
			if l["outcome"] != "upgraded" || l["status"] != 101.0 || l["stream"] != "websocket" || l["close_reason"] != tt.reason || l["bytes_in"] != 10.0 || l["bytes_out"] != 10.0 || l["level"] != "INFO" {
				t.Errorf("got %v, want %s", l, tt.reason)
			}
			if n := p.metric(t, metrics.StreamDuration.Name, "kind", "websocket", "pace_close_reason", tt.reason); n != 1 {
				t.Errorf("%v in the streams' histogram, want 1", n)
			}
			in, out := p.metric(t, metrics.StreamBytes.Name, "kind", "websocket", "direction", "received"), p.metric(t, metrics.StreamBytes.Name, "kind", "websocket", "direction", "sent")
			if in != 10 || out != 10 || p.metric(t, metrics.Streams.Name) != 0 {
				t.Errorf("%v bytes received, %v sent, %v streams open", in, out, p.metric(t, metrics.Streams.Name))
			}
			if n := p.metric(t, metrics.ServerDuration.Name, "pace_outcome", "upgraded"); n != 1 {
				t.Errorf("%v in the requests' histogram, want 1: the header", n)
			}
		})
	}
}

// What either side sends right behind its header is neither lost nor counted twice.
func TestStreams_EarlyBytes(t *testing.T) {
	t.Parallel()
	backend := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		io.WriteString(c, switching+"early ")
		io.Copy(c, r)
		c.(*net.TCPConn).CloseWrite()
	})
	p := start(t, nil, backend)
	c, r := p.dial(t)
	io.WriteString(c, askSwitch+"client ")
	if _, err := http.ReadResponse(r, nil); err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "later")
	c.(*net.TCPConn).CloseWrite()
	if b, err := io.ReadAll(r); string(b) != "early client later" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
	l := p.line(t)
	in, out := p.metric(t, metrics.StreamBytes.Name, "direction", "received"), p.metric(t, metrics.StreamBytes.Name, "direction", "sent")
	if l["bytes_in"] != 12.0 || l["bytes_out"] != 18.0 || in != 12 || out != 18 {
		t.Errorf("the line has %v and %v, the counters %v and %v; want 12 and 18", l["bytes_in"], l["bytes_out"], in, out)
	}
}

// Bytes are counted while a stream lives, not only at its end; and another protocol is of another kind.
func TestStreams_AreSeenWhileTheyLive(t *testing.T) {
	t.Parallel()
	backend := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		io.Copy(c, r)
	})
	p := start(t, nil, backend)
	c, r := p.dial(t)
	io.WriteString(c, strings.ReplaceAll(askSwitch, "websocket", "echo"))
	if _, err := http.ReadResponse(r, nil); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		io.WriteString(c, "ping")
		if b := make([]byte, 4); true {
			if _, err := io.ReadFull(r, b); err != nil || string(b) != "ping" {
				t.Fatalf("got %q, %v", b, err)
			}
		}
		want := float64(4 * (i + 1))
		waitFor(t, fmt.Sprintf("%v bytes each way", want), func() bool {
			return p.metric(t, metrics.StreamBytes.Name, "kind", "other", "direction", "received") == want &&
				p.metric(t, metrics.StreamBytes.Name, "kind", "other", "direction", "sent") == want
		})
	}
	if n := p.metric(t, metrics.Streams.Name, "kind", "other"); n != 1 || len(p.said(t, "request")) != 0 {
		t.Errorf("%v open, lines %v", n, p.said(t, "request"))
	}
	if in := p.inFlight(); len(in) != 1 || in[0].Stream != "other" {
		t.Errorf("in flight: %+v", in)
	}
}

// Server-sent events are measured by their header, come at once, and end as their kind of stream.
func TestEvents(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		end    func(client, backend net.Conn)
		reason string
	}{
		"the backend ends them":        {func(_, backend net.Conn) { io.WriteString(backend, "0\r\n\r\n") }, "backend_closed"},
		"the backend breaks off":       {func(_, backend net.Conn) { backend.Close() }, "backend_lost"},
		"the client has heard enough":  {func(client, _ net.Conn) { client.Close() }, "client_closed"},
		"the client's connection dies": {func(client, _ net.Conn) { reset(client) }, "client_closed"},
	} {
		t.Run(name, func(t *testing.T) {
			backends := make(chan net.Conn, 1)
			backend := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
				http.ReadRequest(r)
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n")
				backends <- c
				io.Copy(io.Discard, r)
			})
			p := start(t, nil, backend)
			c, r := p.dial(t)
			io.WriteString(c, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
			resp, err := http.ReadResponse(r, nil)
			if err != nil || resp.StatusCode != 200 {
				t.Fatalf("got %v, %v", resp, err)
			}
			server := <-backends
			for i := range 3 {
				event := fmt.Sprintf("data: %d\n\n", i)
				fmt.Fprintf(server, "%x\r\n%s\r\n", len(event), event)
				b := make([]byte, len(event))
				if _, err := io.ReadFull(resp.Body, b); string(b) != event || err != nil {
					t.Fatalf("got %q, %v", b, err)
				}
			}
			if n := p.metric(t, metrics.ServerDuration.Name, "pace_outcome", "ok"); n != 1 {
				t.Errorf("%v in the requests' histogram while the events go on, want 1", n)
			}
			tt.end(c, server)
			l := p.line(t)
			if l["outcome"] != "ok" || l["stream"] != "sse" || l["close_reason"] != tt.reason || l["bytes_out"] != 27.0 {
				t.Errorf("got %v, want %s", l, tt.reason)
			}
			if n := p.metric(t, metrics.StreamBytes.Name, "kind", "sse", "direction", "sent"); n != 27 {
				t.Errorf("%v bytes sent, want 27", n)
			}
		})
	}
}

// A client that asks for a switch which the backend does not make gets an answer like any other.
func TestStreams_NotSwitched(t *testing.T) {
	t.Parallel()
	backend := origin(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "no") })
	p := start(t, nil, backend)
	if resp, body := p.ask(t, askSwitch); resp.StatusCode != 200 || body != "no" {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
	if l := p.line(t); l["outcome"] != "ok" || l["stream"] != nil {
		t.Errorf("got %v", l)
	}
}

// A backend that switches although nobody asked has not spoken HTTP.
func TestStreams_SwitchedUnasked(t *testing.T) {
	t.Parallel()
	backend := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		io.WriteString(c, switching)
		io.Copy(io.Discard, r)
	})
	p := start(t, nil, backend)
	if resp, body := p.ask(t, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); resp.StatusCode != 502 || !strings.Contains(body, "\nOutcome: upstream_invalid\n") {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
}
