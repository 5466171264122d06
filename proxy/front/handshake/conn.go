package handshake

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"syscall"

	"pace/proxy/front/socket"
	"pace/telemetry"
)

// Conn is a client's connection over TLS. It is a [socket.Conn]; what goes over its socket is encrypted.
type Conn struct {
	*tls.Conn
	wire   *wire
	done   func(version string)
	failed func(*Failure)

	// The goroutine that reads owns these.
	begun    bool // the handshake
	unusable bool // the handshake failed, or was only the authority's

	Agreement      // empty before the end of the handshake
	HTTP2     bool // was agreed on, by ALPN
}

// Agreement is what a handshake has come to.
type Agreement struct {
	Version, Cipher string              // as OpenTelemetry names them
	Client          []*x509.Certificate // that the client has shown, its own first; verified
}

// AgreementOf returns what the handshake of a connection has come to.
func AgreementOf(s tls.ConnectionState) Agreement {
	return Agreement{versionNumber(s.Version), tls.CipherSuiteName(s.CipherSuite), s.PeerCertificates}
}

// wire is the connection as crypto/tls has it, with what the client offers.
type wire struct {
	socket.Conn
	offer Offer
}

// Server returns the connection over nc. Once its handshake is over, done or failed is called.
func (t *Terminator) Server(nc socket.Conn, done func(version string), failed func(*Failure)) *Conn {
	w := &wire{Conn: nc}
	return &Conn{Conn: tls.Server(w, t.config.Load()), wire: w, done: done, failed: failed}
}

// Read implements net.Conn. The first one makes the handshake, within the deadline of the read.
func (c *Conn) Read(b []byte) (int, error) {
	if !c.begun {
		c.begun = true
		c.unusable = !c.shake()
	}
	if c.unusable { // net/http reads more than once, and to any other error it responds with a 400: a second refusal
		return 0, io.EOF
	}
	return c.Conn.Read(b)
}

// plainHTTP is what a client gets that speaks HTTP without TLS.
const plainHTTP = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\nThis port speaks HTTPS: use https:// in the address.\n"

// shake makes the handshake, and reports whether the connection can be used.
func (c *Conn) shake() bool {
	err := c.Handshake()
	if err == nil {
		state := c.ConnectionState()
		c.Agreement, c.HTTP2 = AgreementOf(state), state.NegotiatedProtocol == protocols[0]
		c.wire.offer = Offer{}
		if state.NegotiatedProtocol == challengeProtocol {
			return false // the authority has seen what it wants
		}
		c.done(c.Version)
		return true
	}
	f := FailureOf(err, &c.wire.offer)
	if f.Reason == telemetry.HandshakePlainHTTP {
		io.WriteString(c.wire.Conn, plainHTTP)
		c.wire.CloseWrite()
	}
	if !errors.Is(err, io.EOF) || c.wire.offer.Came { // who closes a connection without a byte has not begun a handshake
		c.failed(f)
	}
	return false
}

// SyscallConn implements syscall.Conn. It is for questions about the socket: whoever reads or writes by it goes
// past TLS.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return c.wire.SyscallConn() }
