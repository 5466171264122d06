package contract

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"pace/e2e/pacetest"
)

const plainRequest = "GET / HTTP/1.1\r\nHost: pace.test\r\n\r\n"

// served sends a request on a connection and reports why it has no response of status 200.
func served(nc net.Conn) error {
	nc.SetDeadline(time.Now().Add(pacetest.Patience))
	if _, err := io.WriteString(nc, plainRequest); err != nil {
		return err
	}
	got, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, got.Body); err != nil || got.StatusCode != 200 {
		return notYet("status %d, %v", got.StatusCode, err)
	}
	return nil
}

// reach connects to an address, from another one if from is not "", and sends first bytes. A reset, which may come as
// early as that, is not a failure.
func reach(t *testing.T, address, from, first string) (net.Conn, error) {
	t.Helper()
	var d net.Dialer
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	nc, err := d.Dial("tcp", address)
	if err == nil {
		t.Cleanup(func() { nc.Close() })
		_, err = io.WriteString(nc, first)
	}
	if err != nil && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Fatal(err)
	}
	return nc, err
}

// wantClosed fails t unless a connection that reach returned ends with a reset, and without a byte.
func wantClosed(t *testing.T, nc net.Conn, err error) {
	t.Helper()
	if err != nil {
		return
	}
	nc.SetDeadline(time.Now().Add(pacetest.Patience))
	if got, err := io.ReadAll(nc); len(got) > 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection got %q, %v; want a reset and nothing else", got, err)
	}
}

// wantTooMany holds metric and log to n connections refused for a key.
func wantTooMany(t *testing.T, p *pacetest.Pace, n float64, key string) {
	t.Helper()
	p.WantMetric(n, "pace_refused_total", "reason", "too_many_connections")
	p.WantMetric(n, "pace_refused_total")
	pacetest.Eventually(t, func() error {
		for _, line := range p.Lines("refused a client's request or connection") {
			if line.Text("key") == key && line.Text("peer") != "" && line.Int("limit") > 0 {
				return nil
			}
		}
		return notYet("no line names %s", key)
	})
}

// awaitServed connects until a connection is served, because pace may still have to notice the end of another one.
// It returns how many were refused before.
func awaitServed(t *testing.T, address string) (nc net.Conn, refused float64) {
	t.Helper()
	pacetest.Eventually(t, func() (err error) {
		if nc, err = reach(t, address, "", ""); err == nil {
			err = served(nc)
		}
		if err != nil {
			refused++
		}
		return err
	})
	return nc, refused
}

// With max_connections, no more are open than that: over all listeners, in clear text and over TLS, HTTP/1.1,
// HTTP/2 and upgraded. One more is closed at once, with TLS before its handshake; the others go on, and the
// admin listener is not among them. An end makes room.
func TestConnections_NoMoreThanTheLimitAreOpen(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{
		"/": pacetest.Fine,
		"/echo": func(x *pacetest.Exchange) {
			x.Write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
			x.Echo()
		},
	}))
	ca := pacetest.NewCA(t)
	c := overTLS(upstreams(b), ca.Issue("pace.test"))
	c["listener.b"] = pacetest.Table{"listen": "127.0.0.1:0"}
	p := pacetest.Start(t, set(c, "server", "max_connections", 4))
	secure, plain := p.Listeners[0], p.Listeners[1]
	another := func(address string) (net.Conn, error) { return reach(t, address, "", "") }
	p.WantMetric(0, "pace_connections")

	overTLS := net.Conn(tls.Client(announce(t, secure, ""), ca.Config("pace.test")))
	h1, multiplexed, upgraded := announce(t, plain, ""), pacetest.DialH2Wire(t, plain, nil), announce(t, plain, "")
	io.WriteString(upgraded, "GET /echo HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
	if got, err := http.ReadResponse(bufio.NewReader(upgraded), nil); err != nil || got.StatusCode != 101 {
		t.Fatalf("got %v, %v", got, err)
	}
	good := func() {
		t.Helper()
		for _, nc := range []net.Conn{overTLS, h1} {
			if err := served(nc); err != nil {
				t.Errorf("a connection within the limit is not served: %v", err)
			}
		}
		if err := multiplexed.Alive(); err != nil {
			t.Errorf("HTTP/2 within the limit: %v", err)
		}
		io.WriteString(upgraded, "x")
		if _, err := io.ReadFull(upgraded, make([]byte, 1)); err != nil {
			t.Errorf("an upgraded connection: %v", err)
		}
	}
	good()
	for _, address := range []string{plain, secure} {
		nc, err := another(address)
		wantClosed(t, nc, err)
	}
	wantTooMany(t, p, 2, "server.max_connections")
	p.WantMetric(0, "pace_tls_handshake_failures_total")
	good()
	refused := 2.0
	for _, end := range []func(){func() { upgraded.Close() }, multiplexed.Leave, func() { h1.Close() }, func() { overTLS.Close() }} {
		end()
		_, before := awaitServed(t, plain)
		nc, err := another(plain)
		wantClosed(t, nc, err)
		refused += before + 1
	}
	p.WantMetric(refused, "pace_refused_total", "reason", "too_many_connections")
}

// With max_connections_per_client, one client has no more than that, and the others have theirs. A client is the
// address that a PROXY header names, where one comes; over IPv6 it is a network of 64 bits.
func TestConnections_NoMoreThanTheLimitAreOneClients(t *testing.T) {
	t.Parallel()
	c := upstreams(pacetest.NewBackend(t, pacetest.Fine))
	c["listener.a"] = pacetest.Table{"listen": "127.0.0.1:0"}
	c["listener.b"] = pacetest.Table{"listen": "127.0.0.1:0", "proxy_protocol": []string{"127.0.0.0/8"}}
	p := pacetest.Start(t, set(c, "server", "max_connections_per_client", 2))
	from := func(address string) func() (net.Conn, error) {
		return func() (net.Conn, error) { return reach(t, p.Listeners[0], address, "") }
	}
	named := func(address string) func() (net.Conn, error) {
		family := "TCP4 " + address + " 10.0.0.1"
		if strings.Contains(address, ":") {
			family = "TCP6 " + address + " 2001:db8::"
		}
		return func() (net.Conn, error) { return reach(t, p.Listeners[1], "", "PROXY "+family+" 1 1\r\n") }
	}
	for _, tt := range []struct {
		name          string
		first, second func() (net.Conn, error)
	}{
		{"two of one address", from("127.0.0.2"), from("127.0.0.2")},
		{"two of another address", from("127.0.0.3"), from("127.0.0.3")},
		{"two that a header names", named("203.0.113.7"), named("203.0.113.7")},
		{"two of a network of 64 bits", named("2001:db8:0:1::1"), named("2001:db8:0:1:ffff::2")},
		{"two of the next network", named("2001:db8:0:2::1"), named("2001:db8:0:2::1")},
	} {
		for _, dial := range []func() (net.Conn, error){tt.first, tt.second} {
			nc, err := dial()
			if err == nil {
				err = served(nc)
			}
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
	}
	for _, dial := range []func() (net.Conn, error){from("127.0.0.2"), from("127.0.0.3"), named("127.0.0.2"), named("203.0.113.7"), named("2001:db8:0:1:2:3:4:5")} {
		nc, err := dial()
		wantClosed(t, nc, err)
	}
	wantTooMany(t, p, 5, "server.max_connections_per_client")
	nc, err := named("203.0.113.8")()
	if err == nil {
		err = served(nc)
	}
	if err != nil {
		t.Errorf("another client behind the same proxy: %v", err)
	}
}

// However connections end, each is counted once: after many ends of all kinds, as many as the limit fit again.
func TestConnections_EveryEndMakesRoom(t *testing.T) {
	t.Parallel()
	ca := pacetest.NewCA(t)
	c := overTLS(upstreams(pacetest.NewBackend(t, pacetest.Fine)), ca.Issue("pace.test"))
	c["listener.b"] = pacetest.Table{"listen": "127.0.0.1:0", "proxy_protocol": []string{"127.0.0.1/32"}}
	c["listener.c"] = pacetest.Table{"listen": "127.0.0.1:0"}
	const limit = 20
	p := pacetest.Start(t, set(set(c, "server", "max_connections", limit), "server", "max_connections_per_client", limit))
	const header = "PROXY TCP4 203.0.113.7 10.0.0.1 1 1\r\n"
	ends := []func(nc *net.TCPConn){
		func(nc *net.TCPConn) {},
		func(nc *net.TCPConn) { nc.SetLinger(0) },
		func(nc *net.TCPConn) { served(nc) },
		func(nc *net.TCPConn) { served(nc); nc.SetLinger(0) },
		func(nc *net.TCPConn) { io.WriteString(nc, "malformed\r\n\r\n"); io.ReadAll(nc) },
		func(nc *net.TCPConn) { io.WriteString(nc, header) },
		func(nc *net.TCPConn) { io.WriteString(nc, header); served(nc) },
		func(nc *net.TCPConn) { io.WriteString(nc, http2.ClientPreface) },
		func(nc *net.TCPConn) { io.WriteString(nc, http2.ClientPreface+"malformed frames"); io.ReadAll(nc) },
		func(nc *net.TCPConn) { tls.Client(nc, ca.Config("pace.test")).Handshake() },
		func(nc *net.TCPConn) { tls.Client(nc, ca.Config("other.test")).Handshake() },
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 150 {
				nc, err := reach(t, p.Listeners[j%3], "", "")
				if err != nil {
					continue // the limit
				}
				nc.SetDeadline(time.Now().Add(pacetest.Patience))
				ends[(i+j)%len(ends)](nc.(*net.TCPConn))
				nc.Close()
			}
		})
	}
	all.Wait()
	var open []net.Conn
	for range limit {
		nc, _ := awaitServed(t, p.Listeners[2])
		open = append(open, nc)
	}
	nc, err := reach(t, p.Listeners[2], "", "")
	wantClosed(t, nc, err)
	for _, nc := range open {
		if err := served(nc); err != nil {
			t.Error(err)
		}
	}
}

// A reload puts the limits in force for the connections that come from then on, and ends none.
func TestConnections_LimitsReload(t *testing.T) {
	t.Parallel()
	c := upstreams(pacetest.NewBackend(t, pacetest.Fine))
	p := pacetest.Start(t, c)
	wantRefused := func() {
		t.Helper()
		nc, err := reach(t, p.Proxy, "", "")
		wantClosed(t, nc, err)
	}
	first, _ := awaitServed(t, p.Proxy)
	second, _ := awaitServed(t, p.Proxy)
	p.Reload(set(c, "server", "max_connections", 2))
	wantRefused()
	p.Reload(set(c, "server", "max_connections_per_client", 3))
	wantRefused()
	p.Reload(set(c, "server", "max_connections", 0))
	third, _ := awaitServed(t, p.Proxy)
	wantRefused()
	wantTooMany(t, p, 3, "server.max_connections")
	for _, nc := range []net.Conn{first, second, third} {
		if err := served(nc); err != nil {
			t.Errorf("a connection from before: %v", err)
		}
	}
}

// max_streams is what a client is told, and what holds; a reload changes it for the connections to come.
func TestH2_MaxStreams(t *testing.T) {
	t.Parallel()
	c := upstreams(pacetest.NewBackend(t, pacetest.Fine))
	p := pacetest.Start(t, c)
	before := p.H2Wire()
	p.Reload(set(c, "server", "max_streams", 3))
	for w, want := range map[*pacetest.H2Wire]uint32{before: 250, p.H2Wire(): 3} {
		if got := w.Settings[http2.SettingMaxConcurrentStreams]; got != want {
			t.Errorf("the client is told %d streams, want %d", got, want)
		}
		for i := range want + 1 { // each waits for its body
			w.Headers(2*i+1, false, post...)
		}
		if got := w.Response(2*want + 1); !got.Reset || got.Status != 0 {
			t.Errorf("stream %d of %d got %s", want+1, want, got)
		}
		for i := range want {
			w.WriteData(2*i+1, true, nil)
			if got := w.Response(2*i + 1).String(); got != "200" {
				t.Errorf("stream %d got %s", i+1, got)
			}
		}
	}
	p.WantMetric(2, "pace_refused_total", "reason", "h2_error")
}
