package balance

import (
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pace/e2e/pacetest"
)

// backend is a server that gets faults while it runs, and keeps an account of what it was asked.
type backend struct {
	t      *testing.T
	addr   string        // whose port stays its own while it is dead
	server *http.Server  // while it lives
	delay  time.Duration // before each response
	mode   atomic.Int32
	free   chan struct{} // closed when the test ends, so that nothing hangs

	mu       sync.Mutex
	arrivals []time.Time // of requests that are no checks; guarded by mu
}

const (
	fine  = iota
	hangs // it accepts requests and never responds
	busy  // it responds 503
)

// checkPath is what the checks of pace ask for.
const checkPath = "/healthz"

func startBackend(t *testing.T, delay time.Duration) *backend {
	t.Helper()
	b := &backend{t: t, addr: pacetest.NewClosed(t).Address(), delay: delay, free: make(chan struct{})}
	b.revive()
	t.Cleanup(func() {
		close(b.free)
		b.die()
	})
	return b
}

// Address returns its host:port.
func (b *backend) Address() string { return b.addr }

// die closes the port and all connections.
func (b *backend) die() { b.server.Close() }

// revive opens the port again.
func (b *backend) revive() {
	b.t.Helper()
	listener, err := net.Listen("tcp", b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	b.server = &http.Server{Handler: b}
	go b.server.Serve(listener)
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.note(r)
	io.Copy(io.Discard, r.Body)
	time.Sleep(b.delay)
	switch b.mode.Load() {
	case hangs:
		select {
		case <-r.Context().Done(): // pace has given up
		case <-b.free:
		}
	case busy:
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

func (b *backend) note(r *http.Request) {
	if r.URL.Path == checkPath {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.arrivals = append(b.arrivals, time.Now())
}

// asked returns how many requests came in this time, without checks.
func (b *backend) asked(from, to time.Time) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, at := range b.arrivals {
		if at.After(from) && at.Before(to) {
			n++
		}
	}
	return n
}
