//go:build linux

package proxy

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"pace/proxy/pipe"
)

// digesting is a backend that answers with the SHA-256 of what it got.
func digesting(t testing.TB) string {
	return origin(t, func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		n, err := io.Copy(h, r.Body)
		fmt.Fprintf(w, "%d %x %v", n, h.Sum(nil), err)
	})
}

func TestLargeUploadsArriveWholeThroughTheKernel(t *testing.T) {
	t.Parallel()
	p := start(t, nil, digesting(t))
	c, r := p.dial(t)
	before, total := pipe.Moved(), 0
	for _, size := range []int{8<<20 + 123, 1 << 20, 300, 3 << 20, 0, 8 << 20} { // on one connection
		body := make([]byte, size)
		for i := range body {
			body[i] = byte(rand.Uint32())
		}
		total += size
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", size)
		c.Write(body)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(resp.Body)
		sum := sha256.Sum256(body)
		if want := fmt.Sprintf("%d %s <nil>", size, hex.EncodeToString(sum[:])); string(got) != want {
			t.Fatalf("the backend got %s, want %s", got, want)
		}
	}
	if n := pipe.Moved() - before; n < int64(total)*90/100 {
		t.Errorf("%d of %d bytes went through the kernel, want 90 %% at least", n, total)
	}
	in := 0.
	for _, l := range p.lines(t, 6) {
		in += l.number("bytes_in")
		if l.text("outcome") != "ok" || l.number("attempts") != 1 {
			t.Errorf("logged %v", l)
		}
	}
	if in != float64(total) {
		t.Errorf("logged %v bytes in, want %d", in, total)
	}
	if n := p.upstream.Backends()[0].Idle(); n != 1 {
		t.Errorf("%d idle connections to the backend, want the one", n)
	}
}

// What is sent on the same connection right behind a body that went through the kernel is the next
// request.
func TestDetour_EndsWithTheBody(t *testing.T) {
	t.Parallel()
	p := start(t, nil, digesting(t))
	c, r := p.dial(t)
	const size = 2 << 20
	body := strings.Repeat("x", size)
	go fmt.Fprintf(c, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%sGET /b HTTP/1.1\r\nHost: x\r\n\r\n", size, body)
	for range 2 {
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%v, %v", resp, err)
		}
		io.Copy(io.Discard, resp.Body)
	}
	if l := p.lines(t, 2); l[0].number("bytes_in") != size || l[1].text("path") != "/b" || l[1].number("bytes_in") != 0 {
		t.Errorf("logged %v", l)
	}
}

// Whoever breaks off in the middle of an upload that the kernel moves is known each time.
func TestDetourTellsWhoLeft(t *testing.T) {
	t.Parallel()
	const rounds = 100 // of each way
	const size = 4 << 20
	backend := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		io.CopyN(io.Discard, req.Body, 1<<20)
		switch req.URL.Path {
		case "/backend-fin":
			c.Close()
		case "/backend-rst":
			reset(c)
		case "/backend-answers":
			io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			io.Copy(io.Discard, r)
		default:
			io.Copy(io.Discard, r)
		}
	})
	p := start(t, func(s *setup) { s.BodyTimeout = time.Second }, backend)
	ways := []string{"/backend-fin", "/backend-rst", "/backend-answers", "/client-fin", "/client-rst"}
	for i := range len(ways) * rounds {
		way := ways[i%len(ways)]
		c, r := p.dial(t)
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", way, size)
		switch way {
		case "/client-fin":
			io.CopyN(c, zeros{}, 2<<20)
			c.Close()
		case "/client-rst":
			io.CopyN(c, zeros{}, 2<<20)
			reset(c)
		default:
			go io.CopyN(c, zeros{}, size)
			resp, err := http.ReadResponse(r, nil)
			if want := map[bool]int{true: 403, false: 502}[way == "/backend-answers"]; err != nil || resp.StatusCode != want {
				all := p.lines(t, i+1)
				t.Fatalf("%s, round %d: got %v, %v, want %d; logged %v", way, i, resp, err, want, all[i])
			}
			c.Close()
		}
	}
	got := p.outcomes(t, len(ways)*rounds)
	if got["upstream_reset"] != 2*rounds || got["client_error"] != rounds || got["client_gone"] != 2*rounds || len(got) != 3 {
		t.Errorf("got %v, want %d each of upstream_reset and client_gone, %d of client_error", got, 2*rounds, rounds)
	}
}

func TestDetour_AStalledUploadTimesOut(t *testing.T) {
	t.Parallel()
	p := start(t, func(s *setup) { s.BodyTimeout = 300 * time.Millisecond }, digesting(t))
	c, r := p.dial(t)
	before := pipe.Moved()
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", 8<<20)
	io.CopyN(c, zeros{}, 4<<20)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != 408 || pipe.Moved() == before {
		t.Fatalf("got %v, %v, %d bytes through the kernel; want 408", resp, err, pipe.Moved()-before)
	}
	if l := p.line(t); l.text("outcome") != "request_timeout" || l.number("bytes_in") != 4<<20 {
		t.Errorf("logged %v", l)
	}
}
