package http2

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"pace/proxy/transport"
)

// waiter returns an exchange that has waited for a new connection, in the moment before it uses it.
func waiter(t *testing.T, p *Pool) (*exchange, *conn) {
	x := newExchange()
	x.begin(t.Context(), p, get("/"))
	p.mu.Lock()
	d, _ := p.joinLocked()
	p.mu.Unlock()
	if err := x.await(d); err != nil {
		t.Fatal(err)
	}
	return x, d.conn
}

// A connection for which somebody has waited is not idle, although it carries nothing yet.
func TestUseNew_NobodyClosesWhatIsWaitedFor(t *testing.T) {
	for name, closes := range map[string]func(p *Pool){
		"the backend is drained":  func(p *Pool) { p.KeepIdle(false) },
		"a reload drops the pool": func(p *Pool) { p.Close() },
		"the limit becomes lower": func(p *Pool) {
			p.mu.Lock()
			p.open++ // another one
			p.mu.Unlock()
			p.Limit(1)
			p.mu.Lock()
			p.open--
			p.mu.Unlock()
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := serveRaw(t, nil, func(c *rawConn, f *http2.MetaHeadersFrame, _ int) bool {
				c.ok(f.StreamID, "ok")
				return true
			})
			p := pool(t, b.Address, Options{})
			x, c := waiter(t, p)
			closes(p)
			if ok, err := x.useNew(c); !ok || err != nil {
				t.Fatalf("the connection may be used: %v, %v", ok, err)
			}
			p.leave(c)
			if name != "the limit becomes lower" {
				wantOpen(t, p, 0)
			}
		})
	}
}

// Nor is it kept if the one who has waited for it leaves.
func TestAwait_WhoLeavesKeepsNoConnection(t *testing.T) {
	b := serveRaw(t, nil, func(*rawConn, *http2.MetaHeadersFrame, int) bool { return true })
	p := pool(t, b.Address, Options{})
	x := newExchange()
	x.begin(t.Context(), p, get("/"))
	p.mu.Lock()
	d, _ := p.joinLocked()
	p.mu.Unlock()
	<-d.done
	p.KeepIdle(false)
	p.unwait(d)
	wantOpen(t, p, 0)
}

func wantOpen(t *testing.T, p *Pool, want int) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); p.Open() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d connections are open, want %d", p.Open(), want)
		}
	}
}

// Where the backend closes a new connection before anything was sent, there is another one, but not one after the other
// without an end.
func TestAcquire_AnotherConnectionForThoseThatHaveWaited(t *testing.T) {
	b := serveRaw(t, nil, func(c *rawConn, f *http2.MetaHeadersFrame, _ int) bool {
		c.ok(f.StreamID, "ok")
		return true
	})
	p := pool(t, b.Address, Options{})
	x, c := waiter(t, p)
	p.retire(c) // as after a GOAWAY
	if ok, err := x.useNew(c); ok || err != nil {
		t.Fatalf("got %v, %v; want another try", ok, err)
	}
	next, _, err := p.acquire(x)
	if err != nil {
		t.Fatal(err)
	}
	if next == c {
		t.Error("the connection is the one that ends")
	}
	p.leave(next)

	p.retire(next)
	p.mu.Lock()
	d, _ := p.joinLocked()
	p.mu.Unlock()
	<-d.done
	p.retire(d.conn)
	if ok, err := x.useNew(d.conn); ok || err == nil {
		t.Error("that the second one ends, too, is no failure")
	}
	b.wantRequests(t, 0)
}

// What was reset says nothing about how much the next connection carries.
func TestUseNew_AResetIsNoLimit(t *testing.T) {
	b := serveRaw(t, []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 1}}, func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool { return true })
	b.keepsPings = true
	p := pool(t, b.Address, Options{})
	one, c := waiter(t, p)
	two := newExchange()
	two.begin(t.Context(), p, get("/"))
	p.mu.Lock()
	c.waiters++ // two has joined the same dial
	p.mu.Unlock()
	if ok, err := one.useNew(c); !ok || err != nil {
		t.Fatal(ok, err)
	}
	one.header.Render(get("/"), "http")
	if ok, err := one.open(c, false); !ok || err != nil {
		t.Fatal(ok, err)
	}
	one.fail(transport.Canceled, context.Canceled)
	one.Close(new(transport.Response))
	if ok, err := two.useNew(c); ok || err != nil {
		t.Errorf("got %v, %v; want another try, on a new connection", ok, err)
	}
	if p.carries != 1 {
		t.Errorf("the next connection is expected to carry %d", p.carries)
	}
}

// A backend that allows no streams collects no connections.
func TestUseNew_NoStreams(t *testing.T) {
	b := serveRaw(t, []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 0}}, nil)
	p := pool(t, b.Address, Options{})
	for range 5 {
		if e := failure(t, p, get("/")); e.Kind != transport.Full {
			t.Errorf("%v", e)
		}
	}
	eventually(t, "no connection is left", func() bool { return p.Open() == 0 })
}

// A connection that ends right after its settings is one that may not be used, and not another protocol.
func TestAwaitSettings_TheyHaveCome(t *testing.T) {
	for range 20 {
		p := NewPool(serveRaw(t, nil, nil).Address, Options{})
		_, c := waiter(t, p)
		c.close()
		if _, kind, err := c.awaitSettings(time.Second); err != nil {
			t.Fatal(kind, err)
		}
	}
}

// Under load, too, connections over a new limit end.
func TestLimit_UnderLoad(t *testing.T) {
	var waiting sync.WaitGroup
	release := make(chan struct{})
	b := serveRaw(t, []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 2}}, func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
		c.okAfter(release, f.StreamID)
		return true
	})
	p := pool(t, b.Address, Options{})
	for i := range int32(3) {
		waiting.Go(func() { fetch(t, p, get("/")) })
		eventually(t, "it is there", func() bool { return b.requests.Load() == i+1 })
	}
	p.Limit(1)
	waiting.Go(func() { // in the place that the first connection has
		if e := failure(t, p, get("/")); e.Kind != 0 && e.Kind != transport.Full {
			t.Errorf("%v", e)
		}
	})
	p.mu.Lock()
	if len(p.conns) != 1 {
		t.Errorf("%d connections may carry requests", len(p.conns))
	}
	p.mu.Unlock()
	close(release)
	waiting.Wait()
	eventually(t, "one is open", func() bool { return p.Open() == 1 })
	p.Limit(-1)
	if e := failure(t, p, get("/")); e.Kind != transport.Full {
		t.Errorf("%v", e)
	}
}

// Where there may be no other connection, more than the usual number wait for the one that is being dialed.
func TestJoin_AllWaitForTheOnlyConnection(t *testing.T) {
	p := pool(t, backend(t, func(http.ResponseWriter, *http.Request) {}), Options{})
	p.Limit(1)
	p.mu.Lock()
	for range maxWaiters + 50 {
		if d, _ := p.joinLocked(); d == nil {
			t.Fatal("there is no room")
		}
	}
	p.mu.Unlock()
}
