//go:build linux

package proxy

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"pace/proxy/pipe"
)

// outcomes polls the log for n access lines and returns how often each outcome stands there.
func (p *proxied) outcomes(t *testing.T, n int) map[string]int {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		got, total := map[string]int{}, 0
		raw, err := os.ReadFile(p.log)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(raw) {
			var l struct{ Msg, Outcome string }
			if json.Unmarshal(line, &l) == nil && l.Msg == "request" {
				got[l.Outcome]++
				total++
			}
		}
		if total >= n || time.Now().After(deadline) {
			return got
		}
	}
}

func TestLargeBodiesArriveWholeThroughTheKernel(t *testing.T) {
	t.Parallel()
	const size = 8<<20 + 123
	want := make([]byte, size)
	for i := range want {
		want[i] = byte(rand.Uint32())
	}
	backend := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(size))
		w.Write(want)
	})
	p := start(t, nil, backend)
	before := pipe.Moved()
	for range 3 { // the connections on both sides are used again
		r, got := get(t, p.URL)
		if r.StatusCode != 200 || got != string(want) {
			t.Fatalf("got %d and %d bytes, want all %d", r.StatusCode, len(got), size)
		}
	}
	if n := pipe.Moved() - before; n < 3*size*95/100 {
		t.Errorf("%d of %d bytes went through the kernel, want 95 %% at least", n, 3*size)
	}
}

// Who leaves in the middle of a body that the kernel moves is known each time.
func TestSpliceTellsWhoLeft(t *testing.T) {
	t.Parallel()
	const rounds = 500 // of each of four ways to leave
	const size = 4 << 20
	leave := func(c net.Conn, reset bool) {
		if reset {
			c.(*net.TCPConn).SetLinger(0)
		}
		c.Close()
	}
	begun := make(chan bool, 1) // the client has seen the header: a reset can no longer take it from pace
	backend := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
		io.CopyN(c, zeros{}, 1<<20)
		if way := req.URL.Path; way == "/backend-fin" || way == "/backend-rst" {
			<-begun
			leave(c, way == "/backend-rst")
			return
		}
		io.Copy(io.Discard, r) // until pace, because of the client, ends the connection
	})
	p := start(t, nil, backend)
	for i := range 4 * rounds {
		way := []string{"/backend-fin", "/backend-rst", "/client-fin", "/client-rst"}[i%4]
		c, err := net.Dial("tcp", p.Addr)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, "GET "+way+" HTTP/1.1\r\nHost: x\r\n\r\n")
		if i%4 < 2 {
			io.CopyN(io.Discard, c, 1)
			begun <- true
			io.Copy(io.Discard, c)
			c.Close()
			continue
		}
		io.CopyN(io.Discard, c, 600<<10)
		leave(c, way == "/client-rst")
	}
	got := p.outcomes(t, 4*rounds)
	if got["upstream_truncated"] != 2*rounds || got["client_aborted"] != 2*rounds || len(got) != 2 {
		t.Errorf("got %v, want %d each of upstream_truncated and client_aborted", got, 2*rounds)
	}
}
