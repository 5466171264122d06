package contract

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pace/e2e/pacetest"
)

// overTLS is the configuration of a pace with one listener over TLS.
func overTLS(c pacetest.Config, certificates ...pacetest.Certificate) pacetest.Config {
	c["listener.a"] = pacetest.Table{"listen": "127.0.0.1:0", "tls": true}
	for i, one := range certificates {
		c[fmt.Sprintf("certificate[%d]", i)] = one.Table()
	}
	return c
}

// A client gets the same over TLS as in clear text, HTTP/1.1 and HTTP/2 by ALPN, small and large bodies. The backend
// is told that it was https, and span and line know what was agreed.
func TestTLS_BothProtocols(t *testing.T) {
	t.Parallel()
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
			x.ReadBody()
			x.Write("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(x.Body), x.Body)
		})
		ca := pacetest.NewCA(t)
		p, spans := pacetest.StartTraced(t, overTLS(upstreams(b), ca.Issue("pace.test")))
		client := ca.Client(mode, "pace.test")
		large := strings.Repeat("0123456789abcdef", 1<<17) // 2 MiB: in clear text the kernel would move it
		for i, body := range []string{"", "small", large} {
			req, err := http.NewRequest("POST", "https://"+p.Proxy+"/x", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			got := pacetest.Do(client, req)
			wantStatus(t, got, 200)
			if got.Body != body {
				t.Errorf("%d bytes came back of %d", len(got.Body), len(body))
			}
			asked := b.Requests()[i]
			if proto, forwarded := asked.Header.Get("X-Forwarded-Proto"), asked.Header.Get("Forwarded"); proto != "https" || !strings.Contains(forwarded, "proto=https") {
				t.Errorf("the backend is told %q, %q", proto, forwarded)
			}
			id := pacetest.ID(got.Header.Get("X-Trace-Id"))
			server := pacetest.WantTrace(spans, 1, id).Server
			wantAttr(t, server.Attrs, "url.scheme", "https")
			wantAttr(t, server.Attrs, "tls.protocol.version", "1.3")
			wantAttr(t, server.Attrs, "network.protocol.version", map[pacetest.Mode]string{pacetest.H1: "1.1", pacetest.H2C: "2"}[mode])
			if cipher := fmt.Sprint(server.Attrs["tls.cipher"]); !strings.HasPrefix(cipher, "TLS_") {
				t.Errorf("tls.cipher = %q", cipher)
			}
		}
		for _, line := range p.Lines("request") {
			if line.Text("tls") != "1.3" {
				t.Errorf("the line says tls = %q", line.Text("tls"))
			}
		}
	})
}

// An upgraded connection carries bytes both ways over TLS, also those that come with its request.
func TestTLS_Upgrade(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		x.Write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
		x.Echo()
	})
	ca := pacetest.NewCA(t)
	p := pacetest.Start(t, overTLS(upstreams(b), ca.Issue("pace.test")))
	c, err := tls.Dial("tcp", p.Proxy, ca.Config("pace.test"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(pacetest.Patience))
	r := bufio.NewReader(c)
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: pace.test\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nearly")
	if got, err := http.ReadResponse(r, nil); err != nil || got.StatusCode != 101 {
		t.Fatalf("got %v, %v", got, err)
	}
	for range 100 {
		io.WriteString(c, " late")
	}
	want := "early" + strings.Repeat(" late", 100)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Errorf("got %q, %v", got, err)
	}
}

// A client gets the certificate that has the name it asks for. With strict_sni a name without one ends the
// handshake, which is counted and logged with what the client offered; without it, the first certificate comes.
func TestTLS_CertificateByName(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	ca := pacetest.NewCA(t)
	c := overTLS(upstreams(b), ca.Issue("one.test"), ca.Issue("*.two.test"))
	c["listener.b"] = pacetest.Table{"listen": "127.0.0.1:0", "tls": true, "strict_sni": true, "min_version": "1.3"}
	p := pacetest.Start(t, c)
	for name, want := range map[string]string{"one.test": "one.test", "x.two.test": "*.two.test", "other.test": "one.test", "": "one.test"} {
		if got, err := shown(p.Listeners[0], name); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", name, got, err, want)
		}
	}
	if _, err := shown(p.Listeners[1], "other.test"); err == nil {
		t.Error("a name without a certificate got one")
	}
	p.WantMetric(1, "pace_tls_handshake_failures_total", "reason", "no_certificate")
	pacetest.Eventually(t, func() error {
		for _, line := range p.Lines("refused a client's request or connection") {
			if line.Text("why") == "no_certificate" && strings.Contains(line.Text("offered"), "server name other.test") {
				return nil
			}
		}
		return fmt.Errorf("no line says it")
	})
	old := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, ServerName: "one.test"}
	if c, err := tls.Dial("tcp", p.Listeners[1], old); err == nil {
		c.Close()
		t.Error("TLS 1.2 was taken below the minimum")
	}
	if c, err := tls.Dial("tcp", p.Listeners[0], old); err != nil {
		t.Errorf("TLS 1.2 was refused: %v", err)
	} else {
		c.Close()
	}
	p.WantMetric(1, "pace_tls_handshake_failures_total", "reason", "version")
	p.WantMetric(2, "pace_refused_total", "reason", "tls_handshake")
	p.WantMetric(2, "pace_refused_total")
}

// shown returns the first name of the certificate that a listener shows to who asks for a name.
func shown(address, name string) (string, error) {
	c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, ServerName: name})
	if err != nil {
		return "", err
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].DNSNames[0], nil
}

// Who speaks HTTP where TLS is spoken is told so, and counted.
func TestTLS_PlainHTTP(t *testing.T) {
	t.Parallel()
	ca := pacetest.NewCA(t)
	p := pacetest.Start(t, overTLS(upstreams(pacetest.NewBackend(t, pacetest.Fine)), ca.Issue("pace.test")))
	got := p.Get("/")
	wantStatus(t, got, 400)
	if !strings.Contains(got.Body, "https://") {
		t.Errorf("got %q", got.Body)
	}
	p.WantMetric(1, "pace_tls_handshake_failures_total", "reason", "plain_http")
}

// A client that begins a handshake and does not go on is let go within read_header_timeout.
func TestTLS_SlowHandshake(t *testing.T) {
	t.Parallel()
	ca := pacetest.NewCA(t)
	c := overTLS(upstreams(pacetest.NewBackend(t, pacetest.Fine)), ca.Issue("pace.test"))
	p := pacetest.Start(t, set(c, "server", "read_header_timeout", "300ms"))
	nc, err := net.Dial("tcp", p.Proxy)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.Write([]byte{22, 3, 1, 1, 0, 1}) // the begin of a ClientHello
	nc.SetReadDeadline(time.Now().Add(pacetest.Patience))
	if _, err := io.ReadAll(nc); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection stays: %v", err)
	}
	p.WantMetric(1, "pace_tls_handshake_failures_total", "reason", "timeout")
}

// A listener in clear text sends every request to the one over TLS, whether a route takes it or not, except what
// came over https to a trusted proxy in front.
func TestTLS_Redirect(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	ca := pacetest.NewCA(t)
	c := overTLS(upstreams(b), ca.Issue("pace.test")).WithRoutes(pacetest.Table{"match": "pace.test/a/", "upstream": "default"})
	c["listener.b"] = pacetest.Table{"listen": "127.0.0.1:0", "redirect_to_https": true}
	p := pacetest.Start(t, set(c, "server", "trusted_proxies", []string{"127.0.0.1/32"}))
	_, port, _ := net.SplitHostPort(p.Listeners[0])
	get := func(target string, fields ...string) pacetest.Response {
		w := pacetest.DialWire(t, p.Listeners[1])
		w.Send("GET " + target + " HTTP/1.1\r\n" + strings.Join(fields, "\r\n") + "\r\n\r\n")
		return w.Response("GET")
	}
	for _, tt := range []struct{ host, target, want string }{
		{"pace.test", "/a/%2F?b=c", "https://pace.test:" + port + "/a/%2F?b=c"},
		{"pace.test:80", "/a/", "https://pace.test:" + port + "/a/"},
		{"[::1]:80", "//other/", "https://[::1]:" + port + "//other/"},
		{"other.test", "/nowhere", "https://other.test:" + port + "/nowhere"},
	} {
		got := get(tt.target, "Host: "+tt.host)
		wantStatus(t, got, 308)
		if location := got.Header.Get("Location"); location != tt.want {
			t.Errorf("%s%s: got %q, want %q", tt.host, tt.target, location, tt.want)
		}
	}
	wantStatus(t, get("/a/", "Host: pace.test", "X-Forwarded-Proto: https"), 200)
	p.WantMetric(2, "pace_requests_total", "pace_outcome", "redirected", "pace_side", "none", "http_route", "/a/", "pace_route", "pace.test/a/")
	if n := len(b.Requests()); n != 1 {
		t.Errorf("the backend got %d requests, want 1", n)
	}
}

// A new certificate is in force within 5 s while clients come and go, and no handshake fails. A bad pair leaves the
// old one in force, and log and metrics say so.
func TestTLS_CertificatesAreReadAgain(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	ca := pacetest.NewCA(t)
	pair := ca.Issue("pace.test")
	p := pacetest.Start(t, overTLS(upstreams(b), pair))
	serial := func() (s string) {
		c, err := tls.Dial("tcp", p.Proxy, ca.Config("pace.test"))
		if err != nil {
			t.Error(err)
			return ""
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	var clients sync.WaitGroup
	over := make(chan struct{})
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				client := ca.Client(pacetest.H2C, "pace.test")
				req, err := http.NewRequest("GET", "https://"+p.Proxy+"/", nil)
				if err != nil {
					t.Error(err)
					return
				}
				if got := pacetest.Do(client, req); got.Status != 200 || got.Err != nil {
					t.Errorf("got %d, %v", got.Status, got.Err)
				}
				client.CloseIdleConnections()
			}
		})
	}
	first := serial()
	ca.IssueTo(pair, "pace.test", "new.test")
	pacetest.Eventually(t, func() error {
		if serial() == first {
			return fmt.Errorf("the first certificate is in force")
		}
		return nil
	})
	second := serial()
	if err := os.WriteFile(pair.Key, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.WantMetric(1, "pace_certificate_reload_failures_total", "certificate", "pace.test")
	if got := serial(); got != second {
		t.Errorf("a bad pair changed the certificate in force")
	}
	close(over)
	clients.Wait()
	p.WantMetric(0, "pace_refused_total", "reason", "tls_handshake")
	p.Stop() // writes what of the log is not written yet
	if lines := p.Lines("the certificate's files have changed and cannot be used: the one before stays in force"); len(lines) != 1 || lines[0].Text("certificate") != "pace.test" || lines[0].Text("remedy") == "" {
		t.Errorf("got the lines %v", lines)
	}
}

// A reload gives a listener TLS, another certificate and another minimum, and takes a listener away; connections
// that are open go on.
func TestTLS_Reload(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	ca := pacetest.NewCA(t)
	first, second := ca.Issue("first.test"), ca.Issue("second.test")
	c := overTLS(upstreams(b), first)
	address := "127.0.0.1:" + strconv.Itoa(freePort(t))
	c["listener.a"]["listen"] = address
	c["listener.b"] = pacetest.Table{"listen": "127.0.0.1:0"}
	p := pacetest.Start(t, c)
	client := ca.Client(pacetest.H1, "first.test")
	get := func() pacetest.Response {
		req, err := http.NewRequest("GET", "https://"+address+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		return pacetest.Do(client, req)
	}
	wantStatus(t, get(), 200)
	delete(c, "listener.b")
	c["certificate[0]"] = second.Table()
	c["listener.a"]["min_version"] = "1.3"
	p.Reload(c)
	wantStatus(t, get(), 200) // on the connection that it has
	if got, err := shown(address, "first.test"); err != nil || got != "second.test" {
		t.Errorf("got %q, %v, want second.test", got, err)
	}
	if _, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}); err == nil {
		t.Error("TLS 1.2 was taken")
	}
	pacetest.Eventually(t, func() error {
		nc, err := net.Dial("tcp", p.Listeners[1])
		if err == nil {
			nc.Close()
			return fmt.Errorf("a listener that is gone still listens")
		}
		return nil
	})
	p.WantMetric(expiry(t, second), "pace_certificate_expiry_timestamp_seconds", "certificate", "second.test")
	if strings.Contains(p.Exposition(""), `certificate="first.test"`) {
		t.Error("a certificate that is gone is still in the metrics")
	}
}

func expiry(t *testing.T, c pacetest.Certificate) float64 {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return float64(leaf.NotAfter.Unix())
}
