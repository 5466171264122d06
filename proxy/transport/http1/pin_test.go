package http1

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"pace/proxy/transport"
)

// greeter is a backend that takes whoever sends a request on a connection for the one who logged in on it.
func greeter(t *testing.T) *Pool {
	return script(t, Options{}, func(c net.Conn, r *bufio.Reader) {
		user := "nobody"
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			io.Copy(io.Discard, req.Body)
			if name, ok := strings.CutPrefix(req.Header.Get("Authorization"), "NTLM "); ok {
				user = name
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nPersistent-Auth: %v\r\n\r\n%s", len(user), req.Header.Get("Tell") != "", user)
			if req.Header.Get("Leave") != "" {
				return
			}
		}
	})
}

var alice, bob = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")

func asks(pin *transport.Pin, client netip.Addr, fields string) *transport.Request {
	req := get("/")
	req.Pin, req.Client, req.Fields = pin, client, []byte(fields)
	req.Login = strings.HasPrefix(fields, "Authorization: NTLM")
	return req
}

func TestPin_WhoLoggedInIsServedAlone(t *testing.T) {
	p := greeter(t)
	var mine, other transport.Pin
	for _, tt := range []struct {
		name   string
		pin    *transport.Pin
		client netip.Addr
		fields string
		want   string
	}{
		{"before the login, the connection is the pool's", &mine, alice, "", "nobody"},
		{"the login", &mine, alice, "Authorization: NTLM alice\r\n", "alice"},
		{"the same client on the same connection is known", &mine, alice, "", "alice"},
		{"another connection is not", &other, bob, "", "nobody"},
		{"nor is another connection of the same client", &other, alice, "", "nobody"},
		{"nor is another client on the same connection, behind a proxy", &mine, bob, "", "nobody"},
		{"nor is who has no Pin", nil, alice, "", "nobody"},
		{"the client is still known", &mine, alice, "", "alice"},
		{"a second login on it", &mine, alice, "Authorization: NTLM root\r\n", "root"},
		{"has replaced the first", &mine, alice, "", "root"},
		{"a login without a Pin", nil, bob, "Authorization: NTLM bob\r\n", "bob"},
		{"leaves no connection", nil, bob, "", "nobody"},
		{"a login that only the backend tells of", &other, bob, "Authorization: NTLM eve\r\nTell: 1\r\n", "eve"},
		{"counts too", nil, bob, "", "nobody"},
	} {
		req := asks(tt.pin, tt.client, tt.fields)
		req.Login = req.Login && !strings.Contains(tt.fields, "Tell")
		if _, got := fetch(t, p, req); got != tt.want {
			t.Errorf("%s: greeted as %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestPin_EndsWithTheClientsConnection(t *testing.T) {
	p := greeter(t)
	var pin transport.Pin
	fetch(t, p, asks(&pin, alice, "Authorization: NTLM alice\r\n"))
	c := pin.Take(p, alice).(*conn)
	pin.Put(p, alice, c)
	if pin.Pool(alice) != p || pin.Pool(bob) != nil || p.Idle() != 0 {
		t.Errorf("pinned at %v for alice, %v for bob, %d idle", pin.Pool(alice), pin.Pool(bob), p.Idle())
	}
	pin.Close()
	if _, err := c.Write([]byte("x")); err == nil || pin.Pool(alice) != nil {
		t.Error("the connection is still open")
	}
	fetch(t, p, asks(&pin, alice, "Authorization: NTLM alice\r\n")) // was in use meanwhile
	if pin.Pool(alice) != nil || p.Idle() != 0 {
		t.Error("a connection was kept after the client's end")
	}
}

func TestPin_ADeadConnectionIsReplaced(t *testing.T) {
	p := greeter(t)
	var pin transport.Pin
	fetch(t, p, asks(&pin, alice, "Authorization: NTLM alice\r\nLeave: 1\r\n"))
	c := pin.Take(p, alice).(*conn)
	for c.alive() { // until the backend's end of it has come
		time.Sleep(time.Millisecond)
	}
	pin.Put(p, alice, c)
	if _, got := fetch(t, p, asks(&pin, alice, "")); got != "nobody" {
		t.Errorf("greeted as %q", got)
	}
}

func TestPin_ConcurrentSafe(t *testing.T) {
	p := greeter(t)
	var pin transport.Pin
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 50 {
				fields := ""
				if (n+i)%3 == 0 {
					fields = "Authorization: NTLM alice\r\n"
				}
				if _, got := fetch(t, p, asks(&pin, alice, fields)); fields != "" && got != "alice" {
					t.Errorf("greeted as %q", got)
				}
				if _, got := fetch(t, p, asks(nil, bob, "")); got != "nobody" {
					t.Errorf("a stranger is greeted as %q", got)
				}
			}
		})
	}
	all.Wait()
	pin.Close()
}
