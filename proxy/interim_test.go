package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A client that waits for 100 gets it once, and whole, among the other interim answers. net/http
// sends its own when the body is first read, by another goroutine.
func TestInterim_TakesTurnsWithTheHundred(t *testing.T) {
	t.Parallel()
	hints := "HTTP/1.1 103 Early Hints\r\nLink: </" + strings.Repeat("l", 500) + ">\r\n\r\n"
	backend := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n"+hints)
			io.Copy(io.Discard, req.Body)
			io.WriteString(c, hints+"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	p := start(t, nil, backend)
	c, r := p.dial(t)
	for i := range 500 {
		io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
		var got []string
		for {
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatalf("round %d: after %q: %v", i, got, err)
			}
			got = append(got, fmt.Sprint(resp.StatusCode, len(resp.Header.Get("Link"))))
			if resp.StatusCode == 100 {
				io.WriteString(c, "hello")
			}
			if resp.StatusCode >= 200 {
				io.Copy(io.Discard, resp.Body)
				break
			}
		}
		if want := "100 0,103 503,103 503,200 0"; strings.Join(got, ",") != want {
			t.Fatalf("round %d: got %q, want %s", i, got, want)
		}
	}
}

// A backend that never says 100 gets the body after a while, and whatever it says in that moment
// comes whole.
func TestInterim_BesideAHundredOfOurOwn(t *testing.T) {
	t.Parallel()
	backend := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		go func() {
			for range 31 {
				io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
				time.Sleep(40 * time.Millisecond) // around the second after which the body goes anyway
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}()
		io.Copy(io.Discard, req.Body)
		io.Copy(io.Discard, r)
	})
	p := start(t, nil, backend)
	c, r := p.dial(t)
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	count := map[int]int{}
	for count[200] == 0 {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("after %v: %v", count, err)
		}
		count[resp.StatusCode]++
		if resp.StatusCode == 100 {
			io.WriteString(c, "hello")
		}
	}
	if count[100] != 1 || count[103] != 31 {
		t.Errorf("got %v, want one 100 and 31 times 103", count)
	}
}
