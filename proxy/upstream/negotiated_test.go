package upstream

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pace/proxy/transport"
	"pace/proxy/transport/dial"
)

// chooser is a backend over TLS that speaks both protocols, and counts its connections.
type chooser struct {
	*httptest.Server
	now  atomic.Int64
	hold chan struct{} // requests for /hold end with it
}

func newChooser(t *testing.T) *chooser {
	c := &chooser{hold: make(chan struct{})}
	c.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hold":
			<-c.hold
		case "/slow":
			time.Sleep(time.Millisecond)
		}
		io.WriteString(w, r.Proto)
	}))
	c.EnableHTTP2 = true
	c.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			c.now.Add(1)
		case http.StateClosed, http.StateHijacked:
			c.now.Add(-1)
		}
	}
	c.StartTLS()
	t.Cleanup(c.Close)
	return c
}

// wantOpen waits until the backend has so many connections.
func (c *chooser) wantOpen(t *testing.T, want int64) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); c.now.Load() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the backend has %d connections, want %d", c.now.Load(), want)
		}
	}
}

// backendOf returns the one backend, which may have so many connections.
func backendOf(t *testing.T, c *chooser, connections int) *Backend {
	u := New(Options{
		Addresses: []Address{{Addr: c.Listener.Addr().String(), Scheme: HTTPS}}, MaxConnections: connections,
		TLS: &dial.TLS{Unverified: true},
	}, nil)
	t.Cleanup(u.Close)
	return u.Backends()[0]
}

// askChooser makes a request, which needs HTTP/1.1 if it is a login, and returns what the backend says.
func askChooser(t *testing.T, b *Backend, path string, login bool) (string, error) {
	var resp transport.Response
	defer resp.Close()
	req := &transport.Request{Method: "GET", Target: path, Host: "example.com", Login: login, Pin: new(transport.Pin)}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := b.Do(ctx, req, &resp); err != nil {
		return "", err
	}
	piece, err := resp.Next()
	if err != nil {
		return "", err
	}
	said := string(piece)
	for err == nil {
		_, err = resp.Next()
	}
	resp.Close()
	req.Pin.Close()
	return said, nil
}

// The limit of connections is one for both protocols, and who needs the other protocol gets an idle connection's place.
func TestNegotiated_TheLimitIsOneForBothProtocols(t *testing.T) {
	c := newChooser(t)
	b := backendOf(t, c, 1)
	for i := range 6 {
		login, want, stay := i%2 == 1, "HTTP/2.0", int64(1)
		if login { // its connection ends with the client's
			want, stay = "HTTP/1.1", 0
		}
		if got, err := askChooser(t, b, "/", login); got != want || err != nil {
			t.Fatalf("request %d: got %q, %v; want %s", i, got, err, want)
		}
		c.wantOpen(t, stay)
	}
	held := make(chan error, 1)
	go func() {
		_, err := askChooser(t, b, "/hold", false)
		held <- err
	}()
	for b.conns.Open() == b.conns.Idle() {
		time.Sleep(time.Millisecond)
	}
	if _, err := askChooser(t, b, "/", true); !isFull(err) {
		t.Errorf("while the only connection is in use: %v, want that there is no room", err)
	}
	close(c.hold)
	if err := <-held; err != nil {
		t.Error(err)
	}
	if got, err := askChooser(t, b, "/", true); got != "HTTP/1.1" || err != nil {
		t.Errorf("then: %q, %v", got, err)
	}
	if open := b.conns.Open(); open > 1 {
		t.Errorf("%d connections are open", open)
	}
}

// However many requests need the one protocol or the other, there are never more connections than allowed.
func TestNegotiated_ManyRequestsOfBothKinds(t *testing.T) {
	const limit = 3
	c := newChooser(t)
	b := backendOf(t, c, limit)
	highest, ended := make(chan int, 1), make(chan struct{})
	go func() {
		seen := 0
		for {
			select {
			case <-ended:
				highest <- seen
				return
			default:
				n := b.conns.(*negotiated)
				n.mu.Lock()
				seen = max(seen, b.conns.Open())
				n.mu.Unlock()
			}
		}
	}()
	var all sync.WaitGroup
	var served [2]atomic.Int64
	for i := range 8 {
		all.Go(func() {
			for range 50 {
				switch _, err := askChooser(t, b, "/slow", i%2 == 0); {
				case err == nil:
					served[i%2].Add(1)
				case !isFull(err):
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	close(ended)
	if seen := <-highest; seen > limit {
		t.Errorf("%d connections at a time, want %d at most", seen, limit)
	}
	t.Logf("%d over HTTP/1.1, %d over HTTP/2", served[0].Load(), served[1].Load())
	if served[0].Load() == 0 || served[1].Load() == 0 {
		t.Errorf("served %d over HTTP/1.1 and %d over HTTP/2", served[0].Load(), served[1].Load())
	}
}
