package http1

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pace/proxy/tcptest"
	"pace/proxy/transport"
)

// eventually polls until f is true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !f(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestDo_SaysHowTheBackendFailed(t *testing.T) {
	reset := func(c net.Conn) { c.(*net.TCPConn).SetLinger(0); c.Close() }
	post := &transport.Request{Method: "POST", Target: "/", Host: "h", Body: strings.NewReader("hello"), ContentLength: 5}
	for name, tt := range map[string]struct {
		backend   func(net.Conn, *bufio.Reader)
		req       *transport.Request
		kind      transport.Kind
		responded bool
	}{
		"it closes without a response":         {respond(""), get("/"), transport.Reset, false},
		"it closes without a response to post": {respond(""), post, transport.Reset, false},
		"it closes within the header":          {respond("HTTP/1.1 200 OK\r\nContent-"), get("/"), transport.Reset, true},
		"it closes within the version":         {respond("HTT"), get("/"), transport.Reset, true},
		"it closes after an interim response":  {respond("HTTP/1.1 100 Continue\r\n\r\n"), get("/"), transport.Reset, true},
		"it resets without a response":         {func(c net.Conn, r *bufio.Reader) { http.ReadRequest(r); reset(c) }, get("/"), transport.Reset, false},
		"it resets within the header":          {func(c net.Conn, r *bufio.Reader) { respond("HTTP/1.1 200")(c, r); reset(c) }, get("/"), transport.Reset, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := script(t, Options{}, tt.backend)
			var resp Response
			e := wantKind(t, p.Do(t.Context(), tt.req, &resp), tt.kind)
			// A reset may take what came before it along.
			if e.Responded && !tt.responded || e.Reused || e.BytesSent == 0 || e.Remote.String() != p.dialer.Addr || p.Idle() != 0 {
				t.Errorf("%+v, want responded %v", e, tt.responded)
			}
			resp.Close() // allowed, needless
		})
	}
}

func TestDo_ConnectFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	var resp Response
	e := wantKind(t, NewPool(at(l.Addr().String()), Options{}).Do(t.Context(), get("/"), &resp), transport.ConnectFailed)
	if !errors.Is(e, syscall.ECONNREFUSED) || e.BytesSent != 0 || e.Phase != transport.Connect || e.Remote.IsValid() {
		t.Errorf("%+v", e)
	}
}

func TestDo_BodyMustKeepItsLength(t *testing.T) {
	broken := io.MultiReader(strings.NewReader("he"), readerFunc(func([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }))
	for name, req := range map[string]*transport.Request{
		"a body that is too short":       {Body: strings.NewReader("hell"), ContentLength: 5},
		"a body that is too long":        {Body: strings.NewReader("hello!"), ContentLength: 5},
		"a body that ends early":         {Body: broken, ContentLength: 5},
		"a chunked body that ends early": {Body: broken, ContentLength: -1},
	} {
		t.Run(name, func(t *testing.T) {
			var whole atomic.Bool
			p := script(t, Options{}, func(c net.Conn, r *bufio.Reader) {
				if req, err := http.ReadRequest(r); err == nil {
					_, err = io.ReadAll(req.Body)
					whole.Store(err == nil)
				}
			})
			req.Method, req.Target, req.Host = "POST", "/", "h"
			var resp Response
			e := wantKind(t, p.Do(t.Context(), req, &resp), transport.RequestBody)
			if e.Phase != transport.ReadRequest || whole.Load() || p.Idle() != 0 {
				t.Errorf("%+v, whole at the backend: %v", e, whole.Load())
			}
		})
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A dead connection is not used again (traefik 11212).
func TestDo_ReplacesADeadConnection(t *testing.T) {
	for name, dying := range map[string]func(net.Conn){
		"closed":                       func(c net.Conn) { c.Close() },
		"reset":                        func(c net.Conn) { c.(*net.TCPConn).SetLinger(0); c.Close() },
		"half closed":                  func(c net.Conn) { c.(*net.TCPConn).CloseWrite() },
		"talking unasked":              func(c net.Conn) { io.WriteString(c, okHello) },
		"sending a late end of a body": func(c net.Conn) { io.WriteString(c, "\r\n") },
	} {
		for method, body := range map[string]string{"GET": "", "POST": "hello"} {
			t.Run(method+" after "+name, func(t *testing.T) {
				conns := make(chan net.Conn, 2)
				var seen atomic.Int32
				p := script(t, Options{}, func(c net.Conn, r *bufio.Reader) {
					conns <- c
					for {
						req, err := http.ReadRequest(r)
						if err != nil {
							return
						}
						io.Copy(io.Discard, req.Body)
						seen.Add(1)
						io.WriteString(c, okHello)
					}
				})
				fetch(t, p, get("/"))
				c := p.idle[0]
				dying(<-conns)
				eventually(t, "found dead", func() bool { return !c.alive() })
				req := get("/")
				if body != "" {
					req = &transport.Request{Method: "POST", Target: "/", Host: "h", Body: strings.NewReader(body), ContentLength: int64(len(body))}
				}
				resp, got := fetch(t, p, req)
				if got != "hello" || resp.Reused || seen.Load() != 2 || p.Idle() != 1 {
					t.Errorf("%q, reused %v, backend saw %d requests, %d idle", got, resp.Reused, seen.Load(), p.Idle())
				}
			})
		}
	}
}

// refusing is a connection whose peer cannot be asked, and whose writes fail from now on.
type refusing struct {
	net.Conn
	now *atomic.Bool
}

func (r refusing) Write(p []byte) (int, error) {
	if r.now.Load() {
		return 0, syscall.EPIPE
	}
	return r.Conn.Write(p)
}

func TestDo_ReplacesAConnectionThatTakesNoByte(t *testing.T) {
	long := strings.Repeat("0123456789", 10_000)
	for name, req := range map[string]*transport.Request{
		"GET":                get("/"),
		"POST":               {Method: "POST", Body: strings.NewReader("hello"), ContentLength: 5},
		"POST in chunks":     {Method: "POST", Body: strings.NewReader(long), ContentLength: -1},
		"POST with Expect":   {Method: "POST", Body: strings.NewReader("hello"), ContentLength: 5, Expect: true},
		"POST with a header": {Method: "POST", Body: strings.NewReader("hello"), ContentLength: 5, Fields: []byte("A: " + long[:5000] + "\r\n")},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, Options{}, echo)
			dials, now := 0, new(atomic.Bool)
			p := NewPool(at(s.dialer.Addr), Options{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := new(net.Dialer).DialContext(ctx, network, addr)
				if dials++; dials < 3 {
					c = refusing{c, now}
				}
				return c, err
			}})
			defer p.Close()
			first, second := get("/"), get("/")
			second.NewConnection = true
			var a, b Response
			if err := errors.Join(p.Do(t.Context(), first, &a), p.Do(t.Context(), second, &b)); err != nil {
				t.Fatal(err)
			}
			readAll(&a)
			readAll(&b)
			a.Close()
			b.Close()
			now.Store(true) // both pooled ones are dead, and do not show it
			req.Target, req.Host = "/", "h"
			resp, body := fetch(t, p, req)
			if !strings.Contains(body, req.Method+" / h") || req.Body != nil && !strings.Contains(body, "hello") && !strings.Contains(body, long) || dials != 3 || resp.Reused || p.Idle() != 1 {
				t.Errorf("%.100q after %d dials, reused %v, %d idle", body, dials, resp.Reused, p.Idle())
			}
		})
	}
}

// Once a byte was written nothing is sent again: http.Transport sent one GET six times.
func TestDo_SendsAtMostOnce(t *testing.T) {
	var seen atomic.Int32
	p := script(t, Options{}, func(c net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil || req.URL.Path == "/die" {
				seen.Add(1)
				return
			}
			io.WriteString(c, okHello)
		}
	})
	all := make([]Response, 5)
	for i := range all {
		if err := p.Do(t.Context(), get("/"), &all[i]); err != nil {
			t.Fatal(err)
		}
		readAll(&all[i])
	}
	for i := range all {
		all[i].Close()
	}
	var resp Response
	e := wantKind(t, p.Do(t.Context(), get("/die"), &resp), transport.Reset)
	if !e.Reused || e.BytesSent == 0 || e.Responded || seen.Load() != 1 || p.Idle() != 4 {
		t.Errorf("%+v, backend saw it %d times, %d idle", e, seen.Load(), p.Idle())
	}
}

func TestDo_DoesNotReplaceAConnectionThatTookSome(t *testing.T) {
	for name, req := range map[string]*transport.Request{
		"GET":  get("/"),
		"POST": {Method: "POST", Target: "/", Host: "h", Body: strings.NewReader("hello"), ContentLength: 5},
	} {
		t.Run(name, func(t *testing.T) {
			dials, now := 0, new(atomic.Bool)
			s := serve(t, Options{}, echo)
			p := NewPool(at(s.dialer.Addr), Options{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				dials++
				c, err := new(net.Dialer).DialContext(ctx, network, addr)
				return halting{c, now}, err
			}})
			fetch(t, p, get("/"))
			now.Store(true)
			var resp Response
			e := wantKind(t, p.Do(t.Context(), req, &resp), transport.Reset)
			if dials != 1 || !e.Reused || e.BytesSent != 3 {
				t.Errorf("%+v after %d dials", e, dials)
			}
		})
	}
}

// halting is a connection that takes three bytes more and breaks, from now on.
type halting struct {
	net.Conn
	now *atomic.Bool
}

func (h halting) Write(p []byte) (int, error) {
	if !h.now.Load() {
		return h.Conn.Write(p)
	}
	h.Conn.Write(p[:3])
	h.Conn.Close()
	return 3, syscall.EPIPE
}

func TestNewConnection_LeavesThePoolAlone(t *testing.T) {
	p := serve(t, Options{}, echo)
	fetch(t, p, get("/"))
	req := get("/")
	req.NewConnection = true
	if resp, _ := fetch(t, p, req); resp.Reused || p.Idle() != 2 {
		t.Errorf("reused %v, %d idle", resp.Reused, p.Idle())
	}
}

func TestDo_AnswerBeforeTheBodyWasSent(t *testing.T) {
	p := script(t, Options{}, responseToHead("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"))
	r, w := io.Pipe()
	defer w.Close()
	var stops atomic.Int32
	req := &transport.Request{Method: "POST", Target: "/", Host: "h", Body: r, ContentLength: 1 << 30, StopBody: func() { stops.Add(1); r.CloseWithError(io.ErrClosedPipe) }}
	resp, body := fetch(t, p, req)
	if resp.Status != 413 || body != "no" || stops.Load() != 1 || p.Idle() != 0 {
		t.Errorf("%d %q, %d stops, %d idle", resp.Status, body, stops.Load(), p.Idle())
	}
}

// responseToHead responds once the header has come, and reads the rest.
// A header that needs a buffer of its own must not make a chunk larger than its size line has room
// for: one request would end the process.
func TestDo_ChunksStaySmallBehindALargeHeader(t *testing.T) {
	p := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err)
	})
	for _, header := range []int{68 << 10, 300 << 10} {
		const size = 4 << 20
		req := &transport.Request{Method: "POST", Target: "/", Host: "x", ContentLength: -1, Body: io.LimitReader(zeros{}, size),
			Fields: []byte("A: " + strings.Repeat("a", header) + "\r\n")}
		if _, got := fetch(t, p, req); got != fmt.Sprint(size, nil) {
			t.Errorf("behind %d bytes of header: the backend read %s, want all %d", header, got, size)
		}
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// A bug in reading the request's body is the caller's to recover from, whatever the exchange is at.
func TestDo_TellsOfItsSendersPanic(t *testing.T) {
	for name, tt := range map[string]struct {
		respond string // before the panic; "": none
		heard   func(*Response) any
	}{
		"before the response":       {"", nil},
		"in its body":               {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", recovered},
		"in a body that is broken":  {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", recovered},
		"when all has been read":    {okHello, func(r *Response) any { readAll(r); return r.Close() }},
		"in a callback, and a lock": {"", nil},
	} {
		t.Run(name, func(t *testing.T) {
			p := script(t, Options{}, func(c net.Conn, r *bufio.Reader) {
				http.ReadRequest(r)
				io.WriteString(c, tt.respond)
				io.Copy(io.Discard, r)
			})
			goes, gone := make(chan bool), make(chan bool)
			req := &transport.Request{Method: "POST", Target: "/", Host: "x", ContentLength: 5, Body: readerFunc(func([]byte) (int, error) {
				if tt.respond != "" {
					<-goes
				}
				defer close(gone)
				panic("oops")
			})}
			if strings.Contains(name, "callback") {
				req.Body = strings.NewReader("hello")
				req.OnPhase = func(p transport.Phase) {
					if p == transport.ReadRequest {
						panic("oops")
					}
				}
			}
			var resp Response
			defer resp.Close()
			heard := func() (bug any) {
				defer func() { bug = recover() }()
				return p.Do(t.Context(), req, &resp)
			}()
			if tt.heard != nil {
				if heard != nil {
					t.Fatal(heard)
				}
				close(goes)
				<-gone
				eventually(t, "the end of the exchange", func() bool {
					exchangeOf(&resp).Mu.Lock()
					defer exchangeOf(&resp).Mu.Unlock()
					return exchangeOf(&resp).Cause != nil
				})
				heard = tt.heard(&resp)
			}
			if text := fmt.Sprint(heard); !strings.HasPrefix(text, "oops") || !strings.Contains(text, "goroutine") {
				t.Errorf("heard %q, want the panic and where it came from", text)
			}
			if err := resp.Close(); err != nil {
				t.Errorf("and once more: %v", err)
			}
		})
	}
}

// recovered returns what reading the body panics with.
func recovered(r *Response) (bug any) {
	defer func() { bug = recover() }()
	_, err := readAll(r)
	return err
}

// An idle connection is looked at before it is used, also when a deadline of its last exchange has
// passed since: what came there unasked would be the next response.
func TestDo_LooksAtAConnectionWhoseDeadlineHasPassed(t *testing.T) {
	for name, idle := range map[string]func(net.Conn){
		"an unasked response": func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison") },
		"its end":             func(c net.Conn) { c.Close() },
	} {
		for wait, timeout := range map[string]time.Duration{"passed": 50 * time.Millisecond, "standing": time.Minute} {
			t.Run(name+", "+wait, func(t *testing.T) {
				var first atomic.Bool
				did := make(chan bool, 1)
				p := script(t, Options{ResponseTimeout: timeout}, func(c net.Conn, r *bufio.Reader) {
					mine := first.CompareAndSwap(false, true)
					for {
						if _, err := http.ReadRequest(r); err != nil {
							return
						}
						io.WriteString(c, okHello)
						if mine {
							time.Sleep(20 * time.Millisecond) // pooled by then
							idle(c)
							did <- true
						}
					}
				})
				fetch(t, p, get("/"))
				<-did
				time.Sleep(100 * time.Millisecond)
				req := get("/secret")
				req.Method = "POST"
				if resp, body := fetch(t, p, req); body != "hello" || resp.Reused {
					t.Errorf("got %q, reused %v", body, resp.Reused)
				}
			})
		}
	}
}

// The moment that Close grants the last bytes is one moment, however many writes they take.
func TestClose_GrantsTheLastBytesOneMoment(t *testing.T) {
	var x exchange
	p := script(t, Options{}, hang)
	nc, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.dialer.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	c := newConn(nc)
	x.pool, x.req, x.c, x.closing = p, get("/"), c, true // as stopSending leaves it, its moment over
	c.writeUntil = time.Now().Add(-time.Microsecond)
	if x.armWrite(c, time.Now(), time.Minute); c.writeUntil.After(time.Now()) {
		t.Errorf("another %v", time.Until(c.writeUntil))
	}
}

func responseToHead(text string) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		io.WriteString(c, text)
		io.Copy(io.Discard, r)
	}
}

func TestDo_FullDuplex(t *testing.T) {
	p := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		rc.EnableFullDuplex()
		rc.Flush()
		io.Copy(flushing{w, rc}, r.Body)
	})
	r, w := io.Pipe()
	var resp Response
	if err := p.Do(t.Context(), &transport.Request{Method: "POST", Target: "/", Host: "h", Body: r, ContentLength: -1}, &resp); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		want := fmt.Sprint(i)
		io.WriteString(w, want)
		if got, err := resp.Next(); err != nil || string(got) != want {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	}
	w.Close()
	if _, err := resp.Next(); err != io.EOF {
		t.Errorf("end is %v", err)
	}
	if resp.Close(); p.Idle() != 1 {
		t.Errorf("%d idle", p.Idle())
	}
}

type flushing struct {
	w  io.Writer
	rc *http.ResponseController
}

func (f flushing) Write(p []byte) (int, error) { defer f.rc.Flush(); return f.w.Write(p) }

func TestSplice_MovesTheRest(t *testing.T) {
	long := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for name, tt := range map[string]struct {
		head string
		send int // bytes of body sent
		kind transport.Kind
		idle int
	}{
		"with its length":                  {fmt.Sprintf("Content-Length: %d\r\n", len(long)), len(long), 0, 1},
		"not to the end of the connection": {"", len(long), 0, 0},
		"too short":                        {fmt.Sprintf("Content-Length: %d\r\n", len(long)), len(long) - 1, transport.Truncated, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := script(t, Options{}, func(c net.Conn, r *bufio.Reader) {
				respond("HTTP/1.1 200 OK\r\n"+tt.head+"\r\n")(c, r)
				c.Write(long[:tt.send])
				if tt.idle > 0 {
					r.ReadByte()
				}
			})
			got := make(chan []byte, 1)
			client, server := tcptest.Pair(t)
			go func() { b, _ := io.ReadAll(client); got <- b }()
			var resp Response
			if err := p.Do(t.Context(), get("/"), &resp); err != nil {
				t.Fatal(err)
			}
			err := moveBody(server, &resp)
			server.Close()
			resp.Close()
			if tt.kind != 0 {
				wantKind(t, err, tt.kind)
			} else if err != io.EOF {
				t.Errorf("ended with %v", err)
			}
			if b := <-got; !bytes.Equal(b, long[:tt.send]) || p.Idle() != tt.idle {
				t.Errorf("%d bytes arrived, want %d; %d idle", len(b), tt.send, p.Idle())
			}
		})
	}
}

// moveBody is how a proxy uses Splice.
func moveBody(dst *net.TCPConn, resp *Response) error {
	for {
		if src, n := resp.Splice(1); src != nil {
			resp.Spliced(dst.ReadFrom(io.LimitReader(src, n)))
		}
		p, err := resp.Next()
		if err != nil {
			return err
		}
		dst.Write(p)
	}
}

// Many at once, with backends that fail in every way: each exchange gets its own response or an
// error, never another's, and no connection is lost or kept wrongly.
func TestPool_ConcurrentSafe(t *testing.T) {
	p := script(t, Options{MaxIdle: 20}, moody)
	var wg sync.WaitGroup
	var good, bad atomic.Int32
	for g := range 16 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(g)))
			var resp Response
			for i := range 150 {
				id := fmt.Sprintf("%d.%d.", g, i)
				req := get("/" + id)
				if rng.IntN(2) == 0 {
					s := strings.Repeat("x", rng.IntN(50_000))
					req.Method, req.Body, req.ContentLength = "POST", strings.NewReader(s), int64(len(s))
					if rng.IntN(2) == 0 {
						req.ContentLength = -1
					}
				}
				ctx, cancel := context.WithCancel(t.Context())
				if rng.IntN(8) == 0 {
					time.AfterFunc(time.Duration(rng.IntN(3000))*time.Microsecond, cancel)
				}
				err := p.Do(ctx, req, &resp)
				if err == nil {
					var body string
					if rng.IntN(10) > 0 {
						body, err = readAll(&resp)
						if err == nil && body != strings.Repeat(id, len(body)/len(id)) || err == nil && body == "" {
							t.Errorf("asked for %q, got %.100q", id, body)
						}
					}
					resp.Close()
				}
				if err == nil {
					good.Add(1)
				} else {
					bad.Add(1)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if good.Load() < 500 || bad.Load() < 50 || p.Idle() > 20 {
		t.Errorf("%d good, %d bad, %d idle", good.Load(), bad.Load(), p.Idle())
	}
	p.Close()
}

// moody sends each request its path, and sometimes ends early.
func moody(c net.Conn, r *bufio.Reader) {
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		id := req.URL.Path[1:]
		early := rand.IntN(6) == 0
		if !early {
			io.Copy(io.Discard, req.Body)
		}
		body := strings.Repeat(id, 1+rand.IntN(1000))
		text := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		if rand.IntN(2) == 0 {
			text = fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body)
		}
		switch rand.IntN(12) {
		case 0:
			text = text[:rand.IntN(len(text))]
			io.WriteString(c, text)
			return
		case 1:
			return
		case 2:
			text += "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
		}
		io.WriteString(c, text)
		if early {
			io.Copy(io.Discard, req.Body)
		}
	}
}
