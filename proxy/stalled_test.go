package proxy

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// endless is a backend that sends an answer without end, or nothing after its beginning, until its
// connection is broken off, and tells of that.
func endless(t testing.TB) (addr string, over <-chan bool) {
	ended := make(chan bool, 100)
	return rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		switch req.URL.Path {
		case "/chunks":
			io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			chunk := "10000\r\n" + strings.Repeat("x", 1<<16) + "\r\n"
			for err == nil {
				_, err = io.WriteString(c, chunk)
			}
		case "/events":
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
			for err == nil {
				_, err = io.WriteString(c, "data: "+strings.Repeat("x", 1<<16)+"\n\n")
			}
		case "/length":
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
			io.Copy(c, zeros{})
		case "/quiet":
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
			time.Sleep(time.Second)
			io.WriteString(c, "data: 2\n\n")
		}
		ended <- true
	}), ended
}

func TestStalled_IsBrokenOff(t *testing.T) {
	for _, path := range []string{"/chunks", "/length", "/events"} {
		for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
			t.Run(protocol+path, func(t *testing.T) {
				t.Parallel()
				backend, over := endless(t)
				p := startServer(t, func(_ *setup, o *ServerOptions) { o.Settings.DeliverTimeout = time.Second }, backend)
				client := http.DefaultClient
				if protocol == "HTTP/2.0" {
					client = h2Client(t)
				}
				resp, err := client.Get(p.URL + path)
				if err != nil || resp.Proto != protocol {
					t.Fatal(resp, err)
				}
				defer resp.Body.Close()
				for range 2 { // one that is taken slowly is not broken off
					time.Sleep(50 * time.Millisecond)
					if _, err := io.CopyN(io.Discard, resp.Body, 1<<20); err != nil {
						t.Fatal(err)
					}
				}
				<-over // without anybody having read on
				l := p.line(t)
				if path == "/events" {
					if l["outcome"] != "ok" || l["close_reason"] != "client_lost" {
						t.Errorf("got %v", l)
					}
				} else if l["outcome"] != "client_aborted" {
					t.Errorf("got %v", l)
				}
				if n, err := io.Copy(io.Discard, resp.Body); err == nil {
					t.Errorf("the answer looks whole after %d more bytes", n)
				}
			})
		}
	}
}

// Whoever waits for the backend takes all there is.
func TestStalled_IsNotWhoWaits(t *testing.T) {
	t.Parallel()
	backend, _ := endless(t)
	p := startServer(t, func(_ *setup, o *ServerOptions) { o.Settings.DeliverTimeout = 250 * time.Millisecond }, backend)
	for _, client := range []*http.Client{http.DefaultClient, h2Client(t)} {
		resp, err := client.Get(p.URL + "/quiet")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if b, err := io.ReadAll(resp.Body); string(b) != "data: 1\n\ndata: 2\n\n" || err != nil {
			t.Errorf("%s: got %q, %v", resp.Proto, b, err)
		}
	}
	for _, l := range p.lines(t, 2) {
		if fmt.Sprint(l["outcome"], l["close_reason"]) != "okbackend_closed" {
			t.Errorf("got %v", l)
		}
	}
}

// A client over HTTP/2 that opens its windows wide, and then takes nothing from its connection.
func TestStalled_HTTP2Connection(t *testing.T) {
	t.Parallel()
	frame := func(kind, flags byte, stream uint32, payload string) []byte {
		b := []byte{0, byte(len(payload) >> 8), byte(len(payload)), kind, flags}
		return append(binary.BigEndian.AppendUint32(b, stream), payload...)
	}
	backend, over := endless(t)
	p := startServer(t, func(_ *setup, o *ServerOptions) { o.Settings.DeliverTimeout = 500 * time.Millisecond }, backend)
	c, _ := p.dial(t)
	c.(*net.TCPConn).SetReadBuffer(4 << 10)
	io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	c.Write(frame(4, 0, 0, "\x00\x04\x7f\xff\xff\xff"))           // SETTINGS: the streams' window
	c.Write(frame(8, 0, 0, "\x7f\xff\x00\x00"))                   // WINDOW_UPDATE: the connection's
	c.Write(frame(1, 4|1, 1, "\x82\x86\x04\x07/chunks\x41\x01x")) // HEADERS: GET
	<-over
	if l := p.line(t); l["outcome"] != "client_aborted" {
		t.Errorf("got %v", l)
	}
}

// However slowly a client takes its answer, it is not broken off while it does. The kernel's buffers
// have grown by then, and one write of many bytes may last for longer than the time that is granted.
func TestStalled_IsNotWhoIsSlow(t *testing.T) {
	for _, path := range []string{"/length", "/chunks"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			backend, over := endless(t)
			p := startServer(t, func(_ *setup, o *ServerOptions) { o.Settings.DeliverTimeout = 2 * time.Second }, backend)
			c, _ := p.dial(t)
			// A kernel tells the sender of room only when a sixteenth of its buffer is free. Buffers that grow to 32 MiB
			// would be silent for five seconds.
			c.(*net.TCPConn).SetReadBuffer(1 << 20)
			fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
			io.CopyN(io.Discard, c, 64<<20)
			for begun := time.Now(); time.Since(begun) < 6*time.Second; time.Sleep(100 * time.Millisecond) {
				if _, err := io.CopyN(io.Discard, c, 40<<10); err != nil {
					t.Fatal(err)
				}
			}
			select {
			case <-over:
				t.Errorf("broken off: %v", p.line(t))
			default:
			}
		})
	}
}

// A client may send all of its request before it takes anything of an answer that comes early.
func TestStalled_IsNotWhoStillSends(t *testing.T) {
	t.Parallel()
	backend := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 30<<20)
		sent := make(chan bool)
		go func() { io.CopyN(c, zeros{}, 30<<20); close(sent) }()
		io.Copy(io.Discard, req.Body)
		<-sent
	})
	p := startServer(t, func(_ *setup, o *ServerOptions) { o.Settings.DeliverTimeout = time.Second }, backend)
	c, r := p.dial(t)
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", 20<<20)
	for range 20 {
		if _, err := io.CopyN(c, zeros{}, 1<<20); err != nil {
			t.Fatalf("broken off: %v, %v", err, p.line(t))
		}
		time.Sleep(150 * time.Millisecond)
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, resp.Body); n != 30<<20 || err != nil {
		t.Errorf("got %d bytes, %v", n, err)
	}
}

// A client that does not take interim answers either.
func TestStalled_InterimAnswers(t *testing.T) {
	t.Parallel()
	backend := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		hints := strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </"+strings.Repeat("l", 1900)+">\r\n\r\n", 31)
		for {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			io.WriteString(c, hints+"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	p := startServer(t, func(_ *setup, o *ServerOptions) { o.Settings.DeliverTimeout = 300 * time.Millisecond }, backend)
	c, _ := p.dial(t)
	c.(*net.TCPConn).SetReadBuffer(4 << 10)
	go io.WriteString(c, strings.Repeat("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 4000))
	waitFor(t, "the end of one of them", func() bool {
		all := p.said(t, "request")
		return len(all) > 0 && all[len(all)-1]["outcome"] != "ok"
	})
	waitFor(t, "the end of all", func() bool { return len(p.inFlight()) == 0 })
}
