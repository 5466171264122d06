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
	trust   string // file with who has signed the certificate of the authority's server
	storage string
	secure  string // address of pace's listener with TLS
	config  pacetest.Config
}

const aYear = 365 * 24 * time.Hour

// newWorld returns a world for one name, in which the authority does not run yet. clear is the port of a listener in
// clear text; 0: there is none.
func newWorld(t *testing.T, validity time.Duration, clear int, domains ...string) *world {
	t.Helper()
	own := pacetest.NewCA(t)
	server := own.Issue("localhost")
	port := pacetest.NewClosed(t).Port()
	w := &world{trust: own.File(), storage: filepath.Join(t.TempDir(), "acme"), secure: "127.0.0.1:" + strconv.Itoa(port)}
	at := parts.PebbleOptions{Cert: server.Cert, Key: server.Key, TLSPort: port, HTTPPort: clear, Validity: validity}
	if clear == 0 {
		at.HTTPPort = pacetest.NewClosed(t).Port()
	}
	w.ca = parts.NewPebble(t, at)
	w.config = pacetest.Config{
		"upstreams":  pacetest.Upstreams(pacetest.NewBackend(t, pacetest.Fine)),
		"listener.a": {"listen": w.secure, "tls": true, "strict_sni": true},
		"acme": {"domains": domains, "email": "admin@example.com", "directory": w.ca.Directory, "storage": w.storage,
			"ca": w.trust, "accept_terms": true},
	}
	if clear != 0 {
		w.config["listener.b"] = pacetest.Table{"listen": "127.0.0.1:" + strconv.Itoa(clear), "redirect_to_https": true}
	}
	return w
}

// shown returns the certificate that a client gets who asks for a name, and trusts roots.
func (w *world) shown(name string, roots *x509.CertPool) (*x509.Certificate, error) {
	c, err := tls.Dial("tcp", w.secure, &tls.Config{ServerName: name, RootCAs: roots})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0], nil
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
	w := newWorld(t, aYear, 0, "a.test", "b.test")
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
	if lines := p.Lines("certificate issued"); len(lines) != 2 {
		t.Errorf("got the lines %v, want 2", lines)
	}
	if w.ca.Said("Attempting to validate w/ HTTP") > 0 {
		t.Error("the authority has asked over HTTP")
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
	if err != nil || files < 5 {
		t.Errorf("%d files, error %v", files, err)
	}
}

// notYet says what a poll still waits for.
func notYet(format string, args ...any) error { return fmt.Errorf(format, args...) }
