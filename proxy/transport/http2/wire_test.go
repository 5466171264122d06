package http2

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"pace/proxy/transport"
	"pace/proxy/transport/dial"
)

// failure makes an exchange that fails, in Do or in Next.
func failure(t *testing.T, p *Pool, req *transport.Request) *transport.Error {
	t.Helper()
	var resp transport.Response
	defer resp.Close()
	err := p.Do(t.Context(), req, &resp)
	if err == nil {
		_, err = readAll(&resp)
	}
	if err == nil {
		return &transport.Error{}
	}
	e, ok := errors.AsType[*transport.Error](err)
	if !ok {
		t.Fatalf("%T: %v", err, err)
	}
	return e
}

type eachFunc = func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool

func TestDo_SendsARequestOnce(t *testing.T) {
	reset := func(code http2.ErrCode) eachFunc {
		return func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
			c.WriteRSTStream(f.StreamID, code)
			return true
		}
	}
	for _, tt := range []struct {
		name string
		each eachFunc
		kind transport.Kind
	}{
		{"a stream that is refused", reset(http2.ErrCodeRefusedStream), transport.RefusedStream},
		{"a stream that is reset for a rule", reset(http2.ErrCodeProtocol), transport.Reset},
		{"a stream that is reset with NO_ERROR", reset(http2.ErrCodeNo), transport.Reset},
		{"a GOAWAY that excludes the stream", func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
			c.WriteGoAway(0, http2.ErrCodeNo, nil)
			return true
		}, transport.GoAway},
		{"a GOAWAY with an error that excludes the stream", func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
			c.WriteGoAway(0, http2.ErrCodeProtocol, nil)
			return false
		}, transport.GoAway},
		{"a GOAWAY that includes the stream, and then the end", func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
			c.WriteGoAway(f.StreamID, http2.ErrCodeNo, nil)
			return false
		}, transport.Reset},
		{"a connection that ends", func(*rawConn, *http2.MetaHeadersFrame, int) bool { return false }, transport.Reset},
		{"a frame that is none", func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
			c.WriteRawFrame(http2.FrameSettings, 0, 0, []byte{1})
			return true
		}, transport.Invalid},
		{"a header without a status", func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
			c.respond(f.StreamID, true, "a", "b")
			return true
		}, transport.Invalid},
		{"a status that is none", func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
			c.respond(f.StreamID, true, ":status", "20")
			return true
		}, transport.Invalid},
		{"a switch of protocols", func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
			c.respond(f.StreamID, false, ":status", "101")
			return true
		}, transport.Invalid},
		{"two lengths that differ", func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
			c.respond(f.StreamID, true, ":status", "200", "content-length", "1", "content-length", "2")
			return true
		}, transport.Invalid},
		{"a header over the limit", func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
			c.respond(f.StreamID, true, ":status", "200", "a", strings.Repeat("x", 1200))
			return true
		}, transport.HeaderTooLarge},
		{"a header far over the limit", func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
			c.respond(f.StreamID, true, ":status", "200", "a", strings.Repeat("x", 6000))
			return true
		}, transport.HeaderTooLarge},
		{"a body that is reset", func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
			c.respond(f.StreamID, false, ":status", "200")
			c.WriteData(f.StreamID, false, []byte("he"))
			c.WriteRSTStream(f.StreamID, http2.ErrCodeInternal)
			return true
		}, transport.Truncated},
		{"a body that is shorter than announced", func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
			c.respond(f.StreamID, false, ":status", "200", "content-length", "5")
			c.WriteData(f.StreamID, true, []byte("he"))
			return true
		}, transport.Truncated},
		{"a body that is announced and does not come", func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
			c.respond(f.StreamID, true, ":status", "200", "content-length", "5")
			return true
		}, transport.Truncated},
		{"a body that is longer than announced", func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
			c.respond(f.StreamID, false, ":status", "200", "content-length", "1")
			c.WriteData(f.StreamID, true, []byte("hello"))
			return true
		}, transport.Truncated},
		{"a connection that ends in the body", func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
			c.respond(f.StreamID, false, ":status", "200")
			c.WriteData(f.StreamID, false, []byte("he"))
			return false
		}, transport.Truncated},
		{"no response", func(*rawConn, *http2.MetaHeadersFrame, int) bool { return true }, transport.ResponseTimeout},
		{"no more of a body", func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
			c.respond(f.StreamID, false, ":status", "200")
			c.WriteData(f.StreamID, false, []byte("he"))
			return true
		}, transport.Stalled},
	} {
		for _, method := range []string{"GET", "POST"} {
			t.Run(method+", "+tt.name, func(t *testing.T) {
				b := serveRaw(t, nil, tt.each)
				timeout := 10 * time.Second
				if tt.kind == transport.ResponseTimeout || tt.kind == transport.Stalled {
					timeout = 100 * time.Millisecond
				}
				p := pool(t, b.Address, Options{ResponseTimeout: timeout, BodyTimeout: timeout, MaxHeaderBytes: 1000})
				req := get("/")
				req.Method = method
				e := failure(t, p, req)
				if e.Kind != tt.kind || e.BytesSent == 0 || e.Err == nil || e.Words() == "" {
					t.Errorf("got %+v (%s), want %v", e, e.Words(), tt.kind)
				}
				b.wantRequests(t, 1)
			})
		}
	}
}

// A request that a connection cannot carry any more goes on a new one, and is counted once.
func TestDo_TakesANewConnectionAfterAGoAway(t *testing.T) {
	b := serveRaw(t, nil, func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
		c.respond(f.StreamID, false, ":status", "200")
		c.WriteGoAway(f.StreamID, http2.ErrCodeNo, nil)
		c.WriteData(f.StreamID, true, []byte("hello"))
		return true
	})
	p := pool(t, b.Address, Options{})
	for i := range int32(20) {
		if h, body := fetch(t, p, get("/")); h.Status != 200 || body != "hello" {
			t.Errorf("%d, %q", h.Status, body)
		}
		if got := b.requests.Load(); got != i+1 {
			t.Fatalf("%d requests after %d", got, i+1)
		}
	}
	eventually(t, "the last connection is closed", func() bool { return p.Open() == 0 })
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in 30 s: " + what)
		}
	}
}

// carried returns how many exchanges the connections of p carry. Those that wait for a connection are not among them.
func carried(p *Pool) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		n += c.users
	}
	return n
}

// What does not speak HTTP/2 shows that before a request is sent.
func TestDo_SendsNothingToWhatIsNoHTTP2(t *testing.T) {
	for _, tt := range []struct {
		name  string
		serve func(net.Conn)
		kind  transport.Kind
	}{
		{"a server of HTTP/1.1", func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") }, transport.Invalid},
		{"one that closes", func(net.Conn) {}, transport.Reset},
		{"one that is silent", func(c net.Conn) { io.Copy(io.Discard, c) }, transport.ConnectTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					io.CopyN(io.Discard, c, int64(len(http2.ClientPreface)))
					tt.serve(c)
					c.Close()
				}
			}()
			p := pool(t, dial.Address{Network: "tcp", Addr: l.Addr().String()}, Options{ConnectTimeout: 200 * time.Millisecond})
			e := failure(t, p, get("/"))
			if e.Kind != tt.kind || e.BytesSent != 0 || e.Phase != transport.Connect || e.Remote.Port() == 0 || e.Words() == "" {
				t.Errorf("got %+v (%s), want %v", e, e.Words(), tt.kind)
			}
			eventually(t, "no connection is left", func() bool { return p.Open() == 0 })
		})
	}
}

// A burst never opens more streams on a connection than the backend allows, and waits for connections together.
func TestDo_HeedsTheLimitOfStreams(t *testing.T) {
	const limit, requests = 10, 35
	var streams sync.Map // open ones of each connection
	all := make(chan struct{})
	b := serveRaw(t, []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: limit}}, func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
		streams.Store(c, n)
		c.okAfter(all, f.StreamID)
		return true
	})
	p := pool(t, b.Address, Options{})
	var done sync.WaitGroup
	for range requests {
		done.Go(func() { fetch(t, p, get("/")) })
	}
	eventually(t, "all requests are there", func() bool { return b.requests.Load() == requests })
	streams.Range(func(_, n any) bool {
		if n.(int) > limit {
			t.Errorf("%d streams on a connection", n)
		}
		return true
	})
	if n := p.Open(); n < 4 || n > 6 {
		t.Errorf("%d connections for %d requests, %d each", n, requests, limit)
	}
	close(all)
	done.Wait()
	if p.Idle() != p.Open() {
		t.Errorf("%d of %d connections are idle", p.Idle(), p.Open())
	}
}

// Whoever sees how long requests are could guess the fields of others, if a header were shorter because of those before.
func TestDo_AHeaderIsAsLongWhateverWasSentBefore(t *testing.T) {
	b := serveRaw(t, nil, func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
		c.ok(f.StreamID, "hello")
		return true
	})
	p := pool(t, b.Address, Options{})
	var sizes [3]int64
	for i := range sizes {
		req := get("/")
		req.Fields = []byte("Authorization: Bearer 0123456789\r\nX-Request-Id: 7\r\n")
		var resp transport.Response
		if err := p.Do(t.Context(), req, &resp); err != nil {
			t.Fatal(err)
		}
		readAll(&resp)
		resp.Close()
		sizes[i] = resp.BytesSent
	}
	if sizes[0] != sizes[1] || sizes[1] != sizes[2] || sizes[2] < 40 {
		t.Errorf("the same header was %d bytes long", sizes)
	}
}
