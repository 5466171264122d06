package http2

import (
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// waiter returns an exchange that has waited for a new connection, in the moment before it uses it.
func waiter(t *testing.T, p *Pool) (*exchange, *conn) {
	x := newExchange()
	x.begin(t.Context(), p, get("/"))
	p.mu.Lock()
	d, _ := p.joinLocked(false)
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
	d, _ := p.joinLocked(false)
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
	d, _ := p.joinLocked(false)
	p.mu.Unlock()
	<-d.done
	p.retire(d.conn)
	if ok, err := x.useNew(d.conn); ok || err == nil {
		t.Error("that the second one ends, too, is no failure")
	}
	b.wantRequests(t, 0)
}
