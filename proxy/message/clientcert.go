package message

import (
	"crypto/x509"
	"encoding/base64"
)

// The fields of RFC 9440, in which a proxy tells of the certificate with which a client has authenticated itself.
const (
	clientCert      = "Client-Cert"
	clientCertChain = "Client-Cert-Chain"
)

// longestChain is how many bytes Client-Cert-Chain may have. Backends bound the header that they read, so a longer
// chain is not sent; RFC 9440 §2.3 makes it optional.
const longestChain = 8 << 10

// ClientCertLines returns the lines of both fields for the certificates that a client has sent, its own first.
func ClientCertLines(certificates []*x509.Certificate) []byte {
	lines := AppendField(nil, clientCert, byteSequence(certificates[0].Raw))
	chain := ""
	for _, c := range certificates[1:] {
		if chain != "" {
			chain += ", "
		}
		chain += byteSequence(c.Raw)
	}
	if chain != "" && len(chain) <= longestChain {
		lines = AppendField(lines, clientCertChain, chain)
	}
	return lines
}

// byteSequence is a byte sequence of structured fields (RFC 9651 §3.3.5).
func byteSequence(b []byte) string { return ":" + base64.StdEncoding.EncodeToString(b) + ":" }

// DropClientCert removes both fields from a header: the connection that it came on says it itself.
func DropClientCert(h map[string][]string) {
	delete(h, clientCert)
	delete(h, clientCertChain)
}
