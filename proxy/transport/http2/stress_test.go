package http2

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"pace/proxy/transport"
)

// With clients that leave, and a backend that ends streams and connections in every way, each response that is whole is the
// right one, and in the end nothing is left.
func TestStress(t *testing.T) {
	goroutines := runtime.NumGoroutine()
	b := serveRaw(t, []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 20}}, nil)
	b.each = respondAnyhow
	p := NewPool(b.Address, Options{ResponseTimeout: 20 * time.Millisecond, BodyTimeout: 20 * time.Millisecond})
	var clients sync.WaitGroup
	for range 20 {
		clients.Go(func() {
			var resp transport.Response
			for range 50 {
				ctx, cancel := context.WithCancel(t.Context())
				if rand.N(3) == 0 {
					time.AfterFunc(rand.N(3*time.Millisecond), cancel)
				}
				body, err := "", p.Do(ctx, anyRequest(), &resp)
				if err == nil {
					body, err = readAll(&resp)
				}
				resp.Close()
				cancel()
				if e, ok := errors.AsType[*transport.Error](err); err == nil && body != "hello" || err != nil && (!ok || e.Kind == transport.Panicked) {
					t.Errorf("%q, %v", body, err)
				}
			}
		})
	}
	clients.Wait()
	p.Close()
	eventually(t, "no connection is left", func() bool { return p.Open() == 0 })
	eventually(t, "no goroutine of theirs is left", func() bool { return runtime.NumGoroutine() < goroutines+20 })
}

func anyRequest() *transport.Request {
	req := get("/")
	switch rand.N(4) {
	case 0:
		req = post(strings.Repeat("x", rand.N(60_000)))
	case 1:
		req = post(strings.Repeat("x", rand.N(60_000)))
		req.ContentLength = -1
		req.BodyReady = func() bool { return rand.N(4) > 0 }
		req.Trailer = func() http.Header { return http.Header{"A": {"b"}} }
	case 2:
		req = post("hello")
		req.Expect = true
	}
	req.On1xx = func(int, []transport.Field) {}
	req.NewConnection = rand.N(50) == 0
	return req
}

func respondAnyhow(c *rawConn, f *http2.MetaHeadersFrame, _ int) (more bool) {
	id := f.StreamID
	c.mu.Lock()
	defer c.mu.Unlock()
	switch rand.N(10) {
	case 0: // nothing
	case 1:
		c.WriteRSTStream(id, http2.ErrCodeRefusedStream)
	case 2:
		c.respond(id, false, ":status", "200")
		c.WriteRSTStream(id, http2.ErrCodeInternal)
	case 3:
		c.WriteGoAway(id-2*uint32(rand.N(2)), 0, nil)
		c.ok(id, "hello")
	case 4:
		return rand.N(3) > 0
	case 5:
		c.respond(id, false, ":status", "103", "link", "a")
		c.respond(id, false, ":status", "100")
		c.ok(id, "hello")
	case 6:
		c.ok(id, "hello")
		c.WriteRSTStream(id, http2.ErrCodeNo)
	case 7:
		c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: rand.Uint32N(100_000)}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 5 + rand.Uint32N(20)})
		c.WriteWindowUpdate(0, 100_000)
		c.WriteWindowUpdate(id, 100_000)
		c.ok(id, "hello")
	default:
		c.respond(id, false, ":status", "200")
		c.WriteDataPadded(id, false, []byte("he"), make([]byte, 10))
		time.AfterFunc(rand.N(3*time.Millisecond), func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.WriteWindowUpdate(0, 20_000)
			c.WriteData(id, true, []byte("llo"))
		})
	}
	return true
}
