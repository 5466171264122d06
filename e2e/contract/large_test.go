package contract

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"testing"

	"pace/e2e/pacetest"
)

// TestLargeBodies_NeverEnterTheProcess: read(2) and write(2) count in /proc/PID/io, splice(2) does
// not; what the kernel moved is what arrived and was neither read nor written.
func TestLargeBodies_NeverEnterTheProcess(t *testing.T) {
	t.Parallel()
	const size = 256 << 20
	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	sum := sha256.New()
	for range size / len(body) {
		sum.Write(body)
	}
	want := fmt.Sprintf("%x", sum.Sum(nil))
	got := make(chan string, 1)
	backend := pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{
		"/down": func(x *pacetest.Exchange) {
			x.Write("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
			for range size / len(body) {
				x.Write("%s", body)
			}
		},
		"/up": func(x *pacetest.Exchange) {
			sum := sha256.New()
			x.CopyBody(sum)
			got <- fmt.Sprintf("%x", sum.Sum(nil))
			x.Write("HTTP/1.1 204 No Content\r\n\r\n")
		},
	}))
	p := pacetest.Start(t, upstreams(backend))
	w := p.Wire()

	before := ownBytes(t, p)
	w.Send("GET /down HTTP/1.1\r\nHost: x\r\n\r\n")
	sum.Reset()
	if n, err := io.Copy(sum, w.Head("GET").Body); n != size || err != nil || fmt.Sprintf("%x", sum.Sum(nil)) != want {
		t.Fatalf("%d bytes came, %v, with the sum %x, want %s", n, err, sum.Sum(nil), want)
	}
	if own := ownBytes(t, p) - before; own > size/20 {
		t.Errorf("pace read and wrote %d bytes for a body of %d to the client, want at most 5 %%", own, size)
	}

	before = ownBytes(t, p)
	w.Send(fmt.Sprintf("PUT /up HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", size))
	for range size / len(body) {
		w.Send(string(body))
	}
	wantStatus(t, w.Response("PUT"), 204)
	if s := <-got; s != want {
		t.Errorf("the backend got the sum %s, want %s", s, want)
	}
	if own := ownBytes(t, p) - before; own > size/20 {
		t.Errorf("pace read and wrote %d bytes for a body of %d to the backend, want at most 5 %%", own, size)
	}
}

// ownBytes is how many bytes the process has read and written itself.
func ownBytes(t *testing.T, p *pacetest.Pace) (sum int64) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", p.PID))
	if err != nil {
		t.Fatal(err)
	}
	var read, written int64
	if _, err := fmt.Sscanf(string(text), "rchar: %d\nwchar: %d", &read, &written); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return read + written
}
