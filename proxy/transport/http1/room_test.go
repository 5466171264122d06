package http1

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"pace/proxy/transport"
)

// isFull reports whether err says that there may be no more connections.
func isFull(err error) bool {
	e, ok := errors.AsType[*transport.Error](err)
	return ok && e.Kind == transport.Full && e.BytesSent == 0
}

// The backend keeps every connection open, so the number that it has accepted is the number that it has at once.
func TestLimit_IsExactAsTheBackendCounts_ConcurrentSafe(t *testing.T) {
	const limit, clients, rounds = 3, 16, 50
	var accepted atomic.Int64
	p := script(t, Options{}, func(c net.Conn, r *bufio.Reader) {
		accepted.Add(1)
		for {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	p.Limit(limit)
	var served, full atomic.Int64
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for range rounds {
				var resp Response
				err := p.Do(t.Context(), get("/"), &resp)
				switch {
				case err == nil:
					if _, err := readAll(&resp); err != nil {
						t.Errorf("the body: %v", err)
					}
					resp.Close()
					served.Add(1)
				case isFull(err):
					full.Add(1)
				default:
					t.Errorf("got %v, want a response or that there is no room", err)
				}
			}
		})
	}
	all.Wait()
	if n := accepted.Load(); n > limit {
		t.Errorf("the backend had %d connections, and the limit is %d", n, limit)
	}
	if served.Load() == 0 || served.Load()+full.Load() != clients*rounds {
		t.Errorf("%d served and %d not, want %d in all", served.Load(), full.Load(), clients*rounds)
	}
	if p.Open() > limit || p.Open() != p.Idle() {
		t.Errorf("%d connections open and %d idle at the end", p.Open(), p.Idle())
	}
}

func TestLimit_CountsWhatIsNoLongerInThePool(t *testing.T) {
	p := script(t, Options{}, func(c net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			switch {
			case err != nil:
				return
			case req.Header.Get("Upgrade") != "":
				io.WriteString(c, switching)
				io.Copy(c, r)
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	p.Limit(1)
	want := func(name string, want bool) {
		t.Helper()
		var resp Response
		err := p.Do(t.Context(), get("/"), &resp)
		if err == nil {
			readAll(&resp)
			resp.Close()
		}
		if (err == nil) != want || err != nil && !isFull(err) {
			t.Errorf("%s: got %v, want a response: %v", name, err, want)
		}
	}
	want("the first request", true)
	want("a request for which there is an idle connection", true)

	var stream Response
	if err := p.Do(t.Context(), &transport.Request{Method: "GET", Target: "/", Host: "h", Upgrade: "tcp"}, &stream); err != nil {
		t.Fatal(err)
	}
	c, _ := stream.Hijack()
	want("a request beside a stream", false)
	c.Close()
	stream.Close()
	want("a request after the stream", true)

	fresh := get("/")
	fresh.NewConnection = true
	var again Response
	if err := p.Do(t.Context(), fresh, &again); err != nil || again.Reused {
		t.Errorf("a request that needs a new connection: got %v, reused %v; want that the idle one makes way", err, again.Reused)
	}
	want("a request beside that one", false)
	readAll(&again)
	again.Close()

	var pin transport.Pin
	login := asks(&pin, netip.MustParseAddr("192.0.2.1"), "Authorization: NTLM alice\r\n")
	var in Response
	if err := p.Do(t.Context(), login, &in); err != nil {
		t.Fatal(err)
	}
	readAll(&in)
	in.Close()
	want("a request beside a connection that is a client's own", false)
	pin.Close()
	want("a request after that client has left", true)

	p.Limit(0)
	if p.Open() != 1 {
		t.Errorf("%d connections are counted, want 1", p.Open())
	}
}

func TestLimit_FailedDialsMakeRoomAgain(t *testing.T) {
	p := NewPool(at("127.0.0.1:1"), Options{})
	p.Limit(1)
	for range 3 {
		var resp Response
		if err := p.Do(t.Context(), get("/"), &resp); err == nil || isFull(err) {
			t.Fatalf("got %v, want that the connection is refused", err)
		}
	}
	if p.Open() != 0 {
		t.Errorf("%d connections are counted, want 0", p.Open())
	}
}

func TestLimit_LoweredClosesIdleConnections(t *testing.T) {
	arrived, gate := make(chan struct{}), make(chan struct{})
	p := serve(t, Options{}, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			arrived <- struct{}{}
			<-gate
		}
	})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			var resp Response
			if err := p.Do(t.Context(), get("/wait"), &resp); err != nil {
				t.Error(err)
			}
			readAll(&resp)
			resp.Close()
		})
	}
	for range 4 {
		<-arrived
	}
	close(gate)
	all.Wait()
	if p.Idle() != 4 {
		t.Fatalf("%d connections are idle, want 4", p.Idle())
	}
	p.Limit(2)
	if p.Open() != 2 || p.Idle() != 2 {
		t.Errorf("%d connections open and %d idle, want 2 and 2", p.Open(), p.Idle())
	}
}
