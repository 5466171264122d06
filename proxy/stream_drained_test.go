package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"pace/lb/health"
	"pace/proxy/upstream"
	"pace/telemetry/metrics"
)

// TestStreams_OfADrainedBackendGetATime lets streams of each kind be open as an operator drains their backend.
func TestStreams_OfADrainedBackendGetATime(t *testing.T) {
	t.Parallel()
	const events = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n"
	for _, tt := range []struct {
		name, ask, response, kind string
		floods                    bool // the backend sends more than the client takes
	}{
		{"a WebSocket", askSwitch, switching + "hello", "websocket", false},
		{"server-sent events", "GET /x HTTP/1.1\r\nHost: x\r\n\r\n", events, "sse", false},
		{"server-sent events that the client does not take", "GET /x HTTP/1.1\r\nHost: x\r\n\r\n", events, "sse", true},
		{"a WebSocket that the client does not take", askSwitch, switching + "hello", "websocket", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan struct{})
			p := start(t, func(s *setup) { s.pool.DrainStreams = time.Millisecond }, rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
				defer close(ended)
				http.ReadRequest(r)
				io.WriteString(c, tt.response)
				for more := []byte(strings.Repeat("data: 2\n\n", 1000)); tt.floods; {
					if _, err := c.Write(more); err != nil {
						return
					}
				}
				io.Copy(io.Discard, c)
			}))
			c, r := p.dial(t)
			io.WriteString(c, tt.ask)
			if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 101 && resp.StatusCode != 200 {
				t.Fatalf("got %v, %v", resp, err)
			}
			waitFor(t, "the stream", func() bool { return p.metric(t, metrics.Streams.Name) == 1 })
			b := p.upstream.Backends()[0]
			if m, ok := p.upstream.Command(b.Addr, upstream.Drain, "test"); !ok || m.State != health.Drained {
				t.Fatalf("got %+v, %v", m, ok)
			}
			<-ended
			io.Copy(io.Discard, r) // to the end of the connection
			if l := p.line(t); l.text("close_reason") != "drained" || l.text("stream") != tt.kind || l.text("level") != "INFO" {
				t.Errorf("the line says %v", l)
			}
			if n := p.metric(t, metrics.StreamDuration.Name, "kind", tt.kind, "pace_close_reason", "drained"); n != 1 {
				t.Errorf("%v in the streams' histogram, want 1", n)
			}
			if n := b.InFlight(); n != 0 {
				t.Errorf("%d requests are in flight at the backend, want none", n)
			}
		})
	}
}

// A response that is no stream is delivered to its end, however long it takes.
func TestDrain_LetsRequestsEnd(t *testing.T) {
	t.Parallel()
	begun, goOn := make(chan struct{}), make(chan struct{})
	p := start(t, func(s *setup) { s.pool.DrainStreams = time.Nanosecond }, rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfi")
		close(begun)
		<-goOn
		io.WriteString(c, "ne")
	}))
	response := make(chan string)
	go func() { response <- p.say(t, "GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") }()
	<-begun
	p.upstream.Command(p.upstream.Backends()[0].Addr, upstream.Drain, "test")
	if got := p.say(t, "GET /y HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); !strings.Contains(got, "Outcome: no_backend") {
		t.Errorf("the only backend is drained: got %q", got)
	}
	close(goOn)
	if got := <-response; !strings.HasSuffix(got, "\r\n\r\nfine") {
		t.Errorf("the request in flight got %q", got)
	}
}
