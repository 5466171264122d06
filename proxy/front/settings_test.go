package front

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pace/telemetry"
)

type nothing struct{}

func (nothing) Close() {}

// handler responds 200, unless a test has set something else.
type handler struct {
	other atomic.Pointer[http.HandlerFunc]
}

func (h *handler) set(f http.HandlerFunc) { h.other.Store(&f) }

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f := h.other.Load(); f != nil {
		(*f)(w, r)
	}
}

// serving starts a Server whose handler responds 200, and returns it with its address. It is drained at the
// end of the test.
func serving(t *testing.T, first Settings) (*Server, string) {
	t.Helper()
	s := NewServer(Options{
		Handler:  &handler{},
		OnPanic:  func(_ http.ResponseWriter, _ *http.Request, p any, _ string) { t.Error(p) },
		InFlight: new(InFlight),
		Attach:   func() interface{ Close() } { return nothing{} },
		Refused:  func(telemetry.Refusal) {},
		Log:      slog.New(slog.DiscardHandler),
		Settings: first,
	})
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l, ListenerSettings{}) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Drain(ctx); err != nil {
			t.Errorf("draining: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serving: %v", err)
		}
	})
	return s, l.Addr().String()
}

// ask sends a GET with a header of so many bytes on c, and returns the status.
func ask(t *testing.T, c net.Conn, header int) int {
	t.Helper()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nX-Long: "+strings.Repeat("x", header)+"\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

func dialled(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

func TestChange_OpenConnectionsGoOnAndNewOnesFollow(t *testing.T) {
	first := Settings{ReadHeaderTimeout: time.Minute, MaxHeaderBytes: 1 << 16}
	s, address := serving(t, first)
	old := dialled(t, address)
	if got := ask(t, old, 2000); got != 200 {
		t.Fatalf("before the change: got %d", got)
	}
	next := first
	next.MaxHeaderBytes, next.IdleTimeout = 1<<10, 50*time.Millisecond
	s.Change(next)
	if got := ask(t, old, 10); got != 200 {
		t.Errorf("an open connection after the change: got %d", got)
	}
	fresh := dialled(t, address)
	if got := ask(t, fresh, 2000); got != 431 {
		t.Errorf("a header above the new limit: got %d, want 431", got)
	}
	fresh = dialled(t, address)
	if got := ask(t, fresh, 10); got != 200 {
		t.Errorf("a new connection: got %d", got)
	}
	if _, err := fresh.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("an idle connection after the new idle timeout: got %v, want EOF", err)
	}
	if got := ask(t, old, 10); got != 200 {
		t.Errorf("an open connection keeps its idle timeout: got %d", got)
	}
}

// A Scrape needs no other http.Server: it holds on the next request of an open connection.
func TestChange_OfTheScrapeHoldsAtOnce(t *testing.T) {
	first := Settings{ReadHeaderTimeout: time.Minute, MaxHeaderBytes: 1 << 16}
	s, address := serving(t, first)
	c := dialled(t, address)
	ask(t, c, 1)
	next := first
	next.Scrape = &Scrape{Path: "/", Metrics: http.NotFoundHandler(), Allow: []netip.Prefix{}}
	s.Change(next)
	if got := ask(t, c, 1); got != 404 {
		t.Errorf("got %d, want the page's 404", got)
	}
	if n := len(s.generations.all()); n != 1 {
		t.Errorf("got %d generations, want one", n)
	}
}

// Changes while connections come lose none of them, and leave no generation behind.
func TestChange_UnderLoadConcurrentSafe(t *testing.T) {
	first := Settings{ReadHeaderTimeout: time.Minute, MaxHeaderBytes: 1 << 16}
	s, address := serving(t, first)
	var clients sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				c, err := net.Dial("tcp", address)
				if err != nil {
					t.Error(err)
					return
				}
				c.SetDeadline(time.Now().Add(10 * time.Second))
				io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
				if b, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 200") {
					t.Errorf("got %q, %v", b, err)
				}
				c.Close()
			}
		})
	}
	for i := range 200 {
		next := first
		next.MaxHeaderBytes += i + 1
		s.Change(next)
		if i%10 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	close(stop)
	clients.Wait()
	for until := time.Now().Add(10 * time.Second); len(s.generations.all()) > 1; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%d generations are left, want one", len(s.generations.all()))
		}
	}
}
