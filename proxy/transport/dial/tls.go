package dial

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"os"

	"pace/proxy/transport"
)

// TLS says how the backends of an upstream are spoken to over TLS. The zero value works: the certificate must be
// signed by one of the system's authorities, and have the host of the backend as its name.
type TLS struct {
	ServerName   string            // that the certificate must have, and that is asked for; "": the backend's host
	Roots        *x509.CertPool    // who may have signed it; nil: the system's
	Certificates []tls.Certificate // that pace shows if it is asked for one
	Unverified   bool              // any certificate will do

	Files string // what was read from files, as a digest: the rest tells two of them apart only by their names
}

// Same reports whether both mean the same. Either may be nil: no TLS.
func (t *TLS) Same(as *TLS) bool {
	if t == nil || as == nil {
		return t == as
	}
	return t.ServerName == as.ServerName && t.Unverified == as.Unverified && t.Files == as.Files
}

// sessions is how many sessions are kept for later connections to one backend. crypto/tls keeps one for each name.
const sessions = 1

// Config returns the configuration of TLS for one backend, with this host and these protocols of ALPN. It must be
// used for one Dialer only, for sessions go with it.
func (t *TLS) Config(host string, protocols ...string) *tls.Config {
	c := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         t.ServerName,
		RootCAs:            t.Roots,
		Certificates:       t.Certificates,
		InsecureSkipVerify: t.Unverified,
		NextProtos:         protocols,
		ClientSessionCache: tls.NewLRUClientSessionCache(sessions),

		// Small records are for browsers, which can show a part. Large ones need fewer system calls.
		DynamicRecordSizingDisabled: true,
	}
	if c.ServerName == "" {
		c.ServerName = withoutZone(host)
	}
	return c
}

// withoutZone returns a host without the zone of an IPv6 address, which no certificate has.
func withoutZone(host string) string {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.WithZone("").String()
	}
	return host
}

// HandshakeError is a TLS handshake that failed: there was a connection.
type HandshakeError struct {
	Remote netip.AddrPort // zero if it is not TCP
	Err    error
}

func (e *HandshakeError) Error() string { return e.Err.Error() }
func (e *HandshakeError) Unwrap() error { return e.Err }

// secure makes the handshake on c, and closes c if it fails.
func (d *Dialer) secure(ctx context.Context, c net.Conn) (net.Conn, transport.Kind, error) {
	s := newSecure(c, d.o.TLS)
	err := s.HandshakeContext(ctx)
	if err == nil {
		return s, 0, nil
	}
	failed := &HandshakeError{Err: err}
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		failed.Remote = a.AddrPort()
	}
	c.Close()
	kind := transport.TLSFailed
	if _, unverified := errors.AsType[*tls.CertificateVerificationError](err); unverified {
		kind = transport.BadCertificate
	}
	if timedOut(ctx, err) {
		kind = transport.ConnectTimeout
		failed.Err = &net.OpError{Op: "handshake", Net: d.Network, Addr: address{d.Network, failed.Remote.String()}, Err: os.ErrDeadlineExceeded}
	}
	return nil, kind, failed
}
