package contract

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"pace/e2e/pacetest"
)

// streamed is one way for a stream to end.
type streamed struct {
	backend func(x *pacetest.Exchange) // once the echo of "hello" is through
	client  func(w *pacetest.Wire)
	reason  string
}

var endings = map[string]streamed{
	"the client closes":      {echoOn, func(w *pacetest.Wire) { w.CloseWrite() }, "client_closed"},
	"the client is lost":     {echoOn, (*pacetest.Wire).Leave, "client_lost"},
	"the backend closes":     {(*pacetest.Exchange).Close, hangsUp, "backend_closed"},
	"the backend is lost":    {(*pacetest.Exchange).Reset, func(*pacetest.Wire) {}, "backend_lost"},
	"pace ends in its midst": {echoOn, nil, "drained"},
}

// hangsUp waits for the other side's end before it ends too: until then the stream is half open.
func hangsUp(w *pacetest.Wire) {
	w.Rest()
	w.Close()
}

func echoOn(x *pacetest.Exchange) { x.Echo() }

// TestStreams_HaveTheirOwnInstruments ends streams of both upgrade kinds in each known way.
func TestStreams_HaveTheirOwnInstruments(t *testing.T) {
	t.Parallel()
	for name, tt := range endings {
		for kind, protocol := range map[string]string{"websocket": "websocket", "other": "echo"} {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				tt.check(t, kind, protocol)
			})
		}
	}
}

func (tt streamed) check(t *testing.T, kind, protocol string) {
	t.Helper()
	end := make(chan struct{})
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		x.Write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", protocol)
		x.EchoN(5)
		<-end
		tt.backend(x)
	})
	p, spans := pacetest.StartTraced(t, set(upstreams(b), "server", "drain_timeout", "300ms"))
	w := p.Wire()
	w.Send("GET /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: " + protocol + "\r\n\r\n")
	if got := w.Head("GET"); got.StatusCode != 101 {
		t.Fatalf("status %d", got.StatusCode)
	}
	w.Send("hello")
	if _, err := io.ReadFull(w.R, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	p.WantMetric(1, "pace_streams", "kind", kind)
	p.WantMetric(1, "http_server_request_duration_seconds_count", "pace_outcome", "upgraded") // while it lives
	p.WantMetric(5, "pace_stream_io_bytes_total", "kind", kind, "direction", "received")
	p.WantMetric(5, "pace_stream_io_bytes_total", "kind", kind, "direction", "sent")
	close(end)
	if tt.client == nil {
		p.Stop()
	} else {
		tt.client(w)
		p.WantMetric(0, "pace_streams", "kind", kind)
		p.WantMetric(1, "pace_stream_duration_seconds_count", "kind", kind, "pace_close_reason", tt.reason)
		p.WantMetric(1, "pace_stream_duration_seconds_count")
		p.WantMetric(1, "http_requests_duration_seconds_count", "status", "101")
	}
	line := p.WantAccess("/x")
	if line.Text("stream") != kind || line.Text("close_reason") != tt.reason || line.Text("outcome") != "upgraded" ||
		line.Int("bytes_in") != 5 || line.Int("bytes_out") != 5 {
		t.Errorf("log says %v; want stream %s, close_reason %s, upgraded, 5 bytes each way", line, kind, tt.reason)
	}
	server := pacetest.WantTrace(spans, 1, pacetest.Path("/x")).Server
	wantAttr(t, server.Attrs, "pace.stream", kind)
	wantAttr(t, server.Attrs, "pace.close_reason", tt.reason)
}

// TestStreams_EventStream: the request is measured to its header, the stream apart.
func TestStreams_EventStream(t *testing.T) {
	t.Parallel()
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		const held = 2 * time.Second
		event, end := make(chan struct{}), make(chan struct{})
		b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
			x.Write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
			<-event
			x.Write("9\r\ndata: 1\n\n\r\n")
			<-end
			time.Sleep(held)
			x.Write("0\r\n\r\n")
		})
		p := pacetest.Start(t, upstreams(b))
		resp, err := mode.Client(t).Do(p.Request("GET", "/x", ""))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		event <- struct{}{}
		r := bufio.NewReader(resp.Body)
		if line, err := r.ReadString('\n'); err != nil || line != "data: 1\n" {
			t.Fatalf("came %q, %v", line, err)
		}
		p.WantMetric(1, "pace_streams", "kind", "sse")
		p.WantMetric(1, "http_server_request_duration_seconds_count", "pace_outcome", "ok", "http_response_status_code", "200")
		close(end)
		if rest, err := io.ReadAll(r); err != nil || string(rest) != "\n" {
			t.Errorf("at the end came %q, %v", rest, err)
		}
		p.WantMetric(0, "pace_streams")
		p.WantMetric(1, "pace_stream_duration_seconds_count", "kind", "sse", "pace_close_reason", "backend_closed")
		p.WantMetric(9, "pace_stream_io_bytes_total", "kind", "sse", "direction", "sent")
		m := p.Metrics()
		if n := m.Sum("http_server_request_duration_seconds_count"); n != 1 {
			t.Errorf("%v requests are counted, want 1", n)
		}
		if request, stream := m.Sum("http_server_request_duration_seconds_sum"), m.Sum("pace_stream_duration_seconds_sum"); request >= held.Seconds() || stream < held.Seconds() {
			t.Errorf("the request took %v, the stream %v; it was held for %v after its header", request, stream, held)
		}
		if line := p.WantAccess("/x"); line.Text("stream") != "sse" || line.Text("close_reason") != "backend_closed" || line.Int("bytes_out") != 9 {
			t.Errorf("log says %v", line)
		}
	})
}

func TestStreams_EventStreamsClientLeaves(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		x.Write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\ndata: 1\n\n")
		x.AwaitClose()
	})
	p := pacetest.Start(t, upstreams(b))
	w := p.Wire()
	w.Send("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
	if got := w.Head("GET"); got.StatusCode != 200 {
		t.Fatalf("status %d", got.StatusCode)
	}
	p.WantMetric(1, "pace_streams", "kind", "sse")
	w.Leave()
	wantLetGo(t, b)
	p.WantMetric(0, "pace_streams")
	pacetest.Eventually(t, func() error {
		m := p.Metrics()
		closed := m.Sum("pace_stream_duration_seconds_count", "kind", "sse", "pace_close_reason", "client_closed")
		lost := m.Sum("pace_stream_duration_seconds_count", "kind", "sse", "pace_close_reason", "client_lost")
		if closed+lost != 1 || m.Sum("pace_stream_duration_seconds_count") != 1 {
			return fmt.Errorf("client_closed %v, client_lost %v, all %v", closed, lost, m.Sum("pace_stream_duration_seconds_count"))
		}
		return nil
	})
	if line := p.WantAccess("/x"); !strings.HasPrefix(line.Text("close_reason"), "client_") || !strings.EqualFold(line.Text("level"), "warn") && !strings.EqualFold(line.Text("level"), "info") {
		t.Errorf("log says %v", line)
	}
	p.WantMetric(1, "http_server_request_duration_seconds_count")
}
