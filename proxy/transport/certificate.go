package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"
)

// certificateWords says why a certificate does not verify. It may quote the certificate.
func certificateWords(e *tls.CertificateVerificationError) string {
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](e.Err); ok && invalid.Reason == x509.Expired && invalid.Cert != nil {
		return expiryWords(invalid.Cert, time.Now())
	}
	if other, ok := errors.AsType[x509.HostnameError](e.Err); ok && other.Certificate != nil {
		return shown("certificate is for " + namesIn(other.Certificate) + ", not for " + other.Host)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](e.Err); ok {
		return "certificate is signed by an unknown authority" + issuerOf(e)
	}
	return shown("certificate does not verify: " + strings.TrimPrefix(e.Err.Error(), "x509: "))
}

// expiryWords says that a certificate is not valid at this time. It may be that of the backend, or one that signs.
func expiryWords(c *x509.Certificate, now time.Time) string {
	if now.Before(c.NotBefore) {
		return "certificate is valid only from " + c.NotBefore.UTC().Format(time.RFC3339) + " on"
	}
	return "certificate expired on " + c.NotAfter.UTC().Format(time.RFC3339)
}

// issuerOf names who has signed the backend's own certificate.
func issuerOf(e *tls.CertificateVerificationError) string {
	if len(e.UnverifiedCertificates) == 0 {
		return ""
	}
	if name := e.UnverifiedCertificates[0].Issuer.CommonName; name != "" {
		return shown(": " + name)
	}
	return ""
}

// maxNames is how many of the names in a certificate are shown.
const maxNames = 5

// namesIn lists the names that a certificate has.
func namesIn(c *x509.Certificate) string {
	names := append([]string{}, c.DNSNames[:min(len(c.DNSNames), maxNames)]...)
	for _, ip := range c.IPAddresses[:min(len(c.IPAddresses), maxNames)] {
		names = append(names, ip.String())
	}
	switch all := len(c.DNSNames) + len(c.IPAddresses); {
	case all == 0:
		return "no name"
	case all > len(names):
		return fmt.Sprintf("%s and %d more", strings.Join(names, ", "), all-len(names))
	}
	return strings.Join(names, ", ")
}

// maxShown is how many bytes are shown of a text that may quote what a peer sent.
const maxShown = 300

// shown returns a text of which a peer may have written a part: bounded, and in printable ASCII.
func shown(text string) string {
	cut := len(text) > maxShown
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text[:min(len(text), maxShown)])
	if cut {
		text += "..."
	}
	return text
}
