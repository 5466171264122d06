package contract

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

// trusting is the configuration of a pace with these backends over TLS, whose certificates ca has signed.
func trusting(ca *pacetest.CA, backends ...interface{ Address() string }) pacetest.Config {
	return set(unhurried(upstreams(backends...)), "upstreams.tls", "ca", ca.File())
}

// overHTTPS is one request over TLS to its backend: what pace is to trust, and what must come of it.
type overHTTPS struct {
	outcome string
	status  int
	error   string // of Proxy-Status
	line    string // what matches the error in the line; "" if there is none
	server  string // what matches the error of the backend's handshake; "" if there is none
}

// want asks for /x once, and holds the client, the backend, the metrics, the line and the span to w.
func (w overHTTPS) want(t *testing.T, p *pacetest.Pace, spans *otlp.Recv, b *pacetest.Backend) {
	t.Helper()
	got := p.Get("/x")
	wantStatus(t, got, w.status)
	if status := got.Header.Get("Proxy-Status"); w.error == "" != (status == "") || !strings.Contains(status, "error="+w.error) && w.error != "" {
		t.Errorf("Proxy-Status: %q, want %q", status, w.error)
	}
	asked := 0
	if w.outcome == "ok" {
		asked = 1
	}
	if n := len(b.Requests()); n != asked {
		t.Errorf("the backend got %d requests, want %d", n, asked)
	}
	if w.server != "" {
		pacetest.Eventually(t, func() error {
			failed := b.FailedHandshakes()
			if len(failed) != 1 || !regexp.MustCompile(w.server).MatchString(failed[0].Error()) {
				return fmt.Errorf("the backend's handshakes failed with %q, want %s", failed, w.server)
			}
			return nil
		})
	} else if failed := b.FailedHandshakes(); len(failed) > 0 {
		t.Errorf("the backend's handshakes failed: %q", failed)
	}
	trace := pacetest.WantTrace(spans, 1, pacetest.Path("/x"))
	wantAttr(t, trace.Server.Attrs, "pace.outcome", w.outcome)
	wantAttr(t, trace.Clients[0].Attrs, "network.peer.port", b.Port())
	if w.outcome != "ok" {
		wantAttr(t, trace.Clients[0].Attrs, "error.type", w.outcome)
	}
	p.WantMetric(1, "pace_requests_total", "pace_outcome", w.outcome)
	p.WantMetric(1, "pace_phase_duration_seconds_count", "phase", "tls")
	if line := p.WantAccess("/x"); line.Text("outcome") != w.outcome || !regexp.MustCompile(`^`+w.line+`$`).MatchString(line.Text("error")) {
		t.Errorf("the line says %v, want %s, %s", line, w.outcome, w.line)
	}
}

// A request goes to its backend over TLS, which sees it as over HTTP, and that it is asked for its own name. Span,
// line and metric say the same as without TLS, and how long the handshake took. One connection serves all.
func TestBackendTLS_Request(t *testing.T) {
	t.Parallel()
	ca := pacetest.NewCA(t)
	b := pacetest.NewTLSBackend(t, ca.Server("127.0.0.1"), pacetest.Fine)
	p, spans := pacetest.StartTraced(t, trusting(ca, b))
	for i := range 3 {
		got := p.Get(fmt.Sprint("/", i))
		wantStatus(t, got, 200)
		if got.Body != "fine" || got.Header.Get("X-Backend") != b.Name() {
			t.Errorf("the client got %q of %q", got.Body, got.Header.Get("X-Backend"))
		}
	}
	for i, r := range b.Requests() {
		if r.Conn != 1 || r.Nth != i+1 || r.TLS.Version != tls.VersionTLS13 || r.TLS.NegotiatedProtocol != "http/1.1" || r.TLS.ServerName != "" {
			t.Errorf("the backend got request %d on connection %d, with %+v", r.Nth, r.Conn, r.TLS)
		}
	}
	first := pacetest.WantTrace(spans, 1, pacetest.Path("/0"))
	client := first.Clients[0].Attrs
	wantAttr(t, client, "server.address", "127.0.0.1")
	wantAttr(t, client, "server.port", b.Port())
	wantAttr(t, client, "url.full", b.URL()+"/0")
	wantAttr(t, client, "network.protocol.version", "1.1")
	if ms := number(first.Server.Attrs["pace.phase.tls"]); ms <= 0 {
		t.Errorf("pace.phase.tls = %v", ms)
	}
	if line := p.WantAccess("/0"); line["tls_ms"] == nil || line["tls"] != nil {
		t.Errorf("the line says %v", line)
	}
	if line := p.WantAccess("/1"); line["tls_ms"] != nil {
		t.Errorf("the line of a reused connection says %v", line)
	}
	p.WantMetric(3, "pace_requests_total", "pace_outcome", "ok")
	p.WantMetric(1, "pace_phase_duration_seconds_count", "phase", "tls")
	if _, got := callAPI(t, p, "", "GET", "/api/v1/upstreams", ""); !strings.Contains(fmt.Sprint(got), "scheme:https") {
		t.Errorf("the API says %v", got)
	}
}

// The certificate of a backend decides whether it is asked, and each signal says why it was not.
func TestBackendTLS_Certificates(t *testing.T) {
	t.Parallel()
	ca, other := pacetest.NewCA(t), pacetest.NewCA(t)
	fine := overHTTPS{outcome: "ok", status: 200}
	bad := func(line string) overHTTPS {
		return overHTTPS{"tls_failed", 502, "tls_certificate_error", line, `remote error: tls: (bad|expired) certificate|unknown certificate authority`}
	}
	yesterday := time.Now().Add(-24 * time.Hour)
	for name, tt := range map[string]struct {
		server *tls.Config
		table  pacetest.Table
		want   overHTTPS
	}{
		"it is signed by the CA":                 {ca.Server("127.0.0.1"), nil, fine},
		"another CA signed it":                   {other.Server("127.0.0.1"), nil, bad("certificate is signed by an unknown authority: test CA")},
		"it has expired":                         {ca.ServerUntil(yesterday, "127.0.0.1"), nil, bad("certificate expired on " + yesterday.UTC().Format("2006-01-02T15:04:05Z"))},
		"it is for another name":                 {ca.Server("one.test", "two.test", "10.0.0.1"), nil, bad(`certificate is for one\.test, two\.test, 10\.0\.0\.1, not for 127\.0\.0\.1`)},
		"it is for no name":                      {ca.Server(""), nil, bad(`certificate is for no name, not for 127\.0\.0\.1`)},
		"it is for many names":                   {ca.Server("a.test", "b.test", "c.test", "d.test", "e.test", "f.test", "g.test"), nil, bad(`certificate is for a\.test, b\.test, c\.test, d\.test, e\.test and 2 more, not for 127\.0\.0\.1`)},
		"it is for server_name":                  {ca.Server("api.test"), pacetest.Table{"server_name": "api.test"}, fine},
		"it is for the host, and not the name":   {ca.Server("127.0.0.1"), pacetest.Table{"server_name": "api.test"}, bad(`certificate is for 127\.0\.0\.1, not for api\.test`)},
		"it does not matter":                     {other.ServerUntil(yesterday, "x.test"), pacetest.Table{"verify": false}, fine},
		"its name has bytes that nobody can see": {ca.Server("a.test", "\x1b[31m\r\nforged"), nil, bad(`certificate is for a\.test, \S+forged, not for 127\.0\.0\.1`)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := pacetest.NewTLSBackend(t, tt.server, pacetest.Fine)
			cfg := trusting(ca, b)
			for key, value := range tt.table {
				cfg = set(cfg, "upstreams.tls", key, value)
			}
			p, spans := pacetest.StartTraced(t, cfg)
			tt.want.want(t, p, spans, b)
			if tt.want == fine {
				if asked, want := b.Requests()[0].TLS.ServerName, tt.table["server_name"]; asked != "" && asked != want {
					t.Errorf("the backend is asked for the name %q", asked)
				}
			}
			if tt.table["verify"] == false {
				if lines := p.Lines("the certificates of backends are not verified"); len(lines) != 1 || lines[0].Text("level") != "WARN" {
					t.Errorf("the log says %v", lines)
				}
			}
		})
	}
}

// A backend that asks for a certificate gets pace's. One that refuses it in TLS 1.3 says so after pace's handshake
// is over, so it is as if it had ended the connection; in TLS 1.2 the handshake fails.
func TestBackendTLS_ClientCertificate(t *testing.T) {
	t.Parallel()
	ca, other := pacetest.NewCA(t), pacetest.NewCA(t)
	reset := overHTTPS{"upstream_reset", 502, "connection_terminated", `(remote error: tls: .*certificate.*|.*connection reset by peer|EOF: .*|.*broken pipe)`, `client didn't provide a certificate|failed to verify certificate`}
	failed := reset
	failed.outcome, failed.error, failed.line = "tls_failed", "tls_protocol_error", `remote error: tls: (handshake failure|.*certificate.*)`
	for name, tt := range map[string]struct {
		from    *pacetest.CA // of pace's certificate; nil: it has none
		version uint16
		want    overHTTPS
	}{
		"it is the right one":                 {ca, tls.VersionTLS13, overHTTPS{outcome: "ok", status: 200}},
		"it is the right one in TLS 1.2":      {ca, tls.VersionTLS12, overHTTPS{outcome: "ok", status: 200}},
		"there is none":                       {nil, tls.VersionTLS13, reset},
		"there is none in TLS 1.2":            {nil, tls.VersionTLS12, failed},
		"it is of another CA":                 {other, tls.VersionTLS13, reset},
		"it is of another CA, and TLS is 1.2": {other, tls.VersionTLS12, failed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := ca.Server("127.0.0.1")
			server.ClientAuth, server.ClientCAs, server.MaxVersion = tls.RequireAndVerifyClientCert, ca.Pool(), tt.version
			b := pacetest.NewTLSBackend(t, server, pacetest.Fine)
			cfg := set(trusting(ca, b), "upstreams", "max_retries", 0)
			if tt.from != nil {
				c := tt.from.Issue("pace.test")
				cfg = set(set(cfg, "upstreams.tls", "cert", c.Cert), "upstreams.tls", "key", c.Key)
			}
			p, spans := pacetest.StartTraced(t, cfg)
			tt.want.want(t, p, spans, b)
			if tt.want.outcome == "ok" {
				if shown := b.Requests()[0].TLS.PeerCertificates; len(shown) != 1 || shown[0].Subject.CommonName != "pace.test" {
					t.Errorf("the backend saw %v", shown)
				}
			}
		})
	}
}

// rawTLS accepts connections on a port, and does to each what serve does; it counts them.
func rawTLS(t *testing.T, serve func(net.Conn)) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return l
}

// byPort names a port on loopback as an https backend.
type byPort struct{ net.Listener }

func (b byPort) Address() string { return b.Addr().String() }
func (b byPort) URL() string     { return "https://" + b.Address() }

// A handshake that fails otherwise, or hangs, ends in time and in the phase tls.
func TestBackendTLS_HandshakeFails(t *testing.T) {
	t.Parallel()
	hello := func(c net.Conn) { io.ReadFull(c, make([]byte, 5)) }
	for name, tt := range map[string]struct {
		serve                  func(net.Conn)
		outcome, error, status string
		line                   string
	}{
		"the backend hangs": {func(c net.Conn) { io.Copy(io.Discard, c) }, "connect_timeout", "connection_timeout", "504", `handshake tcp 127\.0\.0\.1:\d+: i/o timeout`},
		"the backend speaks plain HTTP": {func(c net.Conn) {
			hello(c)
			io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
			c.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, c)
		}, "tls_failed", "tls_protocol_error", "502", `tls: first record does not look like a TLS handshake`},
		"the backend closes":         {func(c net.Conn) { io.CopyN(io.Discard, c, 100); c.(*net.TCPConn).CloseWrite(); io.Copy(io.Discard, c) }, "tls_failed", "tls_protocol_error", "502", `EOF: the backend closed the connection`},
		"the backend resets":         {func(c net.Conn) { hello(c); c.(*net.TCPConn).SetLinger(0); c.Close() }, "tls_failed", "tls_protocol_error", "502", `(read|write) tcp .*connection reset by peer`},
		"the backend sends an alert": {func(c net.Conn) { hello(c); c.Write([]byte{21, 3, 3, 0, 2, 2, 40}); io.Copy(io.Discard, c) }, "tls_failed", "tls_protocol_error", "502", `remote error: tls: handshake failure`},
		"the backend has no such version": {func(c net.Conn) {
			tls.Server(c, &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10, Certificates: pacetest.NewCA(t).Server("127.0.0.1").Certificates}).Handshake()
			c.Close()
		}, "tls_failed", "tls_protocol_error", "502", `remote error: tls: protocol version not supported`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := rawTLS(t, tt.serve)
			timeout := "30s"
			if tt.outcome == "connect_timeout" {
				timeout = "1s"
			}
			p, spans := pacetest.StartTraced(t, set(upstreams(byPort{l}), "upstreams", "connect_timeout", timeout))
			began := time.Now()
			got := p.Get("/x")
			if took := time.Since(began); fmt.Sprint(got.Status) != tt.status || tt.status == "504" && (took < 300*time.Millisecond || took > 5*time.Second) {
				t.Errorf("the client got %d after %v, want %s", got.Status, took, tt.status)
			}
			if !strings.Contains(got.Header.Get("Proxy-Status"), "error="+tt.error) {
				t.Errorf("Proxy-Status: %s", got.Header.Get("Proxy-Status"))
			}
			trace := pacetest.WantTrace(spans, 1, pacetest.Path("/x"))
			wantAttr(t, trace.Server.Attrs, "pace.outcome", tt.outcome)
			wantAttr(t, trace.Clients[0].Attrs, "network.peer.port", l.Addr().(*net.TCPAddr).Port)
			line := p.WantAccess("/x")
			if !regexp.MustCompile(`^` + tt.line + `$`).MatchString(line.Text("error")) {
				t.Errorf("the line says %q, want %s", line.Text("error"), tt.line)
			}
			if ms := number(line["tls_ms"]); tt.status == "504" && ms < 300 {
				t.Errorf("the line says %v ms in tls", ms)
			}
			p.WantMetric(1, "pace_requests_total", "pace_outcome", tt.outcome, "pace_side", "backend")
		})
	}
}

// A client that leaves during a handshake has left in the phase tls, and the backend's connection ends.
func TestBackendTLS_ClientLeavesInTheHandshake(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	l := rawTLS(t, func(c net.Conn) {
		io.Copy(io.Discard, c)
		close(ended)
	})
	p := pacetest.Start(t, set(upstreams(byPort{l}), "upstreams", "connect_timeout", "10s"))
	w := p.Wire()
	w.Send("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
	awaitPhase(t, p, "tls")
	w.Close()
	line := p.WantAccess("/x")
	if line.Text("outcome") != "client_gone" || line.Text("left_in") != "tls" {
		t.Errorf("the line says %v", line)
	}
	p.WantMetric(1, "pace_client_left_total", "left_in", "tls")
	select {
	case <-ended:
	case <-time.After(pacetest.Patience):
		t.Error("the backend's connection is open")
	}
}

// A backend that fails its handshake is followed by another one, which gets the request, also a POST: nothing was sent.
func TestBackendTLS_Failover(t *testing.T) {
	t.Parallel()
	ca := pacetest.NewCA(t)
	bad, fine := pacetest.NewTLSBackend(t, pacetest.NewCA(t).Server("127.0.0.1"), pacetest.Fine), pacetest.NewTLSBackend(t, ca.Server("127.0.0.1"), pacetest.Fine)
	cfg := trusting(ca, bad, fine)
	cfg["upstreams.ejection"] = pacetest.Table{"enabled": false}
	p := pacetest.Start(t, cfg)
	for range 4 {
		wantStatus(t, p.Send("POST", "/x", "data"), 200)
	}
	if got := fine.Got("/x"); len(got) != 4 || string(got[3].Body) != "data" || len(bad.Requests()) != 0 {
		t.Errorf("the backends got %d and %d requests", len(got), len(bad.Requests()))
	}
	p.WantMetric(2, "pace_failovers_total", "reason", "tls_failed")
	pacetest.Eventually(t, func() error {
		if n := len(bad.FailedHandshakes()); n != 2 {
			return notYet("the bad backend saw %d handshakes fail", n)
		}
		return nil
	})
}

// A connection that comes later resumes the session of one before.
func TestBackendTLS_Resumes(t *testing.T) {
	t.Parallel()
	ca := pacetest.NewCA(t)
	b := pacetest.NewTLSBackend(t, ca.Server("127.0.0.1"), func(x *pacetest.Exchange) {
		x.ReadBody()
		x.Write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nfine")
		x.Close()
	})
	p := pacetest.Start(t, trusting(ca, b))
	for range 4 {
		wantStatus(t, p.Get("/x"), 200)
	}
	for i, r := range b.Requests() {
		if r.Conn != i+1 || r.TLS.DidResume != (i > 0) {
			t.Errorf("request %d came on connection %d, resumed: %v", i+1, r.Conn, r.TLS.DidResume)
		}
	}
}

// Large bodies go both ways unharmed, of known length and in chunks, and in the pieces that a slow client makes.
func TestBackendTLS_LargeBodies(t *testing.T) {
	t.Parallel()
	ca := pacetest.NewCA(t)
	const size = 24 << 20
	b := pacetest.NewTLSBackend(t, ca.Server("127.0.0.1"), func(x *pacetest.Exchange) {
		sum := sha256.New()
		x.CopyBody(sum)
		x.Write("HTTP/1.1 200 OK\r\nX-Sum: %x\r\n", sum.Sum(nil))
		body := bytes.Repeat([]byte("0123456789abcdef"), size/16)
		if x.Target == "/chunked" {
			x.Write("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", size, body)
			return
		}
		x.Write("Content-Length: %d\r\n\r\n%s", size, body)
	})
	p := pacetest.Start(t, trusting(ca, b))
	body := strings.Repeat("fedcba9876543210", size/16)
	want := fmt.Sprintf("%x", sha256.Sum256([]byte(body)))
	for _, path := range []string{"/known", "/chunked"} {
		var from io.Reader = strings.NewReader(body)
		if path == "/chunked" {
			from = io.MultiReader(from) // hides its length
		}
		req, _ := http.NewRequest("POST", "http://"+p.Proxy+path, from)
		got := pacetest.Do(http.DefaultClient, req)
		wantStatus(t, got, 200)
		if got.Header.Get("X-Sum") != want || got.Body != strings.Repeat("0123456789abcdef", size/16) {
			t.Errorf("%s: the backend got another body, or the client %d bytes", path, len(got.Body))
		}
		if line := p.WantAccess(path); line.Int("bytes_in") != size || line.Int("bytes_out") != size {
			t.Errorf("the line says %v", line)
		}
	}
	if n := b.Accepted(); n != 1 {
		t.Errorf("the backend had %d connections, want 1", n)
	}
}

// An upload to a backend that reads slowly goes on for as long as it makes progress, although it takes many times
// response_timeout: a record that is half sent when a deadline fires is sent on. One that makes none ends in time.
func TestBackendTLS_SlowUpload(t *testing.T) {
	t.Parallel()
	ca := pacetest.NewCA(t)
	const size = 32 << 20
	b := pacetest.NewTLSBackend(t, ca.Server("127.0.0.1"), func(x *pacetest.Exchange) {
		if x.Target == "/stuck" {
			time.Sleep(16 * time.Second)
			x.Reset()
			return
		}
		for range 64 { // so that what the kernel holds is read in less than response_timeout
			x.ReadBodyN(size / 64)
			time.Sleep(100 * time.Millisecond)
		}
		x.Write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine")
	})
	p := pacetest.Start(t, set(set(trusting(ca, b), "upstreams", "response_timeout", "4s"), "upstreams", "max_retries", 0))
	wantStatus(t, p.Send("POST", "/slow", strings.Repeat("x", size)), 200)
	got := b.WantGot(1, "/slow")[0]
	if len(got.Body) != size || got.BodyErr != nil {
		t.Errorf("the backend got %d bytes, %v", len(got.Body), got.BodyErr)
	}
	began := time.Now()
	w := p.Wire() // pace responds before it has the body, of which net/http's client would see only that a write fails
	go io.WriteString(w, fmt.Sprintf("POST /stuck HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", size)+strings.Repeat("x", size))
	stuck := w.Response("POST")
	if took := time.Since(began); stuck.Status != 504 || took > 14*time.Second {
		t.Errorf("the client got %d after %v", stuck.Status, took)
	}
	if line := p.WantAccess("/stuck"); line.Text("outcome") != "upstream_timeout" {
		t.Errorf("the line says %v", line)
	}
}

// A response that is cut is upstream_truncated. One whose end is the end of the connection is whole if TLS says that
// the backend meant it (close_notify), and truncated if not.
func TestBackendTLS_ResponsesCutShort(t *testing.T) {
	t.Parallel()
	ca := pacetest.NewCA(t)
	drop := func(text string) pacetest.Behaviour {
		return func(x *pacetest.Exchange) {
			x.ReadBody()
			x.Write("%s", text)
			x.Drop()
		}
	}
	for name, tt := range map[string]struct {
		behaviour pacetest.Behaviour
		outcome   string
		body      string
	}{
		"until the end, with close_notify":     {pacetest.Raw("HTTP/1.1 200 OK\r\n\r\nwhole"), "ok", "whole"},
		"until the end, without close_notify":  {drop("HTTP/1.1 200 OK\r\n\r\nhalf"), "upstream_truncated", "half"},
		"of a length, without close_notify":    {drop("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole"), "ok", "whole"},
		"of a length, cut with close_notify":   {pacetest.CutLength, "upstream_truncated", strings.Repeat("x", 400)},
		"in chunks, cut with close_notify":     {pacetest.CutChunked, "upstream_truncated", strings.Repeat("x", 600)},
		"before its header, with close_notify": {pacetest.CloseBefore, "upstream_reset", ""},
		"before its header, without it":        {drop(""), "upstream_reset", ""},
		"before its header, reset":             {pacetest.ResetBefore, "upstream_reset", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := pacetest.NewTLSBackend(t, ca.Server("127.0.0.1"), tt.behaviour)
			p, spans := pacetest.StartTraced(t, set(trusting(ca, b), "upstreams", "max_retries", 0))
			got := p.Get("/x")
			if whole := got.Err == nil; whole != (tt.outcome != "upstream_truncated") || tt.outcome != "upstream_reset" && got.Body != tt.body {
				t.Errorf("the client got %q, %v", got.Body, got.Err)
			}
			b.WantGot(1, "/x")
			wantAttr(t, pacetest.WantTrace(spans, 1, pacetest.Path("/x")).Server.Attrs, "pace.outcome", tt.outcome)
			if line := p.WantAccess("/x"); line.Text("outcome") != tt.outcome {
				t.Errorf("the line says %v", line)
			}
			p.WantMetric(1, "pace_requests_total", "pace_outcome", tt.outcome)
		})
	}
}

// A connection that is idle is used again although session tickets came on it unasked, and not if anything else did,
// or if it has ended.
func TestBackendTLS_IdleConnections(t *testing.T) {
	t.Parallel()
	ca := pacetest.NewCA(t)
	for name, tt := range map[string]struct {
		after  func(c *tls.Conn, tcp net.Conn) // once the first response was sent
		reused bool
	}{
		"nothing comes":                          {func(*tls.Conn, net.Conn) {}, true},
		"a response comes that nobody asked for": {func(c *tls.Conn, _ net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil") }, false},
		"it ends with close_notify":              {func(c *tls.Conn, _ net.Conn) { c.Close() }, false},
		"close_notify comes, and no end":         {func(c *tls.Conn, _ net.Conn) { c.CloseWrite() }, false},
		"it ends without close_notify":           {func(_ *tls.Conn, tcp net.Conn) { tcp.Close() }, false},
		"bytes come that are no TLS":             {func(_ *tls.Conn, tcp net.Conn) { io.WriteString(tcp, "HTTP/1.1 408 Request Timeout\r\n\r\n") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sent := make(chan struct{}, 10)
			l := rawTLS(t, func(tcp net.Conn) {
				c := tls.Server(tcp, ca.Server("127.0.0.1"))
				defer tcp.Close()
				r := bufio.NewReader(c)
				for n := 0; ; n++ {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					io.Copy(io.Discard, req.Body)
					fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nX-Nth: %d\r\nContent-Length: 4\r\n\r\nfine", n)
					time.Sleep(50 * time.Millisecond) // the response was read when this comes
					if n == 0 {
						tt.after(c, tcp)
					}
					sent <- struct{}{}
				}
			})
			p := pacetest.Start(t, set(trusting(ca, byPort{l}), "upstreams", "max_retries", 0))
			for i := range 2 {
				got := p.Send("POST", "/x", "data") // which is never sent twice
				wantStatus(t, got, 200)
				if got.Body != "fine" || i == 1 && (got.Header.Get("X-Nth") == "1") != tt.reused {
					t.Errorf("the client got %q, response %s of its connection", got.Body, got.Header.Get("X-Nth"))
				}
				<-sent
				time.Sleep(50 * time.Millisecond)
			}
		})
	}
}

// A WebSocket goes through to a backend over TLS, both ways, with what comes right after the switch, and ends whole.
func TestBackendTLS_Upgrade(t *testing.T) {
	t.Parallel()
	ca := pacetest.NewCA(t)
	b := pacetest.NewTLSBackend(t, ca.Server("127.0.0.1"), func(x *pacetest.Exchange) {
		x.Write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nfirst")
		x.Echo()
	})
	p := pacetest.Start(t, trusting(ca, b))
	c, err := net.Dial("tcp", p.Proxy)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(pacetest.Patience))
	r := bufio.NewReader(c)
	io.WriteString(c, "GET /x HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nearly")
	if got, err := http.ReadResponse(r, nil); err != nil || got.StatusCode != 101 {
		t.Fatalf("got %v, %v", got, err)
	}
	late := strings.Repeat(" late", 100)
	for range 200 {
		io.WriteString(c, late)
	}
	want := "firstearly" + strings.Repeat(late, 200)
	c.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(r); err != nil || string(got) != want {
		t.Errorf("got %d bytes of %d, %v", len(got), len(want), err)
	}
	pacetest.Eventually(t, func() error {
		if n := p.Metrics().Sum("pace_stream_duration_seconds_count", "kind", "websocket", "pace_close_reason", "client_closed"); n != 1 {
			return fmt.Errorf("%v streams ended as client_closed", n)
		}
		return nil
	})
	if line := p.WantAccess("/x"); line.Text("outcome") != "upgraded" {
		t.Errorf("the line says %v", line)
	}
}

// Checks go over TLS with the same certificates: a backend that a request could not be sent to is unhealthy. A check
// of type tcp makes the handshake, too.
func TestBackendTLS_Checks(t *testing.T) {
	t.Parallel()
	ca := pacetest.NewCA(t)
	for _, kind := range []string{"http", "tcp"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			fine := pacetest.NewTLSBackend(t, ca.Server("127.0.0.1"), pacetest.Fine)
			forged := pacetest.NewTLSBackend(t, pacetest.NewCA(t).Server("127.0.0.1"), pacetest.Fine)
			cfg := trusting(ca, fine, forged)
			cfg["upstreams.health"] = pacetest.Table{"type": kind, "interval": "50ms", "timeout": "10s", "fall": 1, "rise": 1}
			p := pacetest.Start(t, cfg)
			pacetest.Eventually(t, func() error {
				if p.Metrics().Sum("pace_health_checks_total", "result", "passed") == 0 {
					return notYet("no check has passed")
				}
				return nil
			})
			for b, up := range map[*pacetest.Backend]float64{fine: 1, forged: 0} {
				p.WantMetric(up, "pace_backend_up", "server_port", fmt.Sprint(b.Port()))
			}
			for range 4 {
				wantStatus(t, p.Get("/x"), 200)
			}
			p.WantMetric(0, "pace_failovers_total")
			if n := len(fine.Got("/x")); n != 4 {
				t.Errorf("the backend got %d requests", n)
			}
			if (len(fine.Got("/")) > 0) != (kind == "http") {
				t.Errorf("the backend got %d checks", len(fine.Got("/")))
			}
		})
	}
}

// A reload reads the files again: a new CA is in force for the next request, which gets a new connection. With the
// same files nothing changes, and a file that cannot be used changes nothing either.
func TestBackendTLS_Reload(t *testing.T) {
	t.Parallel()
	ca, other := pacetest.NewCA(t), pacetest.NewCA(t)
	b := pacetest.NewTLSBackend(t, ca.Server("127.0.0.1"), pacetest.Fine)
	file := ca.File()
	cfg := set(unhurried(upstreams(b)), "upstreams.tls", "ca", file)
	p := pacetest.Start(t, cfg)
	write := func(from string) {
		text, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(file, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	good := ca.File()
	wantStatus(t, p.Get("/1"), 200)
	if line := p.Reload(cfg); line.Text("msg") != "configuration unchanged" {
		t.Errorf("the log says %v", line)
	}
	wantStatus(t, p.Get("/2"), 200)
	if n := b.Accepted(); n != 1 {
		t.Errorf("the backend had %d connections, want 1", n)
	}
	write(other.File())
	if line := p.Reload(cfg); strings.Join(line.List("changes"), ",") != "upstreams.tls: the content of its files changed" {
		t.Errorf("the log says %v", line)
	}
	wantStatus(t, p.Get("/3"), 502)
	write(good)
	p.Reload(cfg)
	wantStatus(t, p.Get("/4"), 200)
	if err := os.WriteFile(file, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if line := p.HUP(); line.Text("msg") != "reload refused: the configuration before stays in force" || !strings.Contains(fmt.Sprint(line.List("faults")), "has no certificate in PEM") {
		t.Errorf("the log says %v", line)
	}
	wantStatus(t, p.Get("/5"), 200)
	if n := b.Accepted(); n != 3 { // one failed
		t.Errorf("the backend had %d connections, want 3", n)
	}
}

// A backend that changes its keys while the connection is idle, as OpenSSL can, has sent nothing that matters: the
// connection is used again, also after it has asked pace to change its keys, too.
func TestBackendTLS_KeysChangeOnAnIdleConnection(t *testing.T) {
	t.Parallel()
	ca := pacetest.NewCA(t)
	cert := ca.Issue("127.0.0.1")
	for name, order := range map[string]string{"its own": "k\n", "both": "K\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := pacetest.NewClosed(t).Address()
			server := exec.Command("openssl", "s_server", "-accept", at, "-cert", cert.Cert, "-key", cert.Key, "-crlf")
			in, err := server.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			var out outputOf
			server.Stdout, server.Stderr = &out, &out
			if err := server.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { server.Process.Kill(); server.Wait() })
			out.await(t, "ACCEPT")
			p := pacetest.Start(t, set(set(unhurried(pacetest.Config{"upstreams": {"backends": []string{"https://" + at}}}), "upstreams.tls", "ca", ca.File()), "upstreams", "max_retries", 0))
			for i := range 3 {
				done := make(chan pacetest.Response)
				go func() { done <- p.Send("POST", fmt.Sprint("/", i), "data") }()
				out.await(t, fmt.Sprintf("POST /%d ", i))
				out.await(t, "data")
				io.WriteString(in, "HTTP/1.1 200 OK\nContent-Length: 4\n\nfine")
				got := <-done
				wantStatus(t, got, 200)
				time.Sleep(100 * time.Millisecond)
				io.WriteString(in, order)
				time.Sleep(200 * time.Millisecond)
				if line := p.WantAccess(fmt.Sprint("/", i)); (line["connect_ms"] == nil) != (i > 0) {
					t.Errorf("request %d: the line says %v", i, line)
				}
			}
			p.WantMetric(3, "pace_requests_total", "pace_outcome", "ok")
		})
	}
}

// outputOf is what a process writes.
type outputOf struct {
	mu   sync.Mutex
	text strings.Builder
	read int // up to here the test has seen it
}

func (o *outputOf) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

// await waits until the process has written text, after what was awaited before.
func (o *outputOf) await(t *testing.T, text string) {
	t.Helper()
	pacetest.Eventually(t, func() error {
		o.mu.Lock()
		defer o.mu.Unlock()
		rest := o.text.String()[o.read:]
		i := strings.Index(rest, text)
		if i < 0 {
			return fmt.Errorf("the server wrote %q, want %q", rest, text)
		}
		o.read += i + len(text)
		return nil
	})
}
