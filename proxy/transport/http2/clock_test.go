package http2

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pace/proxy/transport"
	"pace/proxy/transport/dial"
)

// slowLink has what is written go on slowly, once it is slow.
type slowLink struct {
	mu   sync.Mutex
	slow bool
}

func (l *slowLink) dial(to dial.Address) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe() // takes nothing that nobody reads
		d, err := net.Dial(to.Network, to.Addr)
		if err != nil {
			return nil, err
		}
		go func() {
			defer theirs.Close()
			io.Copy(theirs, d)
		}()
		go func() {
			defer d.Close()
			for b := make([]byte, 1024); ; {
				n, err := theirs.Read(b)
				if err != nil {
					return
				}
				l.mu.Lock()
				slow := l.slow
				l.mu.Unlock()
				if slow {
					time.Sleep(10 * time.Millisecond)
				}
				if _, err := d.Write(b[:n]); err != nil {
					return
				}
			}
		}()
		return ours, nil
	}
}

// A backend that takes a request slowly, but steadily, has not stalled, nor is it late: also over TLS, and for several
// requests at once.
func TestClock_SlowIsNotStalled(t *testing.T) {
	for _, secure := range []bool{false, true} {
		at, how := backend(t, readsAll), Options{}
		if secure {
			at, how.TLS = secureBackend(t, readsAll, "h2")
		}
		var link slowLink
		how.ResponseTimeout, how.Dial = 600*time.Millisecond, link.dial(at)
		p := pool(t, dial.Address{}, how)
		fetch(t, p, post("x"))
		link.mu.Lock()
		link.slow = true
		link.mu.Unlock()
		var done sync.WaitGroup
		for range 3 {
			done.Go(func() {
				if h, body := fetch(t, p, post(strings.Repeat("x", 60<<10))); h.Status != 200 || body != "hello" {
					t.Errorf("secure %v: %d, %q", secure, h.Status, body)
				}
			})
		}
		done.Wait()
	}
}

// A time that begins in the instant in which the timer fires for the one before runs all the same.
func TestClock_BeginsWhenItHasJustFired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExchange()
		x.begin(t.Context(), NewPool(dial.Address{}, Options{}), get("/"))
		start := func() {
			x.Mu.Lock()
			defer x.Mu.Unlock()
			x.startLocked(time.Second)
		}
		start()
		x.Mu.Lock()
		x.stopLocked()
		x.Mu.Unlock()
		time.Sleep(time.Second)
		synctest.Wait()
		start()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if x.Cause == nil || x.Cause.Kind != transport.ResponseTimeout {
			t.Errorf("%v", x.Cause)
		}
	})
}

// A body that Expect has held back does not take away the time that Next has.
func TestExpect_LeavesTheTimeOfTheBody(t *testing.T) {
	x := newExchange()
	req := post("hello")
	req.Expect = true
	x.begin(t.Context(), NewPool(dial.Address{}, Options{}), req)
	x.Mu.Lock()
	x.Final = true
	x.startLocked(time.Hour)
	x.upload.closeLocked()
	x.Mu.Unlock()
	x.upload.mayProceed()
	if x.until.IsZero() {
		t.Error("Next waits without a limit")
	}
}
