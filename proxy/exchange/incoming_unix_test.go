//go:build unix

package exchange

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// onPark makes f be called each time the exchange is about to wait for the backend, on its
// goroutine.
func onPark(resp *Response, f func()) {
	x := &resp.x
	x.watched.onEnd = x.end
	x.got.once = func(fd uintptr) bool {
		done := x.readOnce(fd)
		if !done {
			f()
		}
		return done
	}
}

func TestDo_HoldsNoBufferWhileItWaits(t *testing.T) {
	const ok, waiting = "HTTP/1.1 200 OK\r\n", 50
	post := func() *Request {
		return &Request{Method: "POST", Target: "/", Host: "h", Body: strings.NewReader("hello"), ContentLength: 5}
	}
	for name, tt := range map[string]struct {
		req       func() *Request
		now, then string // what is sent before the wait, and after it
	}{
		"for the header":               {func() *Request { return get("/") }, "", okHello},
		"for the header, after a body": {post, "", okHello},
		"after an interim response":    {func() *Request { return get("/") }, "HTTP/1.1 103 Early Hints\r\n\r\n", okHello},
		"for the body":                 {func() *Request { return get("/") }, ok + "Content-Length: 5\r\n\r\n", "hello"},
		"for the rest of the body":     {func() *Request { return get("/") }, ok + "Content-Length: 5\r\n\r\nhel", "lo"},
		"for the next chunk":           {func() *Request { return get("/") }, ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", "2\r\nlo\r\n0\r\n\r\n"},
		"for the connection's end":     {func() *Request { return get("/") }, ok + "\r\nhel", "lo"},
		"for more after much":          {func() *Request { return get("/") }, ok + "\r\n" + strings.Repeat("hello", 4000), "hello"},
	} {
		t.Run(name, func(t *testing.T) {
			goOn := make(chan struct{})
			p := script(t, Options{}, func(c net.Conn, r *bufio.Reader) {
				answer(tt.now)(c, r)
				<-goOn
				io.WriteString(c, tt.then)
			})
			var all [waiting]Response
			var wg sync.WaitGroup
			defer wg.Wait()
			defer close(goOn)
			parked := make(chan *exchange, 100*waiting)
			for i := range all {
				resp := &all[i]
				var seen strings.Builder
				onPark(resp, func() {
					if resp.x.in.buf != nil {
						t.Error("waits with a buffer")
					}
					if seen.Len() == len(afterHead(tt.now)) {
						parked <- &resp.x
					}
				})
				wg.Go(func() {
					err := p.Do(t.Context(), tt.req(), resp)
					for err == nil {
						var b []byte
						b, err = resp.Next()
						seen.Write(b)
					}
					if err != io.EOF || !strings.HasSuffix(seen.String(), "hello") {
						t.Errorf("%.50q, %v", seen.String(), err)
					}
					resp.Close()
				})
			}
			for range all {
				x := <-parked
				eventually(t, "the request's buffer is given back", func() bool {
					x.out.mu.Lock()
					defer x.out.mu.Unlock()
					return x.out.buf == nil
				})
			}
		})
	}
}

// afterHead is what Next has returned of these bytes of a response.
func afterHead(s string) string {
	_, body, _ := strings.Cut(strings.Replace(s, "3\r\nhel\r\n", "hel", 1), "\r\n\r\n")
	return body
}

// Each byte comes alone, once the exchange waits for it: what was read before it must still be there.
func TestDo_ReadsOnAfterEachByte(t *testing.T) {
	const text = "HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" +
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nSum: 1\r\n\r\n"
	next := make(chan struct{}, 1)
	p := script(t, Options{}, func(c net.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		for i := range len(text) {
			<-next
			io.WriteString(c, text[i:i+1])
		}
		r.ReadByte()
	})
	var resp Response
	parks := 0
	onPark(&resp, func() { parks++; next <- struct{}{} })
	if err := p.Do(t.Context(), get("/"), &resp); err != nil {
		t.Fatal(err)
	}
	body, err := readAll(&resp)
	if resp.Status != 200 || body != "hello" || err != nil || field(resp.Trailer, "Sum") != "1" || parks != len(text) {
		t.Errorf("%d %q, %v, trailer %v after %d waits, want %d", resp.Status, body, err, resp.Trailer, parks, len(text))
	}
	if resp.Close(); p.Idle() != 1 {
		t.Errorf("%d idle", p.Idle())
	}
}

// How a read fails must not tell how it was made: logs show the text.
func TestDo_FailsAsReadDoes(t *testing.T) {
	for name, tt := range map[string]struct {
		backend func(net.Conn, *bufio.Reader)
		kind    Kind
		is      error
	}{
		"reset":   {func(c net.Conn, r *bufio.Reader) { http.ReadRequest(r); c.(*net.TCPConn).SetLinger(0) }, Reset, syscall.ECONNRESET},
		"end":     {func(c net.Conn, r *bufio.Reader) { http.ReadRequest(r) }, Reset, io.EOF},
		"timeout": {hang, ResponseTimeout, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			p := script(t, Options{ResponseTimeout: 50 * time.Millisecond}, tt.backend)
			text := func(dial func(context.Context, string, string) (net.Conn, error)) string {
				var local string
				p.o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
					c, err := dial(ctx, network, addr)
					if err == nil {
						local = c.LocalAddr().String()
					}
					return c, err
				}
				var resp Response
				e := wantKind(t, p.Do(t.Context(), get("/"), &resp), tt.kind)
				var timeout net.Error
				if tt.is == context.DeadlineExceeded && (!errors.As(e, &timeout) || !timeout.Timeout()) || tt.is != context.DeadlineExceeded && !errors.Is(e, tt.is) {
					t.Errorf("%v is not %v", e, tt.is)
				}
				return strings.ReplaceAll(e.Error(), local, "LOCAL")
			}
			plain := new(net.Dialer).DialContext
			bare := text(plain)
			want := text(func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := plain(ctx, network, addr)
				return struct{ net.Conn }{c}, err // hides the file descriptor
			})
			if bare != want {
				t.Errorf("fails with %q, want %q", bare, want)
			}
		})
	}
}

// BenchmarkWaiting is the memory of an exchange that waits for its answer, with its goroutine's
// stack, both ends of its connection, and all that is pooled.
func BenchmarkWaiting(b *testing.B) {
	const waiting = 1000
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	p := NewPool(l.Addr().String(), Options{})
	all, conns := make([]Response, waiting), make([]net.Conn, 0, waiting)
	req := smallGet()
	before := inUse()
	for b.Loop() {
		ctx, cancel := context.WithCancel(b.Context())
		var wg sync.WaitGroup
		for i := range all {
			wg.Go(func() { p.Do(ctx, req, &all[i]) })
			c, err := l.Accept()
			if err != nil {
				b.Fatal(err)
			}
			io.ReadFull(c, make([]byte, len(req.appendHead(nil))))
			conns = append(conns, c)
		}
		b.ReportMetric(float64(inUse()-before)/waiting, "B/waiting")
		cancel()
		wg.Wait()
		for _, c := range conns {
			c.Close()
		}
		conns = conns[:0]
	}
}

// inUse is the memory of heap and stacks that is not free.
func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
