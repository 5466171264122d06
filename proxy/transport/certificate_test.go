package transport

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

func TestError_WordsOfACertificate(t *testing.T) {
	day := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	old := &x509.Certificate{NotBefore: day.AddDate(-1, 0, 0), NotAfter: day}
	young := &x509.Certificate{NotBefore: time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC)}
	evil := &x509.Certificate{DNSNames: []string{"a\r\nb\x1b[31m", "ü"}, Issuer: pkix.Name{CommonName: "\x00" + strings.Repeat("x", 1000)}}
	unverified := func(err error) error {
		return fmt.Errorf("outer: %w", &tls.CertificateVerificationError{UnverifiedCertificates: []*x509.Certificate{evil}, Err: err})
	}
	for _, tt := range []struct {
		name string
		kind Kind
		err  error
		want string
	}{
		{"an expired certificate", BadCertificate, unverified(x509.CertificateInvalidError{Cert: old, Reason: x509.Expired}), "certificate expired on 2026-01-02T03:04:05Z"},
		{"one that is not valid yet", BadCertificate, unverified(x509.CertificateInvalidError{Cert: young, Reason: x509.Expired}), "certificate is valid only from 2999-01-01T00:00:00Z on"},
		{"one for other names", BadCertificate, unverified(x509.HostnameError{Certificate: evil, Host: "c.test"}), "certificate is for a??b?[31m, ?, not for c.test"},
		{"one for an address", BadCertificate, unverified(x509.HostnameError{Certificate: &x509.Certificate{IPAddresses: []net.IP{net.IPv4(10, 0, 0, 7)}}, Host: "c.test"}), "certificate is for 10.0.0.7, not for c.test"},
		{"one for no name", BadCertificate, unverified(x509.HostnameError{Certificate: &x509.Certificate{}, Host: "c.test"}), "certificate is for no name, not for c.test"},
		{"one that somebody unknown has signed", BadCertificate, unverified(x509.UnknownAuthorityError{Cert: evil}), "certificate is signed by an unknown authority: ?" + strings.Repeat("x", maxShown-3) + "..."},
		{"one that may not be used for this", BadCertificate, unverified(x509.CertificateInvalidError{Cert: old, Reason: x509.IncompatibleUsage}), "certificate does not verify: certificate specifies an incompatible key usage"},
		{"an alert", TLSFailed, &net.OpError{Op: "remote error", Err: tls.AlertError(40)}, "remote error: tls: handshake failure"},
		{"what is not TLS", TLSFailed, tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, "tls: first record does not look like a TLS handshake"},
		{"a text that quotes the peer", TLSFailed, errors.New("tls: failed to parse: \"\x1b\n\""), `tls: failed to parse: "??"`},
	} {
		if got := (&Error{Kind: tt.kind, Err: tt.err}).Words(); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// Whatever a certificate says, the words are bounded and printable.
func FuzzError_WordsOfACertificate(f *testing.F) {
	f.Add("a.test", "CA")
	f.Add("\x00\x1b]0;\a\r\n", strings.Repeat("é", 500))
	f.Fuzz(func(t *testing.T, name, issuer string) {
		c := &x509.Certificate{DNSNames: []string{name, name, name, name, name, name}, Issuer: pkix.Name{CommonName: issuer}}
		for _, err := range []error{x509.HostnameError{Certificate: c, Host: "c.test"}, x509.UnknownAuthorityError{Cert: c}, errors.New(name)} {
			e := &Error{Kind: BadCertificate, Err: &tls.CertificateVerificationError{UnverifiedCertificates: []*x509.Certificate{c}, Err: err}}
			words := e.Words()
			if len(words) > 2*maxShown || strings.ContainsFunc(words, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Fatalf("%q, %q: the words are %q", name, issuer, words)
			}
		}
	})
}
