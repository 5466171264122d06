//go:build unix

package http1

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
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pace/proxy/transport"
)

// onPark makes f be called each time the exchange is about to wait for the backend, on its
// goroutine.
func onPark(resp *Response, f func()) {
	x := exchangeOf(resp)
	x.watched.onEnd = x.end
	calling := func(each func(fd uintptr) bool) func(fd uintptr) bool {
		return func(fd uintptr) bool {
			done := each(fd)
			if !done {
				f()
			}
			return done
		}
	}
	x.polled.read, x.polled.first = calling(x.readOnce), calling(x.writeThenRead)
}

func TestDo_HoldsNoBufferWhileItWaits(t *testing.T) {
	const ok, waiting = "HTTP/1.1 200 OK\r\n", 50
	post := func() *transport.Request {
		return &transport.Request{Method: "POST", Target: "/", Host: "h", Body: strings.NewReader("hello"), ContentLength: 5}
	}
	for name, tt := range map[string]struct {
		req       func() *transport.Request
		now, then string // what is sent before the wait, and after it
	}{
		"for the header":               {func() *transport.Request { return get("/") }, "", okHello},
		"for the header, after a body": {post, "", okHello},
		"after an interim response":    {func() *transport.Request { return get("/") }, "HTTP/1.1 103 Early Hints\r\n\r\n", okHello},
		"for the body":                 {func() *transport.Request { return get("/") }, ok + "Content-Length: 5\r\n\r\n", "hello"},
		"for the rest of the body":     {func() *transport.Request { return get("/") }, ok + "Content-Length: 5\r\n\r\nhel", "lo"},
		"for the next chunk":           {func() *transport.Request { return get("/") }, ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", "2\r\nlo\r\n0\r\n\r\n"},
		"for the connection's end":     {func() *transport.Request { return get("/") }, ok + "\r\nhel", "lo"},
		"for more after much":          {func() *transport.Request { return get("/") }, ok + "\r\n" + strings.Repeat("hello", 4000), "hello"},
	} {
		t.Run(name, func(t *testing.T) {
			goOn := make(chan struct{})
			p := script(t, Options{}, func(c net.Conn, r *bufio.Reader) {
				respond(tt.now)(c, r)
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
					if exchangeOf(resp).in.buf != nil {
						t.Error("waits with a buffer")
					}
					if seen.Len() == len(afterHead(tt.now)) {
						parked <- exchangeOf(resp)
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
		kind    transport.Kind
		is      error
	}{
		"reset":   {func(c net.Conn, r *bufio.Reader) { http.ReadRequest(r); c.(*net.TCPConn).SetLinger(0) }, transport.Reset, syscall.ECONNRESET},
		"end":     {func(c net.Conn, r *bufio.Reader) { http.ReadRequest(r) }, transport.Reset, io.EOF},
		"timeout": {hang, transport.ResponseTimeout, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			p := script(t, Options{ResponseTimeout: 50 * time.Millisecond}, tt.backend)
			text := func(dial func(context.Context, string, string) (net.Conn, error)) string {
				var local string
				o := p.o
				o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
					c, err := dial(ctx, network, addr)
					if err == nil {
						local = c.LocalAddr().String()
					}
					return c, err
				}
				var resp Response
				e := wantKind(t, NewPool(at(p.dialer.Addr), o).Do(t.Context(), get("/"), &resp), tt.kind)
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

// On a pooled connection the first call writes, and the next one has something to read.
func TestDo_WritesAndThenWaits(t *testing.T) {
	wrote := make(chan struct{}, 1)
	p := script(t, Options{}, func(c net.Conn, r *bufio.Reader) {
		for range 2 {
			<-wrote
			respond(okHello)(c, r)
		}
		r.ReadByte()
	})
	wrote <- struct{}{}
	fetch(t, p, get("/"))
	for i := range 2 { // at a response, and at the connection's end
		var resp Response
		calls, phase, req := 0, transport.Phase(0), get("/")
		req.OnPhase = func(p transport.Phase) { phase = p }
		onPark(&resp, func() {
			x := exchangeOf(&resp)
			if phase != transport.Wait || x.sent == 0 || x.out.now() != sent || x.out.buf != nil || x.in.buf != nil {
				t.Errorf("waits in %v, %d bytes sent, %+v", phase, x.sent, &x.out)
			}
			wrote <- struct{}{}
		})
		counting := func(each func(fd uintptr) bool) func(fd uintptr) bool {
			return func(fd uintptr) bool { calls++; return each(fd) }
		}
		polled := &exchangeOf(&resp).polled
		polled.read, polled.first = counting(polled.read), counting(polled.first)
		err := p.Do(t.Context(), req, &resp)
		if i == 0 {
			if body, err := readAll(&resp); err != nil || body != "hello" || !resp.Reused {
				t.Errorf("%q, %v, reused %v", body, err, resp.Reused)
			}
			resp.Close()
		} else if e := wantKind(t, err, transport.Reset); !e.Reused || e.Responded || e.BytesSent == 0 || e.Phase != transport.Wait || !errors.Is(e, io.EOF) {
			t.Errorf("%+v", e)
		}
		if calls != 2 {
			t.Errorf("%d calls, want one that writes and one that reads", calls)
		}
	}
}

// What cannot be written at once goes the ordinary way.
func TestDo_WritesInTheOrdinaryWayOtherwise(t *testing.T) {
	long := get("/")
	long.Fields = []byte("A: " + strings.Repeat("x", 8<<20) + "\r\n") // more than all buffers on the way hold
	for name, tt := range map[string]struct {
		req    *transport.Request
		harm   func(c *conn)
		reused bool
	}{
		"a header that does not fit the socket":              {long, func(*conn) {}, true},
		"a deadline left standing that has passed":           {get("/"), func(c *conn) { c.readUntil = longAgo; c.SetReadDeadline(longAgo) }, true},
		"a connection on which nothing can be written":       {get("/"), func(c *conn) { c.tcp.CloseWrite() }, false},
		"a connection that ended after it was last asked":    {get("/"), func(c *conn) { c.tcp.CloseRead() }, false},
		"a connection that was closed by who knows whom":     {get("/"), func(c *conn) { c.Close() }, false},
		"a connection whose writes have no time left either": {get("/"), func(c *conn) { c.writeUntil = longAgo; c.SetDeadline(longAgo) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			var got atomic.Int64
			p := script(t, Options{}, func(c net.Conn, r *bufio.Reader) {
				for {
					req, err := http.ReadRequest(r)
					if err != nil {
						io.Copy(io.Discard, r) // stays open
						return
					}
					got.Add(int64(len(req.Header.Get("A"))) + 1)
					io.WriteString(c, okHello)
				}
			})
			fetch(t, p, get("/"))
			tt.harm(p.idle[0])
			got.Store(0)
			resp, body := fetch(t, p, tt.req)
			if want := max(1, int64(len(tt.req.Fields))-4); body != "hello" || resp.Reused != tt.reused || got.Load() != want || resp.BytesSent != int64(len(appendHead(nil, tt.req))) {
				t.Errorf("%q, reused %v, backend read %d bytes of a field, want %d; %d bytes sent", body, resp.Reused, got.Load(), want, resp.BytesSent)
			}
			resp, body = fetch(t, p, get("/")) // and nothing of that lasts
			if body != "hello" || !resp.Reused || p.Idle() != 1 {
				t.Errorf("%q, reused %v, %d idle", body, resp.Reused, p.Idle())
			}
		})
	}
}

// A connection that waits for the response to what it wrote at once gives up, and is given up, in time.
func TestDo_EndsWhileItWaitsOnAPooledConnection(t *testing.T) {
	for name, tt := range map[string]struct {
		o      Options
		leaves bool
		kind   transport.Kind
	}{
		"when the response's time is over": {Options{ResponseTimeout: 100 * time.Millisecond}, false, transport.ResponseTimeout},
		"when nobody wants it any more":    {Options{}, true, transport.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			p := script(t, tt.o, func(c net.Conn, r *bufio.Reader) { respond(okHello)(c, r); hang(c, r) })
			fetch(t, p, get("/"))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var resp Response
			onPark(&resp, func() {
				if tt.leaves {
					cancel()
				}
			})
			e := wantKind(t, p.Do(ctx, get("/"), &resp), tt.kind)
			if e.Phase != transport.Wait || !e.Reused || e.BytesSent == 0 || p.Idle() != 0 {
				t.Errorf("%+v, %d idle", e, p.Idle())
			}
		})
	}
}

// BenchmarkWaiting is the memory of an exchange that waits for its response, with its goroutine's
// stack, both ends of its connection, and all that is pooled.
func BenchmarkWaiting(b *testing.B) {
	const waiting = 1000
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	p := NewPool(at(l.Addr().String()), Options{})
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
			io.ReadFull(c, make([]byte, len(appendHead(nil, req))))
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
