package parts

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pace/e2e/port"
)

// PebbleOptions say how Pebble is run.
type PebbleOptions struct {
	Cert, Key         string        // files of the certificate of its listeners, for localhost
	HTTPPort, TLSPort int           // at which it validates names, all of which are this machine
	Validity          time.Duration // of the certificates that it issues
}

// Peb is Pebble, a certificate authority that speaks ACME.
type Peb struct {
	URL       string // without a slash at the end
	Directory string // URL

	t          testing.TB
	file       string // the configuration
	management string
	process    *process
}

// NewPebble returns a Pebble that does not run yet.
func NewPebble(t testing.TB, o PebbleOptions) *Peb {
	t.Helper()
	Path(t, "pebble") // skips the test if it is not built
	listen, management := free(t), free(t)
	p := &Peb{URL: "https://localhost:" + portOf(listen), t: t, file: filepath.Join(t.TempDir(), "pebble.json"), management: "https://localhost:" + portOf(management)}
	p.Directory = p.URL + "/dir"
	config, err := json.Marshal(map[string]any{
		"ListenAddress": listen, "ManagementListenAddress": management, "Certificate": o.Cert, "PrivateKey": o.Key,
		"HTTPPort": o.HTTPPort, "TLSPort": o.TLSPort, "DNSAddress": free(t),
		"Profiles": map[string]any{"default": map[string]any{"Description": "the only one", "ValidityPeriod": int(o.Validity.Seconds())}},
	})
	if err != nil {
		t.Fatal(err)
	}
	write(t, p.file, string(config))
	return p
}

func portOf(address string) string { return strconv.Itoa(port.Of(address)) }

// Start runs it. A Pebble that was killed starts anew: it has other keys, and knows no account.
func (p *Peb) Start() {
	p.t.Helper()
	p.process = run(p.t, Path(p.t, "pebble"), "-config", p.file)
	poll(p.t, func() error {
		_, err := p.get(p.Directory)
		return err
	})
}

// Kill ends it.
func (p *Peb) Kill() {
	p.process.cmd.Process.Kill()
	<-p.process.exited
}

// Roots returns who has signed what it issues.
func (p *Peb) Roots() *x509.CertPool {
	p.t.Helper()
	pem, err := p.get(p.management + "/roots/0")
	if err != nil {
		p.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		p.t.Fatalf("no certificate in %q", pem)
	}
	return pool
}

// Said returns how often a text is in what it has written.
func (p *Peb) Said(text string) int {
	return strings.Count(string(p.process.whole()), text)
}

func (p *Peb) get(url string) ([]byte, error) {
	// The test trusts this server without looking: what it tests is whom pace trusts.
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr, Timeout: patience}).Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}
