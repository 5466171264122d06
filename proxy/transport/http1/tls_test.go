package http1

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pace/proxy/transport"
	"pace/proxy/transport/dial"
)

// secured is a backend over TLS, and how to speak to it.
type secured struct {
	at     dial.Address
	config func() *tls.Config // of a client
}

// serveTLS serves each connection with handle, once its handshake is made.
func serveTLS(t testing.TB, handle func(c *tls.Conn, r *bufio.Reader)) secured {
	t.Helper()
	lender := httptest.NewUnstartedServer(nil) // its certificate is for 127.0.0.1 and example.com
	lender.StartTLS()
	lender.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				c := tls.Server(nc, &tls.Config{Certificates: lender.TLS.Certificates})
				defer nc.Close()
				if c.Handshake() == nil {
					handle(c, bufio.NewReader(c))
				}
			}()
		}
	}()
	roots := x509.NewCertPool()
	roots.AddCert(lender.Certificate())
	return secured{dial.Address{Network: "tcp", Addr: l.Addr().String()}, func() *tls.Config {
		return (&dial.TLS{Roots: roots}).Config("127.0.0.1", "http/1.1")
	}}
}

// echoTLS responds to each request with its body.
func echoTLS(c *tls.Conn, r *bufio.Reader) {
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
}

func (s secured) pool(t testing.TB, o Options) *Pool {
	o.TLS = s.config()
	p := NewPool(s.at, o)
	t.Cleanup(p.Close)
	return p
}

// send makes one exchange, and returns its body.
func send(p *Pool, body string) (string, bool, error) {
	req := &transport.Request{Method: "POST", Target: "/", Host: "x", Body: strings.NewReader(body), ContentLength: int64(len(body))}
	var resp transport.Response
	if err := p.Do(context.Background(), req, &resp); err != nil {
		return "", false, err
	}
	defer resp.Close()
	var got []byte
	for {
		piece, err := resp.Next()
		got = append(got, piece...)
		if err == io.EOF {
			return string(got), resp.Reused, nil
		}
		if err != nil {
			return string(got), resp.Reused, err
		}
	}
}

// Many exchanges at once share the connections of a pool, and each gets its own response.
func TestTLS_ConcurrentSafe(t *testing.T) {
	p := serveTLS(t, echoTLS).pool(t, Options{})
	var reused atomic.Int64
	done := make(chan error)
	for i := range 8 {
		go func() {
			for j := range 30 {
				want := strings.Repeat(fmt.Sprintf("%d.%d ", i, j), 1+j*400)
				got, again, err := send(p, want)
				if err != nil || got != want {
					done <- fmt.Errorf("got %d bytes of %d, %v", len(got), len(want), err)
					return
				}
				if again {
					reused.Add(1)
				}
			}
			done <- nil
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := reused.Load(); n < 200 {
		t.Errorf("%d of 240 exchanges were on a connection of an earlier one", n)
	}
}

// A deadline of an earlier exchange that fires in the middle of a record does not cut it: the backend takes no more
// for a while, and then all.
func TestTLS_AnEarlyDeadlineDoesNotCutARecord(t *testing.T) {
	slow := false
	s := serveTLS(t, func(c *tls.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if slow {
				time.Sleep(900 * time.Millisecond) // the deadline of the first exchange is 600 ms after its write
			}
			n, err := io.Copy(io.Discard, req.Body)
			if err != nil {
				return
			}
			body := fmt.Sprint(n)
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}
	})
	p := s.pool(t, Options{ResponseTimeout: 1200 * time.Millisecond})
	if got, _, err := send(p, "x"); got != "1" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
	slow = true
	time.Sleep(600 * time.Millisecond)
	const size = 32 << 20 // more than all buffers on the way hold
	got, reused, err := send(p, strings.Repeat("x", size))
	if got != fmt.Sprint(size) || err != nil || !reused {
		t.Errorf("got %q, reused %v, %v", got, reused, err)
	}
}

// To close a connection does not wait for a backend that takes nothing.
func TestTLS_CloseDoesNotWait(t *testing.T) {
	s := serveTLS(t, func(*tls.Conn, *bufio.Reader) { time.Sleep(10 * time.Second) })
	p := s.pool(t, Options{ResponseTimeout: 200 * time.Millisecond})
	began := time.Now()
	_, _, err := send(p, strings.Repeat("x", 32<<20))
	e, _ := errors.AsType[*transport.Error](err)
	if took := time.Since(began); e == nil || e.Kind != transport.ResponseTimeout || took > 3*time.Second {
		t.Errorf("got %v after %v", err, took)
	}
}

// The phases of an exchange on a new connection name the handshake, and those on an old one do not.
func TestTLS_Phases(t *testing.T) {
	p := serveTLS(t, echoTLS).pool(t, Options{})
	for _, want := range []string{"connect tls send wait", "send wait"} {
		var phases []string
		var resp transport.Response
		err := p.Do(context.Background(), &transport.Request{Method: "GET", Target: "/", Host: "x", OnPhase: func(p transport.Phase) {
			phases = append(phases, p.String())
		}}, &resp)
		if err != nil {
			t.Fatal(err)
		}
		resp.Close()
		if got := strings.Join(phases, " "); got != want {
			t.Errorf("the phases are %q, want %q", got, want)
		}
	}
}

// What is there after the time was up, because this process was stopped, is read.
func TestTLS_LastLook(t *testing.T) {
	s := serveTLS(t, func(c *tls.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine")
		io.Copy(io.Discard, r)
	})
	d := dial.New(s.at, dial.Options{TLS: s.config()})
	nc, _, err := d.Dial(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	c := nc.(*dial.Secure)
	if _, err := c.ReadNow(make([]byte, 100)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("nothing was sent, and ReadNow returns %v", err)
	}
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	time.Sleep(100 * time.Millisecond)
	c.SetReadDeadline(time.Now().Add(-time.Second))
	if _, err := c.Read(make([]byte, 100)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the deadline has passed, and Read returns %v", err)
	}
	b := make([]byte, 100)
	if n, err := c.ReadNow(b); err != nil || !strings.HasSuffix(string(b[:n]), "fine") {
		t.Errorf("got %q, %v", b[:n], err)
	}
}

// A connection that was given away after a 101 asks the exchange nothing when a write fails: that serves another request.
func TestTLS_AConnectionThatWasGivenAway(t *testing.T) {
	p := serveTLS(t, func(c *tls.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n\r\n")
		time.Sleep(5 * time.Second) // takes nothing
	}).pool(t, Options{})
	var resp transport.Response
	if err := p.Do(context.Background(), &transport.Request{Method: "GET", Target: "/", Host: "x", Upgrade: "echo"}, &resp); err != nil {
		t.Fatal(err)
	}
	c, _ := resp.Hijack()
	defer c.Close()
	c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	if _, err := c.Write(make([]byte, 32<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
