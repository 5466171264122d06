package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pace/telemetry/metrics"
)

// delay is what each case puts into one place.
const delay = 150 * time.Millisecond

// TestPhases_ByInjection puts a delay into the backend, the network or the client, and finds it in
// its phase and in no other: not in the line, the histogram, nor pace's own time.
func TestPhases_ByInjection(t *testing.T) {
	const get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	post := func(c net.Conn, pieces ...string) {
		io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n")
		for _, p := range pieces {
			time.Sleep(delay)
			io.WriteString(c, p)
		}
	}
	for phase, tt := range map[string]struct {
		client  func(c net.Conn, r *bufio.Reader) // asks, and reads what it wants before all the rest
		backend func(c net.Conn)                  // has read the request
		change  func(*setup)
		times   time.Duration // how many delays
	}{
		"dns": {
			client:  func(c net.Conn, _ *bufio.Reader) { io.WriteString(c, get) },
			backend: func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi") },
			change: func(o *setup) {
				_, port, _ := net.SplitHostPort(o.pool.Addresses[0].Addr)
				o.pool.Addresses = addresses(net.JoinHostPort("backend.test", port))
				resolver := slowNames(t, delay)
				o.pool.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
					return resolver.LookupNetIP(ctx, "ip", host)
				}
			},
			times: 1,
		},
		"connect": {
			client:  func(c net.Conn, _ *bufio.Reader) { io.WriteString(c, get) },
			backend: func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi") },
			change: func(o *setup) {
				o.pool.Transport.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
					time.Sleep(delay)
					return new(net.Dialer).DialContext(ctx, network, addr)
				}
			},
			times: 1,
		},
		"wait": {
			client: func(c net.Conn, _ *bufio.Reader) { io.WriteString(c, get) },
			backend: func(c net.Conn) {
				time.Sleep(delay)
				io.WriteString(c, "HTTP/1.1 200 OK\r\nConte")
				time.Sleep(delay)
				io.WriteString(c, "nt-Length: 2\r\n\r\nhi")
			},
			times: 2,
		},
		"receive": {
			client: func(c net.Conn, _ *bufio.Reader) { io.WriteString(c, get) },
			backend: func(c net.Conn) {
				io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
				for range 3 {
					time.Sleep(delay)
					io.WriteString(c, "4\r\nsome\r\n")
				}
				io.WriteString(c, "0\r\n\r\n")
			},
			times: 3,
		},
		"read_request": {
			client:  func(c net.Conn, _ *bufio.Reader) { post(c, "four", "more") },
			backend: func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi") },
			times:   2,
		},
		"deliver": { // chunks, which the kernel does not move
			client: func(c net.Conn, r *bufio.Reader) {
				c.(*net.TCPConn).SetReadBuffer(64 << 10)
				io.WriteString(c, get)
				r.Peek(1)
				time.Sleep(3 * delay)
			},
			backend: func(c net.Conn) {
				io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
				chunk := "10000\r\n" + strings.Repeat("x", 1<<16) + "\r\n"
				for range 128 { // more than all buffers on the way hold
					io.WriteString(c, chunk)
				}
				io.WriteString(c, "0\r\n\r\n")
			},
			times: 1, // the rest of the three may pass while the buffers fill
		},
	} {
		t.Run(phase, func(t *testing.T) {
			backend := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
				req, err := http.ReadRequest(r)
				if err != nil {
					return
				}
				io.Copy(io.Discard, req.Body)
				tt.backend(c)
			})
			p := start(t, tt.change, backend)
			c, r := p.dial(t)
			tt.client(c, r)
			resp, err := http.ReadResponse(r, nil)
			if err != nil || resp.StatusCode != 200 {
				t.Fatalf("got %v, %v", resp, err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Fatal(err)
			}
			l, sum := p.line(t), 0.0
			minimum := 0.8 * float64(tt.times*delay/time.Millisecond) // the sleep may begin before pace does
			for _, word := range []string{"own", "read_request", "limit", "pick", "dns", "connect", "tls", "send", "wait", "receive", "deliver"} {
				ms := l.number(word + "_ms")
				sum += ms
				if word == phase && ms < minimum || word != phase && ms > 100 && ms > l.number(phase+"_ms")/2 {
					t.Errorf("%s: %v ms, want the delay of %v ms at least in %s alone", word, ms, minimum, phase)
				}
			}
			if d := l.number("duration_ms"); sum > d+0.01 || sum < d-0.01 { // each is cut to a microsecond, those below are absent
				t.Errorf("the phases are %v ms, the request took %v", sum, d)
			}
			if n := p.metric(t, metrics.PhaseDuration.Name, "phase", phase); n != 1 {
				t.Errorf("%v in the histogram of %s, want 1", n, phase)
			}
		})
	}
}

// A backend that takes nothing of the request shows in send.
func TestPhases_Send(t *testing.T) {
	backend := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		c.(*net.TCPConn).SetReadBuffer(64 << 10)
		time.Sleep(3 * delay) // takes nothing
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		io.Copy(io.Discard, req.Body)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	p := start(t, nil, backend)
	resp, err := http.Post(p.URL, "text/plain", strings.NewReader(strings.Repeat("x", 8<<20))) // more than all buffers on the way hold
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("got %v, %v", resp, err)
	}
	resp.Body.Close()
	line := p.line(t)
	if ms := line.number("send_ms"); ms < float64(delay/time.Millisecond) || line.number("read_request_ms") > ms {
		t.Errorf("got %v, want the delay in send", line)
	}
}
