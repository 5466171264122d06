package http2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"pace/proxy/transport"
)

// bodyOf is a body whose Read is each.
type bodyOf func(p []byte) (int, error)

func (b bodyOf) Read(p []byte) (int, error) { return b(p) }

func TestDo_PassesInterimResponsesOnBeforeTheFinalOne(t *testing.T) {
	p := pool(t, backend(t, func(w http.ResponseWriter, r *http.Request) {
		for i := range 3 {
			w.Header().Set("Link", fmt.Sprint(i))
			w.WriteHeader(103)
		}
		io.Copy(w, r.Body)
	}), Options{})
	var got []string
	req := post("hello")
	req.On1xx = func(status int, fields []transport.Field) { got = append(got, fmt.Sprint(status, len(fields))) }
	var resp transport.Response
	defer resp.Close()
	if err := p.Do(t.Context(), req, &resp); err != nil {
		t.Fatal(err)
	}
	if want := "[103 1 103 1 103 1]"; fmt.Sprint(got) != want {
		t.Errorf("got %v before Do returned, want %s", got, want)
	}
	if body, err := readAll(&resp); body != "hello" || err != nil {
		t.Errorf("%q, %v", body, err)
	}
}

func TestDo_SendsABodyWhen100HasCome(t *testing.T) {
	p := pool(t, backend(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }), Options{})
	reported, early := false, false
	req, body := post("hello"), strings.NewReader("hello")
	req.Expect = true
	req.On1xx = func(status int, _ []transport.Field) { reported = status == 100 }
	req.Body = bodyOf(func(p []byte) (int, error) { early = early || !reported; return body.Read(p) })
	began := time.Now()
	if _, got := fetch(t, p, req); got != "hello" || !reported || early || time.Since(began) > expectDelay/2 {
		t.Errorf("%q, 100 reported %v, body read before that %v, after %v", got, reported, early, time.Since(began))
	}
}

// A body that waits for 100 is not sent if the final response comes first.
func TestDo_HoldsABodyBack(t *testing.T) {
	p := pool(t, backend(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(201) }), Options{})
	req, read := post("hello"), false
	req.Expect = true
	req.Body = bodyOf(func([]byte) (int, error) { read = true; return 0, io.EOF })
	if h, _ := fetch(t, p, req); h.Status != 201 || read {
		t.Errorf("%d, read %v", h.Status, read)
	}
}

func TestDo_CarriesTrailersBothWays(t *testing.T) {
	p := pool(t, backend(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, r.Body)
		for name, values := range r.Trailer {
			w.Header()[http.TrailerPrefix+name] = values
		}
	}), Options{})
	for _, announced := range []string{"", "X-One, Connection"} {
		req := post("hello")
		req.AnnouncedTrailer = announced
		req.Trailer = func() http.Header {
			return http.Header{"X-One": {"1", "2"}, "Connection": {"close"}, "X-Bad": {"a\r\nb"}, "Content-Length": {"9"}}
		}
		h, body := fetch(t, p, req)
		got := map[string]int{}
		for _, f := range h.Trailer {
			got[f.Name]++
		}
		// net/http's server drops what is not announced
		if body != "hello" || (got["X-One"] == 2) != (announced != "") || got["Connection"]+got["Content-Length"] != 0 {
			t.Errorf("announced %q: %q, trailer %v", announced, body, h.Trailer)
		}
	}
}

// The caller's end of an exchange resets the stream, at each stage, and the connection serves the next one.
func TestDo_ResetsAStreamThatTheCallerEnds(t *testing.T) {
	for name, each := range map[string]func(c *rawConn, f *http2.MetaHeadersFrame){
		"before the header": func(*rawConn, *http2.MetaHeadersFrame) {},
		"in the body": func(c *rawConn, f *http2.MetaHeadersFrame) {
			c.respond(f.StreamID, false, ":status", "200")
			c.WriteData(f.StreamID, false, []byte("he"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			here := make(chan bool, 1)
			b := serveRaw(t, nil, func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
				if n > 1 {
					c.ok(f.StreamID, "hello")
					return true
				}
				each(c, f)
				here <- true
				return true
			})
			p := pool(t, b.Address, Options{})
			ctx, cancel := context.WithCancelCause(t.Context())
			why := errors.New("why")
			go func() { <-here; time.Sleep(10 * time.Millisecond); cancel(why) }()
			var resp transport.Response
			err := p.Do(ctx, get("/"), &resp)
			if err == nil {
				_, err = readAll(&resp)
			}
			resp.Close()
			if e, ok := errors.AsType[*transport.Error](err); !ok || e.Kind != transport.Canceled || !errors.Is(err, why) {
				t.Errorf("got %v", err)
			}
			if h, body := fetch(t, p, get("/")); !h.Reused || body != "hello" {
				t.Errorf("then %+v, %q", h, body)
			}
		})
	}
}

// What goes wrong with the request's body is its own kind, and nobody touches the body after Close.
func TestDo_BodiesThatGoWrong(t *testing.T) {
	p := pool(t, backend(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }), Options{})
	broken := errors.New("broken")
	for _, tt := range []struct {
		name   string
		body   io.Reader
		length int64
		want   error
	}{
		{"one that is too short", strings.NewReader("he"), 5, errBodyShort},
		{"one that is too long", strings.NewReader("hello"), 2, errBodyLong},
		{"one that is of the largest length", strings.NewReader("hello"), math.MaxInt64, errBodyShort},
		{"one that fails", bodyOf(func([]byte) (int, error) { return 0, broken }), -1, broken},
	} {
		req := post("")
		req.Body, req.ContentLength = tt.body, tt.length
		if e := failure(t, p, req); e.Kind != transport.RequestBody || !errors.Is(e, tt.want) {
			t.Errorf("%s: %v", tt.name, e)
		}
	}
	defer func() {
		if bug := fmt.Sprint(recover()); !strings.HasPrefix(bug, "oops") || !strings.Contains(bug, "goroutine") {
			t.Errorf("the panic of a body came as %q", bug)
		}
	}()
	req := post("")
	req.Body, req.ContentLength = bodyOf(func([]byte) (int, error) { panic("oops") }), -1
	failure(t, p, req)
}

// Close waits for a Read of the request's body that is in progress, and makes it return.
func TestClose_StopsTheBody(t *testing.T) {
	p := pool(t, backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}), Options{})
	var mu sync.Mutex
	reading, stopped := false, make(chan struct{})
	req := post("")
	req.ContentLength = -1
	req.Body = bodyOf(func([]byte) (int, error) {
		mu.Lock()
		reading = true
		mu.Unlock()
		<-stopped
		time.Sleep(20 * time.Millisecond)
		mu.Lock()
		reading = false
		mu.Unlock()
		return 0, io.ErrUnexpectedEOF
	})
	req.StopBody = sync.OnceFunc(func() { close(stopped) })
	var resp transport.Response
	if err := p.Do(t.Context(), req, &resp); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the body is read", func() bool { mu.Lock(); defer mu.Unlock(); return reading })
	resp.Close()
	if reading {
		t.Error("the body is read after Close")
	}
}

func TestPool_KeepsWhatItMay(t *testing.T) {
	b := backend(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") })
	p := pool(t, b, Options{IdleTimeout: 50 * time.Millisecond})
	fetch(t, p, get("/"))
	eventually(t, "an idle connection expires", func() bool { return p.Open() == 0 })
	p = pool(t, b, Options{})
	fetch(t, p, get("/"))
	fresh := get("/")
	fresh.NewConnection = true
	if h, _ := fetch(t, p, fresh); h.Reused || p.Open() != 2 {
		t.Errorf("reused %v, %d connections", h.Reused, p.Open())
	}
	p.Limit(1)
	eventually(t, "those over the limit are closed", func() bool { return p.Open() == 1 })
	if h, _ := fetch(t, p, fresh); h.Reused {
		t.Error("an idle connection was in the way of a new one")
	}
	p.KeepIdle(false)
	eventually(t, "none is kept", func() bool { return p.Open() == 0 })
	fetch(t, p, get("/"))
	eventually(t, "none is kept after an exchange", func() bool { return p.Open() == 0 })
	p.KeepIdle(true)
	fetch(t, p, get("/"))
	p.Close()
	eventually(t, "none is there after Close", func() bool { return p.Open() == 0 })
}

// With its only connection full, a pool says so.
func TestDo_FullPool(t *testing.T) {
	b := serveRaw(t, []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 1}}, func(*rawConn, *http2.MetaHeadersFrame, int) bool { return true })
	p := pool(t, b.Address, Options{ResponseTimeout: 200 * time.Millisecond})
	p.Limit(1)
	done := make(chan *transport.Error)
	go func() { done <- failure(t, p, get("/")) }()
	eventually(t, "the first is there", func() bool { return b.requests.Load() == 1 })
	if e := failure(t, p, get("/")); e.Kind != transport.Full || e.BytesSent != 0 {
		t.Errorf("got %v", e)
	}
	if e := <-done; e.Kind != transport.ResponseTimeout {
		t.Errorf("got %v", e)
	}
}

// The response to a request with a body may have none. Then net/http goes on with the request after its response was
// read, and its exchange must not serve the next one.
func TestDo_AnExchangeIsNotUsedAgainTooEarly(t *testing.T) {
	p := pool(t, backend(t, func(w http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); string(body) != "hello" {
			w.WriteHeader(500)
		}
	}), Options{})
	var resp transport.Response
	for range 500 {
		if err := p.Do(t.Context(), post("hello"), &resp); err != nil || resp.Status != 200 {
			t.Fatal(resp.Status, err)
		}
		if body, err := readAll(&resp); body != "" || err != nil {
			t.Fatalf("%q, %v", body, err)
		}
		resp.Close()
	}
}

// Who leaves with as much of a body as was announced has all of it, although the stream goes on. Else the body is cut.
func TestNext_TheCallerLeavesWithTheWholeBody(t *testing.T) {
	for announced, whole := range map[string]bool{"5": true, "6": false, "": false} {
		b := serveRaw(t, nil, func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
			fields := []string{":status", "200"}
			if announced != "" {
				fields = append(fields, "content-length", announced)
			}
			c.respond(f.StreamID, false, fields...)
			c.WriteData(f.StreamID, false, []byte("hello"))
			return true
		})
		ctx, leave := context.WithCancel(t.Context())
		var resp transport.Response
		if err := pool(t, b.Address, Options{}).Do(ctx, get("/"), &resp); err != nil {
			t.Fatal(err)
		}
		if piece, err := resp.Next(); string(piece) != "hello" || err != nil {
			t.Errorf("%q, %v", piece, err)
		}
		leave()
		if _, err := resp.Next(); (err == io.EOF) != whole || err == nil {
			t.Errorf("of %q bytes: %v", announced, err)
		}
		resp.Close()
	}
}
