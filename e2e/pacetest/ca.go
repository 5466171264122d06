package pacetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// CA issues certificates that its clients trust.
type CA struct {
	t    testing.TB
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

// Certificate is a certificate and its key, in files.
type Certificate struct{ Cert, Key string }

// Table is the certificate in a configuration.
func (c Certificate) Table() Table { return Table{"cert": c.Cert, "key": c.Key} }

// NewCA returns a CA of its own.
func NewCA(t testing.TB) *CA {
	t.Helper()
	ca := &CA{t: t, key: newKey(t)}
	ca.cert = ca.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, ca.key)
	return ca
}

// Issue writes a certificate with these names, and its key.
func (ca *CA) Issue(names ...string) Certificate {
	ca.t.Helper()
	dir := ca.t.TempDir()
	c := Certificate{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")}
	ca.IssueTo(c, names...)
	return c
}

// IssueTo writes another certificate with these names into the files of c, the key last.
func (ca *CA) IssueTo(c Certificate, names ...string) {
	ca.t.Helper()
	key := newKey(ca.t)
	cert := ca.sign(leaf(names), key)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		ca.t.Fatal(err)
	}
	writePEM(ca.t, c.Cert, "CERTIFICATE", cert.Raw)
	writePEM(ca.t, c.Key, "PRIVATE KEY", private)
}

// leaf is what a certificate with these names is made of; a name may be an address, or "", which is none.
func leaf(names []string) *x509.Certificate {
	c := &x509.Certificate{
		Subject: pkix.Name{CommonName: names[0]}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else if name != "" {
			c.DNSNames = append(c.DNSNames, name)
		}
	}
	return c
}

// Server returns what a server does over TLS with a certificate of these names.
func (ca *CA) Server(names ...string) *tls.Config {
	ca.t.Helper()
	return ca.ServerUntil(time.Now().Add(24*time.Hour), names...)
}

// ServerUntil is [CA.Server] with a certificate that expires then.
func (ca *CA) ServerUntil(expires time.Time, names ...string) *tls.Config {
	ca.t.Helper()
	template, key := leaf(names), newKey(ca.t)
	template.NotBefore, template.NotAfter = expires.Add(-48*time.Hour), expires
	cert := ca.sign(template, key)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}},
		NextProtos:   []string{"http/1.1"},
	}
}

// Pool returns the CA's own certificate.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// sign makes a certificate of the template; that of the CA itself comes first.
func (ca *CA) sign(template *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	ca.t.Helper()
	parent := ca.cert
	if parent == nil {
		parent = template
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		ca.t.Fatal(err)
	}
	template.SerialNumber = serial
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), ca.key)
	if err != nil {
		ca.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		ca.t.Fatal(err)
	}
	return cert
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// writePEM replaces a file, as what renews certificates does.
func writePEM(t testing.TB, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file+".new", pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// File writes the CA's own certificate, and returns the name of the file.
func (ca *CA) File() string {
	file := filepath.Join(ca.t.TempDir(), "ca.pem")
	writePEM(ca.t, file, "CERTIFICATE", ca.cert.Raw)
	return file
}

// Config returns what a client of the CA's does over TLS when it asks for a name.
func (ca *CA) Config(name string) *tls.Config {
	return &tls.Config{RootCAs: ca.Pool(), ServerName: name}
}

// Client returns a client that speaks mode over TLS, asks for name, and keeps its own connections.
func (ca *CA) Client(mode Mode, name string) *http.Client {
	return ClientOver(ca.t, mode, ca.Config(name))
}

// ClientOver returns a client that speaks mode over TLS as c says, and keeps its own connections.
func ClientOver(t testing.TB, mode Mode, c *tls.Config) *http.Client {
	if mode == H3 {
		return H3Over(t, c).Client
	}
	client := mode.Client(t)
	tr := client.Transport.(*http.Transport)
	tr.Protocols = new(http.Protocols)
	tr.Protocols.SetHTTP1(mode == H1)
	tr.Protocols.SetHTTP2(mode == H2C)
	tr.TLSClientConfig = c
	return client
}
