package contract

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pace/e2e/pacetest"
)

// The client that a PROXY header names is the client everywhere: for the backend, in span and line, and for the limit.
// LOCAL and UNKNOWN keep the peer.
func TestProxyProtocol_NamesTheClient(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	ca := pacetest.NewCA(t)
	c := overTLS(upstreams(b), ca.Issue("pace.test"))
	c["listener.b"] = pacetest.Table{"listen": "127.0.0.1:0", "proxy_protocol": []string{"127.0.0.1/32"}}
	c["listener.a"]["proxy_protocol"] = []string{"127.0.0.1/32"}
	c["rate_limit"] = pacetest.Table{"max_requests": 1}
	p := pacetest.Start(t, c)
	const v2 = "\r\n\r\n\x00\r\nQUIT\n\x21"
	for _, tt := range []struct {
		header string
		over   int // the listener
		want   string
	}{
		{"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n", 0, "203.0.113.7"},
		{"PROXY TCP4 203.0.113.8 10.0.0.1 4711 443\r\n", 1, "203.0.113.8"},
		{"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n", 1, "2001:db8::7"},
		{v2 + "\x11\x00\x0c\xcb\x00\x71\x09\x0a\x00\x00\x01\x12\x67\x01\xbb", 1, "203.0.113.9"},
		{"PROXY UNKNOWN\r\n", 1, "127.0.0.1"},
	} {
		nc := announce(t, p.Listeners[tt.over], tt.header)
		if tt.over == 0 {
			nc = tls.Client(nc, ca.Config("pace.test"))
		}
		io.WriteString(nc, "GET / HTTP/1.1\r\nHost: pace.test\r\n\r\n")
		got, err := http.ReadResponse(bufio.NewReader(nc), nil)
		if err != nil || got.StatusCode != 200 {
			t.Errorf("%q: got %v, %v", tt.header, got, err)
			continue
		}
		asked := b.Requests()
		if forwarded := asked[len(asked)-1].Header.Get("X-Forwarded-For"); forwarded != tt.want {
			t.Errorf("%q: the backend is told %q, want %q", tt.header, forwarded, tt.want)
		}
	}
	again := announce(t, p.Listeners[1], "PROXY TCP4 203.0.113.7 10.0.0.1 1 1\r\n")
	io.WriteString(again, "GET / HTTP/1.1\r\nHost: pace.test\r\n\r\n")
	if got, err := http.ReadResponse(bufio.NewReader(again), nil); err != nil || got.StatusCode != 429 {
		t.Errorf("the second request of one client got %v, %v, want 429", got, err)
	}
	var clients []string
	for _, line := range p.AwaitLines(6, "request") {
		clients = append(clients, line.Text("client"))
	}
	slices.Sort(clients) // a line may come after that of the next request
	if got, want := strings.Join(clients, " "), "127.0.0.1 2001:db8::7 203.0.113.7 203.0.113.7 203.0.113.8 203.0.113.9"; got != want {
		t.Errorf("the lines say %s, want %s", got, want)
	}
	p.WantMetric(0, "pace_refused_total", "reason", "proxy_header")
}

// A connection of a listed peer without a header is closed, and so is one of another peer with a header. Both are
// counted and logged, and nothing reaches a backend.
func TestProxyProtocol_Refused(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	ca := pacetest.NewCA(t)
	c := overTLS(upstreams(b), ca.Issue("pace.test"))
	c["listener.a"]["proxy_protocol"] = []string{"192.0.2.0/24"}
	c["listener.b"] = pacetest.Table{"listen": "127.0.0.1:0", "proxy_protocol": []string{"127.0.0.1/32"}}
	c["listener.c"] = pacetest.Table{"listen": "127.0.0.1:0", "proxy_protocol": []string{"192.0.2.0/24"}}
	p := pacetest.Start(t, c)
	const header, request = "PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n", "GET / HTTP/1.1\r\nHost: pace.test\r\n\r\n"
	for i, tt := range []struct {
		name, sent string
		over       int
	}{
		{"no header", request, 1},
		{"a malformed header", "PROXY TCP4 203.0.113.7\r\n" + request, 1},
		{"two headers", "", 1},
		{"another peer's header", header + request, 2},
		{"another peer's header before TLS", header, 0},
	} {
		if tt.sent == "" {
			tt.sent = header + header + request // the second is no request: 400
		}
		nc := announce(t, p.Listeners[tt.over], tt.sent)
		got, err := io.ReadAll(nc)
		if errors.Is(err, os.ErrDeadlineExceeded) || strings.Contains(string(got), "200 OK") {
			t.Errorf("%s: got %q, %v", tt.name, got, err)
		}
		if refused := []float64{1, 2, 2, 3, 4}[i]; true {
			p.WantMetric(refused, "pace_refused_total", "reason", "proxy_header")
		}
	}
	announce(t, p.Listeners[1], "").Close() // a health check of the proxy in front
	p.WantMetric(4, "pace_refused_total", "reason", "proxy_header")
	if n := len(b.Requests()); n != 0 {
		t.Errorf("the backend got %d requests", n)
	}
	for _, plain := range []string{p.Listeners[2]} { // another peer without a header is served
		nc := announce(t, plain, request)
		if got, err := http.ReadResponse(bufio.NewReader(nc), nil); err != nil || got.StatusCode != 200 {
			t.Errorf("got %v, %v", got, err)
		}
	}
}

// announce connects to address and sends what a connection begins with.
func announce(t *testing.T, address, first string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(pacetest.Patience))
	if _, err := io.WriteString(nc, first); err != nil {
		t.Fatal(err)
	}
	return nc
}
