package http1

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pace/proxy/transport"
)

// pipes returns a pool whose connections are in memory, for bubbles; each is served by f.
func pipes(o Options, f func(c net.Conn, r *bufio.Reader)) *Pool {
	o.Dial = func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() { defer theirs.Close(); f(theirs, bufio.NewReader(theirs)) }()
		return ours, nil
	}
	return NewPool(at("backend:80"), o)
}

// bubble runs f in a bubble and then lets a day pass, in which idle connections and the backends
// behind them must end: whatever is left after it fails the test as a deadlock.
func bubble(t *testing.T, f func(t *testing.T)) {
	synctest.Test(t, func(t *testing.T) {
		f(t)
		time.Sleep(24 * time.Hour)
	})
}

// elapsed is whole milliseconds since start.
func elapsed(start time.Time) time.Duration { return time.Since(start).Truncate(time.Millisecond) }

// hang reads all and never responds.
func hang(c net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) }

const okHello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

func TestDo_GivesUpInTime(t *testing.T) {
	body := func() *transport.Request {
		return &transport.Request{Method: "POST", Target: "/", Host: "h", Body: strings.NewReader("hello"), ContentLength: 5}
	}
	noReader := func(c net.Conn, r *bufio.Reader) { time.Sleep(time.Hour) }
	slowReader := func(c net.Conn, r *bufio.Reader) {
		for range 9 {
			time.Sleep(19 * time.Second)
			c.Read(make([]byte, 1))
		}
		time.Sleep(time.Hour)
	}
	for name, tt := range map[string]struct {
		backend func(net.Conn, *bufio.Reader)
		req     *transport.Request
		kind    transport.Kind
		phase   transport.Phase
		after   time.Duration
	}{
		"no response header": {hang, get("/"), transport.ResponseTimeout, transport.Wait, 30 * time.Second},
		"half a response header": {func(c net.Conn, r *bufio.Reader) {
			r.ReadString('d')
			io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			hang(c, r)
		}, get("/"), transport.ResponseTimeout, transport.Wait, 30 * time.Second},
		"no response header after a body":           {hang, body(), transport.ResponseTimeout, transport.Wait, 30 * time.Second},
		"the request's header is not taken":         {noReader, get("/"), transport.ResponseTimeout, transport.Send, 30 * time.Second},
		"header and body are not taken":             {noReader, body(), transport.ResponseTimeout, transport.Send, 30 * time.Second},
		"the request is taken slowly, but it moves": {slowReader, get("/"), transport.ResponseTimeout, transport.Send, 210 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p, start := pipes(Options{}, tt.backend), time.Now()
				var resp Response
				e := wantKind(t, p.Do(t.Context(), tt.req, &resp), tt.kind)
				if e.Phase != tt.phase || elapsed(start) != tt.after {
					t.Errorf("gave up in phase %v after %v, want %v after %v", e.Phase, time.Since(start), tt.phase, tt.after)
				}
			})
		})
	}
}

func TestDo_ConnectTimesOut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := NewPool(at(""), Options{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		start := time.Now()
		var resp Response
		e := wantKind(t, p.Do(t.Context(), get("/"), &resp), transport.ConnectTimeout)
		if e.Phase != transport.Connect || e.BytesSent != 0 || time.Since(start) != time.Second {
			t.Errorf("%+v after %v", e, time.Since(start))
		}
	})
}

func TestDo_CancelUnblocksAtOnce(t *testing.T) {
	dialing := Options{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }}
	stuck := func() *transport.Request {
		r, w := io.Pipe()
		return &transport.Request{Method: "POST", Target: "/", Host: "h", Body: r, ContentLength: -1, StopBody: func() { w.CloseWithError(errors.New("stopped")) }}
	}
	for name, tt := range map[string]struct {
		pool  *Pool // nil: of pipes to backend
		o     Options
		back  func(net.Conn, *bufio.Reader)
		req   *transport.Request
		phase transport.Phase
	}{
		"while dialing":                   {o: dialing, req: get("/"), phase: transport.Connect},
		"while writing":                   {back: func(net.Conn, *bufio.Reader) { time.Sleep(time.Hour) }, req: get("/"), phase: transport.Send},
		"while waiting":                   {back: hang, req: get("/"), phase: transport.Wait},
		"while the client is slow":        {back: hang, req: stuck(), phase: transport.ReadRequest},
		"while the backend holds its 100": {back: hang, req: &transport.Request{Method: "POST", Target: "/", Host: "h", Body: strings.NewReader("x"), ContentLength: 1, Expect: true}, phase: transport.Wait},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := pipes(Options{}, tt.back)
				if tt.o.Dial != nil {
					p = NewPool(at(""), tt.o)
				}
				if tt.req.StopBody != nil {
					tt.req = stuck() // its pipe belongs into the bubble
				}
				ctx, cancel := context.WithCancel(t.Context())
				start, after := time.Now(), 300*time.Millisecond
				time.AfterFunc(after, cancel)
				var resp Response
				e := wantKind(t, p.Do(ctx, tt.req, &resp), transport.Canceled)
				if time.Since(start) != after || e.Phase != tt.phase || !errors.Is(e, context.Canceled) {
					t.Errorf("returned %v in %v after %v, want %v in %v", e, e.Phase, time.Since(start), after, tt.phase)
				}
			})
		})
	}
}

func TestDo_CancelInTheFirstMillisecondsIsSeenSoon(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := pipes(Options{}, hang)
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		time.AfterFunc(time.Millisecond, cancel)
		var resp Response
		wantKind(t, p.Do(ctx, get("/"), &resp), transport.Canceled)
		if time.Since(start) > 2*patience {
			t.Errorf("returned after %v, want %v at most", time.Since(start), 2*patience)
		}
		wantKind(t, p.Do(ctx, get("/"), &resp), transport.Canceled) // and one that had ended before is not sent
	})
}

func TestNext_CancelUnblocksAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := pipes(Options{}, func(c net.Conn, r *bufio.Reader) { respond(okHello[:len(okHello)-1])(c, r); hang(c, r) })
		ctx, cancel := context.WithCancel(t.Context())
		var resp Response
		if err := p.Do(ctx, get("/"), &resp); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		time.AfterFunc(time.Minute, cancel) // a body may take its time
		body, err := readAll(&resp)
		e := wantKind(t, err, transport.Canceled)
		resp.Close()
		if body != "hell" || time.Since(start) != time.Minute || e.Phase != transport.Receive || p.Idle() != 0 {
			t.Errorf("body %q, %+v after %v, %d idle", body, e, time.Since(start), p.Idle())
		}
	})
}

// The deadlines of one exchange are left standing on the connection: they must not shorten the next.
func TestDo_OldDeadlinesMeanNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := pipes(Options{}, func(c net.Conn, r *bufio.Reader) {
			respond(okHello)(c, r)
			http.ReadRequest(r)
			time.Sleep(29 * time.Second) // past the first deadline, which was at 30
			io.WriteString(c, okHello[:len(okHello)-1])
			time.Sleep(time.Hour)
			io.WriteString(c, "o")
			respond("")(c, r)
			time.Sleep(time.Hour)
		})
		fetch(t, p, get("/"))
		time.Sleep(3 * time.Second)
		resp, body := fetch(t, p, get("/"))
		if !resp.Reused || body != "hello" {
			t.Errorf("reused %v, body %q", resp.Reused, body)
		}
		start := time.Now()
		e := wantKind(t, p.Do(t.Context(), get("/"), resp), transport.ResponseTimeout)
		if !e.Reused || elapsed(start) != 30*time.Second {
			t.Errorf("%+v after %v", e, time.Since(start))
		}
	})
}

func TestDo_ResponseTimeStartsWithTheLastByte(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := pipes(Options{}, hang)
		r, w := io.Pipe()
		start := time.Now()
		time.AfterFunc(time.Hour, func() { w.Close() })
		var resp Response
		wantKind(t, p.Do(t.Context(), &transport.Request{Method: "POST", Target: "/", Host: "h", Body: r, ContentLength: -1}, &resp), transport.ResponseTimeout)
		if elapsed(start) != time.Hour+30*time.Second {
			t.Errorf("gave up after %v", time.Since(start))
		}
	})
}

// writes is a connection that notes what each write held.
type writes struct {
	net.Conn
	mu   sync.Mutex
	each []string
}

func (w *writes) Write(p []byte) (int, error) {
	w.mu.Lock()
	w.each = append(w.each, string(p))
	w.mu.Unlock()
	return w.Conn.Write(p)
}

func TestDo_HeadGoesWithABodyAtHand(t *testing.T) {
	for name, tt := range map[string]struct {
		wait   time.Duration // before the body's first byte
		length int64
		writes []string
		phases []transport.Phase
	}{
		"a body at hand is sent with the header":         {0, 5, []string{"POST…hello"}, []transport.Phase{transport.Connect, transport.Send, transport.ReadRequest, transport.Send, transport.Wait}},
		"so is one in chunks, and its end":               {0, -1, []string{"POST…5\r\nhello\r\n", "0\r\n\r\n"}, []transport.Phase{transport.Connect, transport.Send, transport.ReadRequest, transport.Send, transport.ReadRequest, transport.Send, transport.Wait}},
		"a header does not wait for a body that is slow": {time.Second, 5, []string{"POST…", "hello"}, []transport.Phase{transport.Connect, transport.Send, transport.ReadRequest, transport.Send, transport.ReadRequest, transport.Send, transport.Wait}},
		"nor does it for chunks":                         {time.Second, -1, []string{"POST…", "5\r\nhello\r\n", "0\r\n\r\n"}, []transport.Phase{transport.Connect, transport.Send, transport.ReadRequest, transport.Send, transport.ReadRequest, transport.Send, transport.ReadRequest, transport.Send, transport.Wait}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := pipes(Options{}, func(c net.Conn, r *bufio.Reader) {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					io.Copy(io.Discard, req.Body)
					time.Sleep(time.Second) // or the response may be there before the sender says Wait
					io.WriteString(c, okHello)
				})
				o, dial, seen := p.o, p.o.Dial, &writes{}
				o.Dial = func(ctx context.Context, n, a string) (net.Conn, error) {
					seen.Conn, _ = dial(ctx, n, a)
					return seen, nil
				}
				p = NewPool(at(p.dialer.Addr), o)
				r, w := io.Pipe()
				go func() { time.Sleep(tt.wait); io.WriteString(w, "hello"); w.Close() }()
				var phases []transport.Phase
				req := &transport.Request{Method: "POST", Target: "/", Host: "h", Body: r, ContentLength: tt.length, OnPhase: func(p transport.Phase) { phases = append(phases, p) }}
				fetch(t, p, req)
				for i, s := range seen.each {
					if head, rest, ok := strings.Cut(s, "\r\n\r\n"); ok && i == 0 {
						seen.each[0] = head[:4] + "…" + rest
					}
				}
				if !slices.Equal(seen.each, tt.writes) || !slices.Equal(phases, tt.phases) {
					t.Errorf("writes %q in phases %v, want %q in %v", seen.each, phases, tt.writes, tt.phases)
				}
			})
		})
	}
}

func TestDo_ExpectHoldsTheBodyBack(t *testing.T) {
	const refused = "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n"
	for name, tt := range map[string]struct {
		backend func(c net.Conn, r *bufio.Reader)
		status  int
		after   time.Duration // when the body was read
		read    bool
		idle    int
	}{
		"until 100 comes": {func(c net.Conn, r *bufio.Reader) {
			time.Sleep(300 * time.Millisecond)
			io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
			io.ReadFull(r, make([]byte, 5))
			io.WriteString(c, okHello)
			hang(c, r)
		}, 200, 300 * time.Millisecond, true, 1},
		"for a second": {func(c net.Conn, r *bufio.Reader) {
			io.ReadFull(r, make([]byte, 5))
			io.WriteString(c, okHello)
			hang(c, r)
		}, 200, time.Second, true, 1},
		"for good after a final response": {func(c net.Conn, r *bufio.Reader) {
			time.Sleep(300 * time.Millisecond)
			io.WriteString(c, refused)
			hang(c, r)
		}, 417, 0, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := pipes(Options{}, func(c net.Conn, r *bufio.Reader) {
					req, err := http.ReadRequest(r)
					if err != nil || req.Header.Get("Expect") != "100-continue" {
						return
					}
					tt.backend(c, r)
				})
				body := &noted{r: strings.NewReader("hello")}
				start := time.Now()
				resp, _ := fetch(t, p, &transport.Request{Method: "PUT", Target: "/", Host: "h", Expect: true, Body: body, ContentLength: 5})
				if resp.Status != tt.status || body.first.IsZero() == tt.read || tt.read && elapsed(start) < tt.after || tt.read && body.first.Sub(start).Truncate(time.Millisecond) != tt.after || p.Idle() != tt.idle {
					t.Errorf("status %d, body read %v after %v, %d idle", resp.Status, !body.first.IsZero(), body.first.Sub(start), p.Idle())
				}
				p.Close()
			})
		})
	}
}

// noted is a reader that notes when it was first read.
type noted struct {
	r     io.Reader
	first time.Time
}

func (n *noted) Read(p []byte) (int, error) {
	if n.first.IsZero() {
		n.first = time.Now()
	}
	return n.r.Read(p)
}

func TestDo_EarlyAnswerDoesNotWaitForTheBody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := pipes(Options{}, func(c net.Conn, r *bufio.Reader) { http.ReadRequest(r); io.WriteString(c, okHello); hang(c, r) })
		r, w := io.Pipe()
		stopped := false
		req := &transport.Request{Method: "POST", Target: "/", Host: "h", Body: r, ContentLength: 1000, StopBody: func() { stopped = true; w.CloseWithError(io.ErrClosedPipe) }}
		start := time.Now()
		_, body := fetch(t, p, req)
		if body != "hello" || elapsed(start) > time.Millisecond || !stopped || p.Idle() != 0 {
			t.Errorf("body %q after %v, stopped %v, %d idle", body, time.Since(start), stopped, p.Idle())
		}
	})
}

func TestPool_IdleConnectionsEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		closed := 0
		p := pipes(Options{MaxIdle: 2}, func(c net.Conn, r *bufio.Reader) {
			for {
				if _, err := http.ReadRequest(r); err != nil {
					closed++
					return
				}
				io.WriteString(c, okHello)
			}
		})
		three := make([]Response, 3)
		for i := range three {
			if err := p.Do(t.Context(), get("/"), &three[i]); err != nil {
				t.Fatal(err)
			}
			readAll(&three[i])
		}
		for i := range three {
			three[i].Close()
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if p.Idle() != 2 || closed != 1 {
			t.Errorf("%d idle, %d closed, want 2, for MaxIdle, and 1", p.Idle(), closed)
		}
		resp, _ := fetch(t, p, get("/")) // the younger one, at 3 s
		if !resp.Reused {
			t.Error("not reused")
		}
		for _, at := range []struct {
			second, idle int
		}{{59, 2}, {61, 1}, {62, 1}, {64, 0}} {
			time.Sleep(time.Duration(at.second)*time.Second - time.Since(bubbleStart))
			synctest.Wait()
			if p.Idle() != at.idle {
				t.Errorf("%d idle after %d s, want %d", p.Idle(), at.second, at.idle)
			}
		}
		if closed != 3 {
			t.Errorf("%d closed, want 3", closed)
		}
	})
}

// bubbleStart is what every bubble's clock begins with.
var bubbleStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// A pool that a reload has replaced leaks nothing (traefik 13760).
func TestPool_CloseReachesConnectionsInUse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := pipes(Options{}, func(c net.Conn, r *bufio.Reader) { respond(okHello)(c, r); hang(c, r) })
		fetch(t, p, get("/"))
		var busy Response
		req := get("/")
		req.NewConnection = true
		if err := p.Do(t.Context(), req, &busy); err != nil || p.Idle() != 1 {
			t.Fatal(err, p.Idle())
		}
		p.Close()
		if body, err := readAll(&busy); body != "hello" || err != nil {
			t.Errorf("the exchange in progress ended with %q, %v", body, err)
		}
		busy.Close()
		synctest.Wait() // would find a deadlock, were a connection left open: hang ends with it
		if p.Idle() != 0 {
			t.Errorf("%d idle", p.Idle())
		}
	})
}

// A client that has read the last byte of a response may leave before its exchange is closed. The connection is as good as
// if it had stayed.
func TestClose_KeepsTheConnectionOfAClientThatLeftWithAllOfItsResponse(t *testing.T) {
	post := &transport.Request{Method: "POST", Target: "/", Host: "h", Body: strings.NewReader("hello"), ContentLength: 5}
	for _, tt := range []struct {
		name  string
		req   *transport.Request
		first string // of the response, before the client leaves
		idle  int
	}{
		{"all of it", get("/"), okHello, 1},
		{"all of it, after a body", post, okHello, 1},
		{"all but its last byte", get("/"), strings.TrimSuffix(okHello, "o"), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := pipes(Options{}, func(c net.Conn, r *bufio.Reader) { respond(tt.first, okHello)(c, r); hang(c, r) })
				ctx, leave := context.WithCancel(t.Context())
				var resp Response
				if err := p.Do(ctx, tt.req, &resp); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second) // until ctx is watched
				if _, err := resp.Next(); err != nil {
					t.Fatal(err)
				}
				leave()
				synctest.Wait()
				if _, err := resp.Next(); (err == io.EOF) != (tt.idle == 1) {
					t.Errorf("the body goes on with %v", err)
				}
				resp.Close()
				if p.Idle() != tt.idle {
					t.Errorf("%d connections are idle, want %d", p.Idle(), tt.idle)
				}
				if tt.idle == 0 {
					return
				}
				if next, body := fetch(t, p, get("/")); !next.Reused || body != "hello" {
					t.Errorf("the next exchange got %q, on a connection that was there: %t", body, next.Reused)
				}
			})
		})
	}
}

func TestDo_AnswerBeforeTheRequestIsSomebodyElses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := pipes(Options{}, func(c net.Conn, r *bufio.Reader) { io.WriteString(c, okHello); hang(c, r) })
		r, w := io.Pipe()
		defer w.Close()
		req := &transport.Request{Method: "POST", Target: "/", Host: "h", Body: r, ContentLength: 5, StopBody: func() { r.Close() }}
		var resp Response
		e := wantKind(t, p.Do(t.Context(), req, &resp), transport.Invalid)
		if e.BytesSent != 0 || !e.Responded {
			t.Errorf("%+v", e)
		}
	})
}

func TestNext_GoesOnThoughTheBackendTakesNoMore(t *testing.T) {
	for name, tt := range map[string]struct {
		length int64
		pause  time.Duration // before the end of the response
		closed time.Duration // how long Close takes
	}{
		"of a body with more to come":    {1 << 20, time.Minute, 0},
		"of a body whose end is unknown": {-1, time.Minute, 0},
		"of the body's last bytes":       {3000, time.Second, lastGrace},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := pipes(Options{}, func(c net.Conn, r *bufio.Reader) {
					c.Read(make([]byte, 100)) // and never again
					io.WriteString(c, okHello[:len(okHello)-1])
					time.Sleep(tt.pause)
					io.WriteString(c, okHello[len(okHello)-1:])
					time.Sleep(time.Hour)
				})
				body := io.LimitReader(endless{}, 1<<20)
				if tt.length > 0 {
					body = io.LimitReader(endless{}, tt.length)
				}
				var resp Response
				if err := p.Do(t.Context(), &transport.Request{Method: "POST", Target: "/", Host: "h", Body: body, ContentLength: tt.length}, &resp); err != nil {
					t.Fatal(err)
				}
				got, err := readAll(&resp)
				start := time.Now()
				resp.Close()
				if got != "hello" || err != nil || time.Since(start) != tt.closed || p.Idle() != 0 {
					t.Errorf("%q, %v, closed after %v, %d idle", got, err, time.Since(start), p.Idle())
				}
			})
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
