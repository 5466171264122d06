package proxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// limits are numbers at and around the edges of what counters hold, as they may stand on the wire.
func limits() (all []string) {
	edges := []uint64{0, 1, 1 << 8, 4 << 10, 16 << 10, 32 << 10, 1 << 16, 1 << 20, math.MaxInt32, math.MaxUint32, 1 << 53, math.MaxInt64, math.MaxUint64}
	for _, n := range edges {
		for _, by := range []uint64{^uint64(0), 0, 1} { // one less, itself, one more; the last wraps
			all = append(all, strconv.FormatUint(n+by, 10))
		}
	}
	return append(all, "-1", "-0", "+1", "00", "0x10", "1e3", "9223372036854775807.0", strings.Repeat("9", 20), strings.Repeat("9", 400), "")
}

// panicLines is a log that counts its lines about panics.
type panicLines struct {
	slog.Handler
	n *atomic.Int64
}

func (l panicLines) Handle(ctx context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "panic") {
		l.n.Add(1)
	}
	return l.Handler.Handle(ctx, r)
}

// numbered is a pace whose backend answers with the numbers that the fuzzer chose.
type numbered struct {
	*proxied
	panics   atomic.Int64
	response atomic.Pointer[string] // what the backend sends after the request's header

	patience time.Duration // how long a response is waited for
}

func startNumbered(t testing.TB) *numbered {
	n := &numbered{patience: 20 * time.Millisecond}
	backend := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err == nil {
			io.WriteString(c, *n.response.Load())
		}
	})
	n.proxied = startServer(t, func(o *setup, so *ServerOptions) {
		o.Log = slog.New(panicLines{o.Log.Handler(), &n.panics})
		o.BodyTimeout, so.Settings.DeliverTimeout = 50*time.Millisecond, 50*time.Millisecond
		o.pool.Transport.ResponseTimeout = 100 * time.Millisecond
	}, backend)
	return n
}

// http1 sends the request with these fields and body, and returns what comes back until nothing does.
func (n *numbered) http1(t testing.TB, method, fields, body string) string {
	c, r := n.dial(t)
	defer c.Close()
	fmt.Fprintf(c, "%s / HTTP/1.1\r\nHost: x\r\n%s\r\n%s", method, fields, body)
	c.SetReadDeadline(time.Now().Add(n.patience))
	got, _ := io.ReadAll(r)
	return string(got)
}

// http2 does the same by HTTP/2, and returns the status, "" if none comes.
func (n *numbered) http2(t testing.TB, method string, fields []string, body string) (status string) {
	c, r := n.dial(t)
	defer c.Close()
	io.WriteString(c, http2.ClientPreface)
	f := http2.NewFramer(c, r)
	f.ReadMetaHeaders = hpack.NewDecoder(4<<10, nil)
	f.WriteSettings()
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for all := append([]string{":method", method, ":scheme", "http", ":authority", "x", ":path", "/"}, fields...); len(all) > 1; all = all[2:] {
		e.WriteField(hpack.HeaderField{Name: all[0], Value: all[1]})
	}
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true})
	f.WriteData(1, false, []byte(body))
	c.SetReadDeadline(time.Now().Add(n.patience))
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return ""
		}
		if m, ok := frame.(*http2.MetaHeadersFrame); ok {
			return m.PseudoValue("status")
		}
	}
}

// FuzzNumbers sends numbers at their limits through the whole handler, from the client and from the
// backend, over both versions. No number may be a bug of ours, whatever else becomes of the request.
func FuzzNumbers(f *testing.F) {
	methods := []string{"GET", "POST", "HEAD", "PUT", "OPTIONS", "TRACE"}
	for i, n := range limits() {
		f.Add(uint8(i), i%2 == 0, n, n, n)
	}
	f.Add(uint8(1), false, "9223372036854775807", "9223372036854775807", "7fffffffffffffff")
	f.Add(uint8(1), true, "9223372036854775807", "9223372036854775807", "ffffffffffffffff")
	p := startNumbered(f)
	f.Fuzz(func(t *testing.T, method uint8, chunked bool, ours, theirs, hexadecimal string) {
		for _, s := range []string{ours, theirs, hexadecimal} {
			if strings.ContainsAny(s, "\r\n") || len(s) > 1<<10 {
				t.Skip("a field has no line breaks, and its length a limit")
			}
		}
		response, framing := "HTTP/1.1 200 OK\r\nAge: "+ours+"\r\nContent-Length: "+theirs+"\r\n\r\nabc", "Content-Length: "+ours+"\r\n"
		if chunked {
			response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + hexadecimal + "\r\nabc"
			framing = "Transfer-Encoding: chunked\r\n"
		}
		p.response.Store(&response)
		m := methods[int(method)%len(methods)]
		others := []string{"max-forwards", theirs, "expect", theirs, "range", "bytes=" + ours + "-" + theirs,
			"x-forwarded-for", "10.0.0.1:" + ours, "forwarded", `for="[::1]:` + theirs + `"`, "accept", "text/plain;q=" + ours}
		before := p.metric(t, "http_server_request_duration_seconds", "pace_outcome", "internal_error")
		var lines strings.Builder
		for i := 0; i < len(others); i += 2 {
			lines.WriteString(others[i] + ": " + others[i+1] + "\r\n")
		}
		got := p.http1(t, m, framing+lines.String(), hexadecimal+"\r\nabc")
		if status, _, _ := strings.Cut(got, "\r\n"); strings.Contains(status, " 500 ") {
			t.Errorf("HTTP/1.1: got %q", got)
		}
		if got := p.http2(t, m, append([]string{"content-length", ours}, others...), "abc"); got == "500" {
			t.Errorf("HTTP/2: got %s", got)
		}
		waitFor(t, "the end of both", func() bool { return p.handler.InFlight.Count() == 0 })
		if n := p.metric(t, "http_server_request_duration_seconds", "pace_outcome", "internal_error") - before; n > 0 || p.panics.Load() > 0 {
			t.Errorf("%v requests ended as internal_error, %d lines tell of panics", n, p.panics.Swap(0))
		}
	})
}

// A body of any length that a client may announce is sent to the backend.
func TestTheLargestContentLengthReachesTheBackend(t *testing.T) {
	t.Parallel()
	for _, length := range []string{"4096", "9223372036854775806", "9223372036854775807"} {
		seen := make(chan string, 100)
		backend := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
			if q, err := http.ReadRequest(r); err == nil {
				seen <- strconv.FormatInt(q.ContentLength, 10)
				io.ReadFull(q.Body, make([]byte, 3)) // what is left unread when c is closed resets it
				io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			}
		})
		p := start(t, nil, backend)
		if r, _ := p.ask(t, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: "+length+"\r\n\r\nabc"); r.StatusCode != 413 {
			t.Errorf("length %s over HTTP/1.1: status %d, want the backend's 413", length, r.StatusCode)
		}
		n := &numbered{proxied: p, patience: 20 * time.Second}
		if got := n.http2(t, "PUT", []string{"content-length", length}, "abc"); got != "413" {
			t.Errorf("length %s over HTTP/2: status %s, want the backend's 413", length, got)
		}
		if len(seen) != 2 {
			t.Errorf("length %s: the backend got %d requests, want 2", length, len(seen))
		}
		for range len(seen) {
			if got := <-seen; got != length {
				t.Errorf("the backend was told of %s bytes, want %s", got, length)
			}
		}
	}
}

// Whoever finds a bug that panics can provoke it as often as they like; the log must not grow with it.
func TestPanicsAreLoggedOnceASecond(t *testing.T) {
	t.Parallel()
	p := start(t, func(o *setup) { o.pool.Transport.Dial = panics }, unreachable(t))
	begun := time.Now()
	const n = 50
	for range n {
		if r, _ := get(t, p.URL); r.StatusCode != 500 {
			t.Fatalf("status %d, want 500", r.StatusCode)
		}
	}
	p.lines(t, n)
	limit := int(time.Since(begun)/time.Second) + 2
	if got := len(p.said(t, "bug of pace: it panicked while it handled a request")); got < 1 || got > limit {
		t.Errorf("%d panics within %v are %d lines, want 1 to %d", n, time.Since(begun), got, limit)
	}
}
