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
				p := start(t, func(o *Options) { o.DeliverTimeout = time.Second }, backend)
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
	backend, _ := endless(t)
	p := start(t, func(o *Options) { o.DeliverTimeout = 250 * time.Millisecond }, backend)
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
