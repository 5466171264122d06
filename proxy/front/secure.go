package front

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"

	"pace/proxy/front/handshake"
	"pace/proxy/message"
	"pace/telemetry"
)

// ListenerSettings are what may change of a listener while it is served.
type ListenerSettings struct {
	Announced  []netip.Prefix     // peers whose connections must begin with a PROXY header; nobody else's may
	TLS        *handshake.Options // nil: clear text
	HTTP3Port  int                // UDP port at which clients get the same over HTTP/3; 0: none
	RedirectTo int                // port of the listener over TLS to which each request is redirected; 0: none is

	altSvc []string // of HTTP3Port, made once
}

// ChangeListener puts n in force for the connections that are accepted on l from now on; l was passed to Serve.
func (s *Server) ChangeListener(l net.Listener, n ListenerSettings) {
	for _, open := range s.listeners.all() {
		if open.from == l {
			open.change(n)
		}
	}
}

func (l *listener) change(n ListenerSettings) {
	if n.TLS != nil {
		if t := l.terminator.Load(); t != nil {
			t.Change(*n.TLS)
		} else {
			l.terminator.Store(handshake.NewTerminator(*n.TLS))
		}
	}
	n.altSvc = altSvc(n.HTTP3Port)
	l.settings.Store(&n)
}

// agreed returns what was agreed on in the handshake; nil: the connection is in clear text.
func (c *Conn) agreed() *handshake.Agreement {
	switch {
	case c.h3 != nil:
		return &c.h3.Agreed
	case c.tls != nil:
		return &c.tls.Agreement
	}
	return nil
}

// TLS returns the version and the cipher suite that the connection has over TLS; both are empty if it is in clear
// text.
func (c *Conn) TLS() (version, cipher string) {
	if a := c.agreed(); a != nil {
		return a.Version, a.Cipher
	}
	return "", ""
}

// ClientCert is the certificate with which a client has authenticated itself.
type ClientCert struct {
	Subject string // its distinguished name (RFC 2253), cut to longestSubject bytes
	Lines   []byte // the fields of RFC 9440 for a backend
}

const longestSubject = 1 << 10

// ClientCert returns the client's certificate, which is verified; nil: it has shown none.
func (c *Conn) ClientCert() *ClientCert {
	a := c.agreed()
	if a == nil || len(a.Client) == 0 {
		return nil
	}
	c.certOnce.Do(func() {
		subject := a.Client[0].Subject.String()
		c.cert = &ClientCert{subject[:min(len(subject), longestSubject)], message.ClientCertLines(a.Client)}
	})
	return c.cert
}

// Encrypted reports whether what goes over the socket is encrypted, so that the kernel cannot move it for pace.
func (c *Conn) Encrypted() bool { return c.agreed() != nil }

// handshakeFailed counts and logs a handshake that failed.
func (c *Conn) handshakeFailed(f *handshake.Failure) {
	if record, ok := errors.AsType[tls.RecordHeaderError](f.Err); ok && c.announcement == mustNotClaim && c.claims(record.RecordHeader[:]) {
		return
	}
	c.server.HandshakeFailed(f.Reason)
	c.server.refuse(telemetry.RefusedTLSHandshake, c, slog.String("why", f.Reason.String()), slog.String("error", f.Err.Error()), slog.String("offered", f.Offer.String()))
}
