package proxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"pace/proxy/front"
	"pace/telemetry/metrics"
)

// drain begins a drain that may take so long, and returns where its end is told.
func (p *proxied) drain(t testing.TB, limit time.Duration) <-chan error {
	t.Helper()
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		ended <- p.server.Drain(ctx)
	}()
	waitFor(t, "the listener's end", func() bool {
		c, err := net.Dial("tcp", p.Addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	return ended
}

// holding is a backend that answers requests once they are released.
func holding(t testing.TB) (address string, release func()) {
	may := make(chan struct{})
	return rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		for {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			<-may
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
		}
	}), sync.OnceFunc(func() { close(may) })
}

func TestDrain_LetsRequestsFinish(t *testing.T) {
	t.Parallel()
	backend, release := holding(t)
	defer release()
	p := start(t, nil, backend)
	begun := make(map[string]net.Conn)
	readers := make(map[string]*bufio.Reader)
	for _, path := range []string{"/soon", "/late"} {
		begun[path], readers[path] = p.dial(t)
		io.WriteString(begun[path], "GET "+path)
	}
	time.Sleep(200 * time.Millisecond) // until that is read, else these requests would be served as the first ones
	c, r := p.dial(t)
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	waitFor(t, "the request", func() bool { return len(p.inFlight()) == 1 })
	ended := p.drain(t, 20*time.Second)

	// A request whose client may not know yet that pace drains is served.
	io.WriteString(begun["/soon"], " HTTP/1.1\r\nHost: x\r\n\r\n")
	waitFor(t, "the second request", func() bool { return len(p.inFlight()) == 2 })
	time.Sleep(1500 * time.Millisecond)
	io.WriteString(begun["/late"], " HTTP/1.1\r\nHost: x\r\n\r\n")
	late, err := http.ReadResponse(readers["/late"], nil)
	if err != nil || late.StatusCode != 503 || !late.Close || late.Header.Get("Proxy-Status") != `pace; error=proxy_internal_response; details="draining"` {
		t.Errorf("a request that came late: got %v, %v", late, err)
	}
	select {
	case err := <-ended:
		t.Fatalf("the drain ended with a request in flight: %v", err)
	default:
	}
	release()
	for name, r := range map[string]*bufio.Reader{"the request in flight": r, "one that came soon": readers["/soon"]} {
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s: got %v, %v", name, resp, err)
		}
		if b, err := io.ReadAll(resp.Body); string(b) != "hi" || err != nil {
			t.Errorf("%s: got %q, %v", name, b, err)
		}
	}
	if err := <-ended; err != nil {
		t.Errorf("the drain ended with %v", err)
	}
	lines := p.lines(t, 3)
	if lines[0]["outcome"] != "draining" || lines[1]["outcome"] != "ok" || lines[2]["outcome"] != "ok" {
		t.Errorf("got %v", lines)
	}
	if n := p.metric(t, metrics.Rejections.Name, "reason", "draining"); n != 1 {
		t.Errorf("%v rejections because of the drain, want 1", n)
	}
}

// So is a request on an HTTP/2 connection that its client sent before GOAWAY reached it, but no later one.
func TestDrain_ServesStreamsThatCrossGOAWAY(t *testing.T) {
	t.Parallel()
	backend, release := holding(t)
	defer release()
	p := start(t, nil, backend)
	w := p.h2Wire(t)
	w.get("/first")
	waitFor(t, "the request", func() bool { return len(p.inFlight()) == 1 })
	ended := p.drain(t, 20*time.Second)
	w.get("/soon")
	waitFor(t, "the second request", func() bool { return len(p.inFlight()) == 2 })
	time.Sleep(1500 * time.Millisecond)
	w.get("/late")
	p.lines(t, 1)
	release()
	if err := <-ended; err != nil {
		t.Errorf("the drain ended with %v", err)
	}
	got := map[string]any{}
	for _, l := range p.lines(t, 3) {
		got[l.text("path")] = l["outcome"]
	}
	for path, want := range map[string]string{"/first": "ok", "/soon": "ok", "/late": "draining"} {
		if got[path] != want {
			t.Errorf("%s: outcome %v, want %s", path, got[path], want)
		}
	}
}

// What is not finished in time is broken off, and has its line when Drain returns.
func TestDrain_BreaksOffWhatTakesTooLong(t *testing.T) {
	t.Parallel()
	backend := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		switch req.URL.Path {
		case "/ws":
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		case "/sse":
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
		case "/body":
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
		}
		io.Copy(io.Discard, r)
	})
	p := start(t, nil, backend)
	var readers []*bufio.Reader
	for _, request := range []string{
		"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n", "GET /body HTTP/1.1\r\nHost: x\r\n\r\n", "GET /sse HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
	} {
		c, r := p.dial(t)
		io.WriteString(c, request)
		if !strings.Contains(request, "/wait") {
			if _, err := http.ReadResponse(r, nil); err != nil {
				t.Fatal(err)
			}
		}
		readers = append(readers, r)
	}
	waitFor(t, "all four", func() bool { return len(p.inFlight()) == 4 })
	begin := time.Now()
	err := <-p.drain(t, 100*time.Millisecond)
	if aborted, ok := errors.AsType[*front.AbortedError](err); !ok || aborted.Requests != 4 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the drain ended with %v, want 4 aborted", err)
	}
	if d := time.Since(begin); d < 100*time.Millisecond {
		t.Errorf("the drain took %v, it had 100 ms", d)
	}
	for i, r := range readers {
		if _, err := io.ReadAll(r); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("connection %d is still open: %v", i, err)
		}
	}
	if n := len(p.inFlight()); n != 0 {
		t.Errorf("%d records are open", n)
	}
	got := map[string]accessLine{}
	for _, l := range p.lines(t, 4) {
		got[l.text("path")] = l
	}
	for path, want := range map[string][2]string{"/wait": {"drain_timeout", ""}, "/body": {"drain_timeout", ""}, "/sse": {"ok", "drained"}, "/ws": {"upgraded", "drained"}} {
		if l := got[path]; l["outcome"] != want[0] || l.text("close_reason") != want[1] {
			t.Errorf("%s: got %v, want %v", path, l, want)
		}
	}
	for _, kind := range []string{"sse", "websocket"} {
		if n, open := p.metric(t, metrics.StreamDuration.Name, "kind", kind, "pace_close_reason", "drained"), p.metric(t, metrics.Streams.Name, "kind", kind); n != 1 || open != 0 {
			t.Errorf("%s: %v ended by the drain, %v open; want 1, 0", kind, n, open)
		}
	}
}

// A stream is waited for like any other request.
func TestDrain_WaitsForStreams(t *testing.T) {
	t.Parallel()
	backend := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		io.Copy(c, r)
	})
	p := start(t, nil, backend)
	c, r := p.dial(t)
	io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 101 {
		t.Fatalf("got %v, %v", resp, err)
	}
	ended := p.drain(t, 20*time.Second)
	io.WriteString(c, "still here")
	if b, err := r.Peek(10); string(b) != "still here" {
		t.Errorf("got %q, %v", b, err)
	}
	select {
	case err := <-ended:
		t.Fatalf("the drain ended with a stream open: %v", err)
	default:
	}
	c.Close()
	if err := <-ended; err != nil {
		t.Errorf("the drain ended with %v", err)
	}
	if l := p.line(t); l["close_reason"] != "client_closed" {
		t.Errorf("got %v", l)
	}
}

// An HTTP/2 client with a request in flight gets its answer, too.
func TestDrain_LetsHTTP2Finish(t *testing.T) {
	t.Parallel()
	backend, release := holding(t)
	defer release()
	p := start(t, nil, backend)
	client := h2Client(t)
	responded := make(chan error, 1)
	go func() {
		r, err := client.Get(p.URL)
		if err == nil && (r.StatusCode != 200 || r.ProtoMajor != 2) {
			err = errors.New(r.Proto + " " + r.Status)
		}
		responded <- err
	}()
	waitFor(t, "the request", func() bool { return len(p.inFlight()) == 1 })
	ended := p.drain(t, 20*time.Second)
	release()
	if err := errors.Join(<-responded, <-ended); err != nil {
		t.Error(err)
	}
}
