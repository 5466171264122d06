//go:build unix

package http1

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"pace/proxy/transport"
)

const smallResponse = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ndate: Tue, 24 Nov 2026 10:00:00 GMT\r\nserver: bench\r\nCache-Control: no-store\r\nContent-Length: 27\r\n\r\n{\"backend\":1,\"path\":\"/abc\"}"

// parrot is a backend that allocates nothing: it sends text in response to every request of size bytes of
// body behind a blank line.
func parrot(text string, size int) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, _ *bufio.Reader) {
		buf, n, response := make([]byte, 64<<10), 0, []byte(text)
		for {
			m, err := c.Read(buf[n:])
			if err != nil {
				return
			}
			n += m
			if i := bytes.Index(buf[:n], []byte("\r\n\r\n")); i >= 0 && n >= i+4+size {
				n = 0
				if _, err := c.Write(response); err != nil {
					return
				}
			}
		}
	}
}

// smallGet is what a proxy has to send: a dozen fields.
func smallGet() *transport.Request {
	return &transport.Request{Method: "GET", Target: "/abc?d=e", Host: "example.org", Fields: []byte(strings.Join([]string{
		"User-Agent: bench/1.0", "Accept: */*", "Accept-Encoding: gzip", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Host: example.org",
		"X-Forwarded-Proto: http", "Forwarded: for=192.0.2.1;proto=http", "Via: 1.1 pace", "X-Proxy: pace",
		"X-Request-Id: 0af7651916cd43dd8448eb211c80319c", "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", ""}, "\r\n"))}
}

// drain does one exchange and drops the body.
func drain(p *Pool, ctx context.Context, req *transport.Request, resp *Response) error {
	if err := p.Do(ctx, req, resp); err != nil {
		return err
	}
	defer resp.Close()
	for {
		if _, err := resp.Next(); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
	}
}

// BenchmarkDo is a small request on a warm connection, each with a context of its own as a server
// makes them, beside net/http's Transport and beside the floor: a write and a read alone. The
// backend, which allocates nothing, is in cpu-ns/op, and the same for all; unlike ns/op that
// figure does not wait for others on a busy machine.
func BenchmarkDo(b *testing.B) {
	for name, size := range map[string]int{"get": 0, "post": 1000} {
		b.Run(name+"/impl=exchange", func(b *testing.B) { benchExchange(b, size) })
		b.Run(name+"/impl=transport", func(b *testing.B) { benchTransport(b, size) })
	}
	b.Run("get/impl=floor", benchFloor)
}

func benchExchange(b *testing.B, size int) {
	p := script(b, Options{}, parrot(smallResponse, size))
	req, body := smallGet(), bytes.NewReader(make([]byte, size))
	if size > 0 {
		req.Method, req.ContentLength, req.Body = "POST", int64(size), body
	}
	var resp Response
	defer reportCPU(b)()
	for b.Loop() {
		ctx, cancel := context.WithCancel(b.Context())
		body.Seek(0, io.SeekStart)
		if err := drain(p, ctx, req, &resp); err != nil {
			b.Fatal(err)
		}
		cancel()
	}
}

func benchTransport(b *testing.B, size int) {
	p := script(b, Options{}, parrot(smallResponse, size))
	tr := &http.Transport{DisableCompression: true}
	defer tr.CloseIdleConnections()
	proto, err := http.NewRequest("GET", "http://"+p.dialer.Addr+"/abc?d=e", nil)
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.SplitSeq(strings.TrimSpace(string(smallGet().Fields)), "\r\n") {
		name, value, _ := strings.Cut(line, ": ")
		proto.Header.Set(name, value)
	}
	body := bytes.NewReader(make([]byte, size))
	buf := make([]byte, smallBuffer)
	defer reportCPU(b)()
	for b.Loop() {
		ctx, cancel := context.WithCancel(b.Context())
		req := proto.WithContext(ctx)
		if size > 0 {
			body.Seek(0, io.SeekStart)
			req.Method, req.ContentLength, req.Body = "POST", int64(size), io.NopCloser(body)
		}
		resp, err := tr.RoundTrip(req)
		if err != nil {
			b.Fatal(err)
		}
		for err == nil {
			_, err = resp.Body.Read(buf)
		}
		resp.Body.Close()
		cancel()
	}
}

func benchFloor(b *testing.B) {
	p := script(b, Options{}, parrot(smallResponse, 0))
	c, err := net.DialTimeout("tcp", p.dialer.Addr, time.Second)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	head, buf := appendHead(nil, smallGet()), make([]byte, smallBuffer)
	defer reportCPU(b)()
	for b.Loop() {
		if _, err := c.Write(head); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
}

// reportCPU reports the processor time of the process from now until the returned func is called.
func reportCPU(b *testing.B) func() {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	b.ReportAllocs()
	start := used()
	return func() { b.ReportMetric(float64(used()-start)/float64(b.N), "cpu-ns/op") }
}

// The budget: the header's string; and with a body the sender, its timer and a channel.
func TestDo_AllocatesLittle(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	for name, tt := range map[string]struct {
		size   int
		budget float64
	}{"GET": {0, 1}, "POST": {1000, 6}} {
		t.Run(name, func(t *testing.T) {
			p := script(t, Options{}, parrot(smallResponse, tt.size))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			req, body := smallGet(), bytes.NewReader(make([]byte, tt.size))
			if tt.size > 0 {
				req.Method, req.Body, req.ContentLength = "POST", body, int64(tt.size)
			}
			var resp Response
			if n := testing.AllocsPerRun(1000, func() {
				body.Seek(0, io.SeekStart)
				if err := drain(p, ctx, req, &resp); err != nil {
					t.Fatal(err)
				}
			}); n > tt.budget {
				t.Errorf("%v allocations for a small %s on a warm connection, want %v", n, name, tt.budget)
			}
		})
	}
}
