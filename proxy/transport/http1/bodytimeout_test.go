package http1

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"pace/proxy/transport"
)

// A backend that sends nothing more of its body is stalled; one that is slow is not, however long it takes.
func TestNext_EndsAfterBodyTimeout(t *testing.T) {
	stalls := func(text string) func(net.Conn, *bufio.Reader) {
		return func(c net.Conn, r *bufio.Reader) {
			http.ReadRequest(r)
			io.WriteString(c, text)
			io.Copy(io.Discard, r)
		}
	}
	slow := func(c net.Conn, r *bufio.Reader) {
		for {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n")
			for range 12 {
				time.Sleep(50 * time.Millisecond)
				io.WriteString(c, "x")
			}
		}
	}
	const half, whole = "half", "xxxxxxxxxxxx"
	for _, tt := range []struct {
		name    string
		backend func(net.Conn, *bufio.Reader)
		timeout time.Duration
		want    string
		stalled bool
	}{
		{"in the middle of a body of a known length", stalls("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + half), 50 * time.Millisecond, half, true},
		{"in the middle of chunks", stalls("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n" + half + "\r\n"), 50 * time.Millisecond, half, true},
		{"right after the header", stalls("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"), 50 * time.Millisecond, "", true},
		{"a slow body is whole", slow, 500 * time.Millisecond, whole, false},
		{"without a limit, too", slow, 0, whole, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := script(t, Options{}, tt.backend)
			var resp Response
			if err := p.Do(context.Background(), get("/"), &resp); err != nil {
				t.Fatal(err)
			}
			defer resp.Close()
			resp.BodyTimeout = tt.timeout
			got, err := readAll(&resp)
			e, _ := errors.AsType[*transport.Error](err)
			if got != tt.want || tt.stalled != (e != nil && e.Kind == transport.Stalled && e.Phase == transport.Receive) || !tt.stalled && err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

// The limit of one exchange must not shorten the next on its connection, whose body has none.
func TestNext_ALimitIsNotLeftBehind(t *testing.T) {
	pause := []time.Duration{0, 200 * time.Millisecond}
	p := script(t, Options{}, func(c net.Conn, r *bufio.Reader) {
		for _, wait := range pause {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
			time.Sleep(wait)
			io.WriteString(c, "cd")
		}
	})
	for i, timeout := range []time.Duration{100 * time.Millisecond, 0} {
		var resp Response
		if err := p.Do(context.Background(), get("/"), &resp); err != nil {
			t.Fatal(err)
		}
		resp.BodyTimeout = timeout
		got, err := readAll(&resp)
		if got != "abcd" || err != nil || resp.Reused != (i > 0) {
			t.Errorf("exchange %d: got %q, %v, reused %v", i, got, err, resp.Reused)
		}
		resp.Close()
	}
}

// A request may be given more or less time for its header than others of its pool.
func TestDo_ResponseTimeoutOfTheRequest(t *testing.T) {
	late := func(c net.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		time.Sleep(200 * time.Millisecond)
		io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
	}
	for _, tt := range []struct {
		name       string
		pool, mine time.Duration
		late       bool
	}{
		{"less", time.Minute, 50 * time.Millisecond, true},
		{"more", 50 * time.Millisecond, time.Minute, false},
	} {
		p := script(t, Options{ResponseTimeout: tt.pool}, late)
		req := get("/")
		req.ResponseTimeout = tt.mine
		var resp Response
		err := p.Do(context.Background(), req, &resp)
		e, _ := errors.AsType[*transport.Error](err)
		if tt.late != (e != nil && e.Kind == transport.ResponseTimeout) || !tt.late && err != nil {
			t.Errorf("%s time: got %v", tt.name, err)
		}
		resp.Close()
	}
}
