// Package handshake ends TLS at the front. A [Conn] makes the handshake in its first Read, so on the goroutine
// that serves the connection, and from then on it carries clear text: whoever reads along sees what net/http sees.
//
// It must not know HTTP, except for what a client is told that speaks it without TLS.
package handshake

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"sync/atomic"
)

// Options say how handshakes are made.
type Options struct {
	MinVersion  uint16 // the lowest version; 0: TLS 1.2
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	Challenge   func(serverName string) *tls.Certificate // answers TLS-ALPN-01 of ACME (RFC 8737); it returns nil if there is none

	Client    string         // one of ClientAuths, whether clients must show a certificate; "": they need not
	ClientCAs *x509.CertPool // who may have signed it
}

// ClientAuths are the words for whether clients show a certificate.
var ClientAuths = []string{authNone, authRequest, authRequire}

const (
	authNone    = "none"
	authRequest = "request" // one that is shown must verify
	authRequire = "require"
)

var clientAuth = map[string]tls.ClientAuthType{
	authRequest: tls.VerifyClientCertIfGiven, authRequire: tls.RequireAndVerifyClientCert,
}

// Versions are the versions of TLS that may be the lowest, by their names in a configuration.
var Versions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// Terminator makes the handshakes of a listener. It is safe for concurrent use.
//
// crypto/tls keeps the keys of session tickets, and rotates them daily, in the Config that a connection begins
// with. So each listener keeps its Config, and what changes hangs from that. But where clients show certificates, a
// change makes old tickets useless: crypto/tls does not check again who has signed the certificate of a session that
// is resumed.
type Terminator struct {
	config  atomic.Pointer[tls.Config]
	inForce atomic.Pointer[configs]
}

// configs are what the options mean for the clients that may get HTTP/2, for the others, for those over QUIC, and for
// certificate authorities.
type configs struct{ both, http1, quic, challenge *tls.Config }

// NewTerminator returns a Terminator.
func NewTerminator(o Options) *Terminator {
	t := &Terminator{}
	t.Change(o)
	return t
}

// Change puts o in force for the handshakes that begin from now on.
func (t *Terminator) Change(o Options) {
	both := &tls.Config{
		MinVersion: max(o.MinVersion, tls.VersionTLS12), GetCertificate: o.Certificate, NextProtos: protocols,
		ClientAuth: clientAuth[o.Client], ClientCAs: o.ClientCAs,
	}
	http1 := both.Clone()
	http1.NextProtos = protocols[1:]
	quic := both.Clone()
	quic.MinVersion, quic.NextProtos = tls.VersionTLS13, []string{http3}
	quic.SessionTicketsDisabled = both.ClientAuth != tls.NoClientCert // they would outlive a change of who signs certificates
	last := t.inForce.Swap(&configs{both, http1, quic, challengeConfig(o.Challenge)})
	if last == nil || last.both.ClientAuth != both.ClientAuth || both.ClientAuth != tls.NoClientCert {
		t.config.Store(&tls.Config{GetConfigForClient: t.configFor, MinVersion: tls.VersionTLS12, NextProtos: protocols})
	}
}

// challengeProtocol is what a certificate authority speaks that validates a name by TLS-ALPN-01, and nothing else.
const challengeProtocol = "acme-tls/1"

// challengeConfig is what answers TLS-ALPN-01. The connection ends with the handshake, so nobody is asked for a
// certificate, and no session begins.
func challengeConfig(of func(string) *tls.Certificate) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{challengeProtocol}, SessionTicketsDisabled: true,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if of != nil {
				if c := of(hello.ServerName); c != nil {
					return c, nil
				}
			}
			return nil, ErrNoCertificate
		},
	}
}

// protocols are what a client may speak over TLS, in order of preference.
var protocols = []string{"h2", "http/1.1"}

// http3 is what a client must speak over QUIC.
const http3 = "h3"

// QUIC returns the configuration of handshakes over QUIC, which follows the changes of t. note is called in each, with
// its context and what the client offers.
func (t *Terminator) QUIC(note func(context.Context, Offer)) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{http3},
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			note(hello.Context(), offerOf(hello))
			return t.inForce.Load().quic, nil
		},
	}
}

// configFor returns how to go on with a client, and notes what it offers.
func (t *Terminator) configFor(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	hello.Conn.(*wire).offer = offerOf(hello)
	now := t.inForce.Load()
	if slices.Equal(hello.SupportedProtos, now.challenge.NextProtos) {
		return now.challenge, nil
	}
	if !mayHaveHTTP2(hello) {
		return now.http1, nil
	}
	return now.both, nil
}

// mayHaveHTTP2 reports whether a client can do what HTTP/2 asks of TLS (RFC 9113 §9.2): version 1.3, or an
// authenticated cipher with a key exchange of its own.
func mayHaveHTTP2(hello *tls.ClientHelloInfo) bool {
	return slices.Contains(hello.SupportedVersions, tls.VersionTLS13) ||
		slices.ContainsFunc(hello.CipherSuites, func(id uint16) bool { return slices.Contains(authenticated, id) })
}

// authenticated are the cipher suites of TLS 1.2 that crypto/tls has and RFC 9113 appendix A does not prohibit.
var authenticated = []uint16{
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
}
