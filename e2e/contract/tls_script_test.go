package contract

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pace/e2e/pacetest"
	"pace/e2e/parts"
)

// scripts/tls.sh finds nothing at pace, and says what it has looked at. At a server that takes old versions and weak
// ciphers, and resumes no session, it finds each of these.
func TestTLSScript(t *testing.T) {
	t.Parallel()
	parts.Path(t, "openssl")
	ca := pacetest.NewCA(t)
	p := pacetest.Start(t, overTLS(upstreams(pacetest.NewBackend(t, pacetest.Fine)), ca.Issue("pace.test")))
	said, err := runTLSScript(t, p.Proxy)
	if err != nil || strings.Contains(said, "FINDING") {
		t.Errorf("at pace: %v\n%s", err, said)
	}
	wantRows(t, said, "TLS 1.0: refused ok", "TLS 1.1: refused ok", "TLS 1.2: accepted -", "TLS 1.3: accepted ok",
		"cipher of TLS 1.2: ECDHE-ECDSA-AES128-GCM-SHA256 ok", "cipher of TLS 1.3: TLS_AES_128_GCM_SHA256 ok", "group: X25519 ok",
		"fallback to a lower version: refused ok", "compression: none ok", "renegotiation by the client: refused ok",
		"resumption, TLS 1.2: by ticket ok", "resumption, TLS 1.3: by ticket ok", "early data (0-RTT): no ok",
		"ALPN h2: agreed ok", "ALPN http/1.1: agreed ok", "HTTP/2 with a prohibited cipher: not agreed ok", "OCSP response: none -")

	weak := weakServer(t)
	said, err = runTLSScript(t, weak)
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 {
		t.Errorf("at a weak server: %v, want exit code 1", err)
	}
	wantRows(t, said, "TLS 1.0: accepted FINDING", "TLS 1.1: accepted FINDING", "TLS 1.3: refused FINDING",
		"cipher of TLS 1.2: AES128-SHA FINDING", "resumption, TLS 1.2: none FINDING", "HTTP/2 with a prohibited cipher: agreed FINDING")

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if said, err := runTLSScript(t, l.Addr().String()); err == nil || err.(*exec.ExitError).ExitCode() != 2 {
		t.Errorf("where nobody listens: %v, want exit code 2\n%s", err, said)
	}
}

// weakServer starts a server whose TLS is as bad as Go allows.
func weakServer(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"pace.test"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pair := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	weak := &tls.Config{
		Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS12, SessionTicketsDisabled: true,
		NextProtos: []string{"h2", "http/1.1"},
		CipherSuites: []uint16{
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
			tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA,
		},
	}
	return rawTLS(t, func(c net.Conn) {
		defer c.Close()
		io.Copy(io.Discard, tls.Server(c, weak))
	}).Addr().String()
}

func runTLSScript(t *testing.T, address string) (string, error) {
	t.Helper()
	root, err := pacetest.Root()
	if err != nil {
		t.Fatal(err)
	}
	said, err := exec.CommandContext(t.Context(), "bash", filepath.Join(root, "scripts", "tls.sh"), address, "pace.test").CombinedOutput()
	return string(said), err
}

// wantRows fails t unless the table has each row, written as WHAT: RESULT VERDICT.
func wantRows(t *testing.T, table string, rows ...string) {
	t.Helper()
	var have []string
	for line := range strings.Lines(table) {
		have = append(have, strings.Join(strings.Fields(line), " "))
	}
	for _, row := range rows {
		if want := strings.Replace(row, ": ", " ", 1); !strings.Contains("\n"+strings.Join(have, "\n")+"\n", "\n"+want+"\n") {
			t.Errorf("no row %q in\n%s", want, table)
		}
	}
}
