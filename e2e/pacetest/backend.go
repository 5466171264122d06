package pacetest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Backend is a scripted HTTP/1.1 server on a raw listener. It records every connection and request before
// it responds, and can misbehave in ways that no HTTP library does.
// All methods are safe for concurrent use.
type Backend struct {
	t         testing.TB
	listener  net.Listener
	tls       *tls.Config // nil: it speaks no TLS
	behaviour Behaviour

	mu       sync.Mutex
	failed   []error                   // of handshakes; guarded by mu
	requests []*Request                // guarded by mu
	conns    map[*net.TCPConn]struct{} // open ones; guarded by mu
	accepted int                       // guarded by mu
	killed   bool                      // guarded by mu
}

// Request is a request as a backend received it.
type Request struct {
	Conn, Nth int    // number of its connection, and its number on that connection, from 1
	Head      string // request line and header as they came
	Method    string
	Target    string
	Host      string
	Header    http.Header
	Body      []byte      // as far as the behaviour read it
	BodyErr   error       // why the reading ended; nil at the end of a complete body
	Trailer   http.Header // after a whole body

	TLS tls.ConnectionState // of its connection; zero without TLS
}

// Behaviour serves one request. A connection that it leaves open carries the next request.
type Behaviour func(x *Exchange)

// NewBackend starts a backend that serves every request with behaviour, and stops it when t ends.
func NewBackend(t testing.TB, behaviour Behaviour) *Backend {
	t.Helper()
	return NewBackendAt(t, "127.0.0.1:0", behaviour)
}

// NewTLSBackend starts a backend that speaks TLS.
func NewTLSBackend(t testing.TB, config *tls.Config, behaviour Behaviour) *Backend {
	t.Helper()
	return newBackend(t, "127.0.0.1:0", config, behaviour)
}

// NewBackendAt starts a backend on addr.
func NewBackendAt(t testing.TB, addr string, behaviour Behaviour) *Backend {
	t.Helper()
	return newBackend(t, addr, nil, behaviour)
}

func newBackend(t testing.TB, addr string, config *tls.Config, behaviour Behaviour) *Backend {
	t.Helper()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	b := &Backend{t: t, listener: listener, tls: config, behaviour: behaviour, conns: map[*net.TCPConn]struct{}{}}
	go b.accept()
	t.Cleanup(b.Kill)
	return b
}

// Address returns its host:port.
func (b *Backend) Address() string { return b.listener.Addr().String() }

// URL is how a configuration names it.
func (b *Backend) URL() string {
	if b.tls != nil {
		return "https://" + b.Address()
	}
	return "http://" + b.Address()
}

// FailedHandshakes returns why handshakes failed, in its own words.
func (b *Backend) FailedHandshakes() []error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.failed)
}

// Port returns its port.
func (b *Backend) Port() int { return b.listener.Addr().(*net.TCPAddr).Port }

// Name is what pace calls it in X-Backend.
func (b *Backend) Name() string {
	return "backend_" + strings.Replace(b.Address(), ":", "_", 1)
}

// Kill stops listening and resets every connection, as the kernel does for a killed process.
func (b *Backend) Kill() {
	b.mu.Lock()
	b.killed = true
	b.mu.Unlock()
	b.listener.Close()
	b.DropConns()
}

// DropConns resets every open connection; the listener stays.
func (b *Backend) DropConns() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		c.SetLinger(0)
		c.Close()
	}
}

// CloseConns ends every open connection with FIN; the listener stays.
func (b *Backend) CloseConns() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		c.Close()
	}
}

// Requests returns what came so far, in order of arrival.
func (b *Backend) Requests() []Request {
	b.mu.Lock()
	defer b.mu.Unlock()
	got := make([]Request, len(b.requests))
	for i, r := range b.requests {
		got[i] = *r
	}
	return got
}

// With returns those requests that came so far whose field has this value.
func (b *Backend) With(field, value string) (got []Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.requests {
		if slices.Equal(r.Header[field], []string{value}) {
			got = append(got, *r)
		}
	}
	return got
}

// Forget drops what came so far.
func (b *Backend) Forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.requests = nil
}

// Got returns the requests to target that came so far.
func (b *Backend) Got(target string) []Request {
	return slices.DeleteFunc(b.Requests(), func(r Request) bool { return r.Target != target })
}

// WantGot waits until n requests to target came, and returns them.
func (b *Backend) WantGot(n int, target string) []Request {
	b.t.Helper()
	var got []Request
	Eventually(b.t, func() error {
		if got = b.Got(target); len(got) != n {
			return fmt.Errorf("the backend got %d requests to %s, want %d", len(got), target, n)
		}
		return nil
	})
	return got
}

// Accepted counts the connections that were ever made.
func (b *Backend) Accepted() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.accepted
}

// Open counts the connections that are open now.
func (b *Backend) Open() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.conns)
}

func (b *Backend) accept() {
	for {
		c, err := b.listener.Accept()
		if err != nil {
			return
		}
		if n := b.admit(c.(*net.TCPConn)); n > 0 {
			go b.serve(c.(*net.TCPConn), n)
		}
	}
}

// admit numbers c, or refuses it with 0 after Kill.
func (b *Backend) admit(c *net.TCPConn) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.killed {
		c.SetLinger(0)
		c.Close()
		return 0
	}
	b.conns[c] = struct{}{}
	b.accepted++
	return b.accepted
}

func (b *Backend) serve(tcp *net.TCPConn, n int) {
	var c net.Conn = tcp
	var state tls.ConnectionState
	defer func() {
		c.Close()
		b.mu.Lock()
		delete(b.conns, tcp)
		b.mu.Unlock()
	}()
	if b.tls != nil {
		secure := tls.Server(tcp, b.tls)
		if err := secure.Handshake(); err != nil {
			b.mu.Lock()
			b.failed = append(b.failed, err)
			b.mu.Unlock()
			return
		}
		c, state = secure, secure.ConnectionState()
	}
	var wire bytes.Buffer // what was read since the last request's end
	br := bufio.NewReader(io.TeeReader(c, &wire))
	for nth := 1; ; nth++ {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		head, _, _ := strings.Cut(wire.String(), "\r\n\r\n")
		x := &Exchange{conn: c, tcp: tcp, br: br, backend: b, body: req.Body, Request: &Request{
			Conn: n, Nth: nth, Head: head, Method: req.Method, Target: req.RequestURI, Host: req.Host, Header: req.Header, TLS: state,
		}, trailer: func() http.Header { return req.Trailer }}
		b.mu.Lock()
		b.requests = append(b.requests, x.Request)
		b.mu.Unlock()
		b.behaviour(x)
		if x.over {
			return
		}
		x.ReadBody()
		wire.Reset()
	}
}
