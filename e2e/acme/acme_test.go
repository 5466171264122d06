// Package acme runs the built pace with Pebble, a certificate authority that speaks ACME, and compares what clients
// see in their handshakes with what pace says.
package acme

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"pace/e2e/pacetest"
	"pace/e2e/parts"
)

func TestMain(m *testing.M) { pacetest.Main(m) }

// world is a certificate authority, and the configuration of a pace that asks it.
type world struct {
	ca      *parts.Peb
	server  pacetest.Certificate // of the authority's server
	trust   string               // file with who has signed that
	storage string
	secure  string // address of pace's listener with TLS
	clear   string // address of the one in clear text; "": there is none
	config  pacetest.Config
}

// options say how the authority of a world is, and what it can reach.
type options struct {
	validity time.Duration // of its certificates; 0: a year
	overHTTP bool          // it reaches pace's listener in clear text alone; else the one with TLS alone
}

// newWorld returns a world for some names, in which the authority does not run yet.
func newWorld(t *testing.T, o options, domains ...string) *world {
	t.Helper()
	own := pacetest.NewCA(t)
	port, closed := pacetest.NewClosed(t).Port(), pacetest.NewClosed(t).Port()
	w := &world{server: own.Issue("localhost"), trust: own.File(), storage: filepath.Join(t.TempDir(), "acme"), secure: local(port)}
	if o.validity == 0 {
		o.validity = 365 * 24 * time.Hour
	}
	authority := parts.PebbleOptions{Cert: w.server.Cert, Key: w.server.Key, TLSPort: port, HTTPPort: closed, Validity: o.validity}
	if o.overHTTP {
		authority.TLSPort, authority.HTTPPort = closed, pacetest.NewClosed(t).Port()
		w.clear = local(authority.HTTPPort)
	}
	w.ca = parts.NewPebble(t, authority)
	w.config = pacetest.Config{
		"upstreams":  pacetest.Upstreams(pacetest.NewBackend(t, pacetest.Fine)),
		"listener.a": {"listen": w.secure, "tls": true, "strict_sni": true},
		"acme": {"domains": domains, "email": "admin@example.com", "directory": w.ca.Directory, "storage": w.storage,
			"ca": w.trust, "accept_terms": true},
	}
	if w.clear != "" {
		w.config["listener.b"] = pacetest.Table{"listen": w.clear, "redirect_to_https": true}
	}
	return w
}

func local(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// shown returns the certificate that a client gets who asks for a name; it trusts roots.
func (w *world) shown(name string, roots *x509.CertPool) (*x509.Certificate, error) {
	d := tls.Dialer{Config: &tls.Config{ServerName: name, RootCAs: roots}}
	c, err := d.Dial("tcp", w.secure)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}

// await waits until a client gets a certificate for a name.
func (w *world) await(t *testing.T, name string, roots *x509.CertPool) (got *x509.Certificate) {
	t.Helper()
	pacetest.Eventually(t, func() (err error) {
		time.Sleep(50 * time.Millisecond) // a handshake is costly
		got, err = w.shown(name, roots)
		return err
	})
	return got
}

// A pace without a certificate says so, gets one by TLS-ALPN-01 at the listener that its clients use, and serves
// HTTP/1.1 and HTTP/2 with it. The validation is no failed handshake, and nobody else can read what is stored.
func TestIssue_ByTLSALPN(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{}, "a.test", "b.test")
	p := pacetest.StartUnready(t, w.config)
	if got := p.Ready(); got != http.StatusServiceUnavailable {
		t.Errorf("/readyz is %d without a certificate, want 503", got)
	}
	w.ca.Start()
	roots := w.ca.Roots()
	expires := float64(w.await(t, "a.test", roots).NotAfter.Unix())
	w.await(t, "b.test", roots)
	if got := p.Ready(); got != http.StatusOK {
		t.Errorf("/readyz is %d with certificates, want 200", got)
	}
	p.WantMetric(expires, "pace_certificate_expiry_timestamp_seconds", "certificate", "a.test")
	if lines := p.AwaitLines(2, "certificate issued"); len(lines) != 2 {
		t.Errorf("got the lines %v, want 2", lines)
	}
	if w.ca.Said("Attempting to validate w/ HTTP") > 0 {
		t.Error("the authority has asked over HTTP, where nobody listens")
	}
	for _, mode := range []pacetest.Mode{pacetest.H1, pacetest.H2C} {
		client := pacetest.ClientOver(t, mode, &tls.Config{ServerName: "a.test", RootCAs: roots})
		req, err := http.NewRequest("GET", "https://"+w.secure+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := pacetest.Do(client, req); got.Status != 200 {
			t.Errorf("%s: got %d, %v", mode, got.Status, got.Err)
		}
	}
	p.WantMetric(0, "pace_tls_handshake_failures_total", "reason", "other")
	w.wantTight(t)
}

// The listener in clear text answers HTTP-01 before it redirects, and for the tokens of pace alone.
func TestIssue_ByHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{overHTTP: true}, "a.test")
	w.ca.Start()
	p := pacetest.StartUnready(t, w.config)
	w.await(t, "a.test", w.ca.Roots())
	if w.ca.Said("Attempting to validate w/ HTTP") == 0 {
		t.Error("the authority has not asked over HTTP")
	}
	wire := pacetest.DialWire(t, w.clear)
	wire.Send("GET /.well-known/acme-challenge/unknown HTTP/1.1\r\nHost: a.test\r\n\r\n")
	if got := wire.Response("GET"); got.Status != http.StatusPermanentRedirect {
		t.Errorf("an unknown token: got %d, want the redirect of every other request", got.Status)
	}
	p.WantMetric(1, "pace_requests_total", "pace_outcome", "redirected")
	p.WantMetric(1, "pace_requests_total") // the challenge is none
}

// Nobody but the authority has a use for acme-tls/1: a name that is not being validated has no such certificate.
func TestChallenge_OfNoOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{}, "a.test")
	w.ca.Start()
	p := pacetest.StartUnready(t, w.config)
	w.await(t, "a.test", w.ca.Roots())
	before := p.Metrics().Sum("pace_tls_handshake_failures_total", "reason", "no_certificate")
	c, err := tls.Dial("tcp", w.secure, &tls.Config{ServerName: "a.test", InsecureSkipVerify: true, NextProtos: []string{"acme-tls/1"}})
	if err == nil {
		c.Close()
		t.Error("the handshake succeeded")
	}
	p.WantMetric(before+1, "pace_tls_handshake_failures_total", "reason", "no_certificate")
}

// A certificate from a file is shown in place of one that pace would get, and pace is ready with it at once.
func TestFiles_GoFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{}, "a.test", "b.test")
	own := pacetest.NewCA(t)
	w.config["certificate[0]"] = own.Issue("a.test").Table()
	p := pacetest.Start(t, w.config)
	w.ca.Start()
	w.await(t, "b.test", w.ca.Roots())
	p.AwaitLines(2, "certificate issued")
	if _, err := w.shown("a.test", own.Config("").RootCAs); err != nil {
		t.Errorf("the certificate is not that of the file: %v", err)
	}
}

// wantTight fails t unless only the owner may use the storage.
func (w *world) wantTight(t *testing.T) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(w.storage, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		i, err := e.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if e.IsDir() {
			want = 0o700
		} else {
			files++
		}
		if i.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, i.Mode().Perm(), want)
		}
		return nil
	})
	if err != nil || files < 8 { // an account and two certificates
		t.Errorf("%d files, error %v", files, err)
	}
}

// notYet says what a poll still waits for.
func notYet(format string, args ...any) error { return fmt.Errorf(format, args...) }
