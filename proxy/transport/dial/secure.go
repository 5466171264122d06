package dial

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// Secure is a connection over TLS.
//
// It differs from a [tls.Conn] in four ways. An end of the connection without close_notify is an error, and not
// the end of what was sent, since anybody on the way could have caused it. It can be asked whether it is quiet
// ([Secure.IsQuiet]). A write whose deadline passed can go on ([Secure.GoOn]). And Close never waits for the peer.
type Secure struct {
	*tls.Conn
	wire *wire
	one  [1]byte // for IsQuiet
}

// newSecure returns c with TLS on it. The handshake is to be made.
func newSecure(c net.Conn, config *tls.Config) *Secure {
	w := &wire{Conn: c}
	if s, ok := c.(syscall.Conn); ok && CanLook {
		w.raw, _ = s.SyscallConn()
	}
	w.once.init()
	return &Secure{Conn: tls.Client(w, config), wire: w}
}

// Under returns the connection below TLS.
func (s *Secure) Under() net.Conn { return s.wire.Conn }

// GoOn sets what is asked when a write to the connection has failed after n bytes; began is when it began. If
// goesOn returns true, the write goes on: goesOn has moved the deadline. Otherwise TLS cannot be used any more,
// since a record was cut. It is set before the connection is used.
func (s *Secure) GoOn(goesOn func(began time.Time, n int, err error) bool) { s.wire.goesOn = goesOn }

// Read implements net.Conn.
func (s *Secure) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if err == io.EOF && s.wire.ended {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// ReadNow is a Read that does not wait: it returns [os.ErrDeadlineExceeded] if nothing is there.
func (s *Secure) ReadNow(b []byte) (int, error) {
	if s.wire.raw == nil {
		return 0, os.ErrDeadlineExceeded
	}
	s.wire.noWait = true
	defer func() { s.wire.noWait = false }()
	return s.Read(b)
}

// IsQuiet reports whether the connection is there and has nothing to read. What TLS sends on its own, such as
// tickets for later sessions, is nothing to read: it takes that in. known is false if the connection cannot be asked.
func (s *Secure) IsQuiet() (quiet, known bool) {
	if s.wire.raw == nil {
		return false, false
	}
	_, err := s.ReadNow(s.one[:])
	return errors.Is(err, os.ErrDeadlineExceeded), true
}

// Close implements net.Conn. It sends close_notify if there is room for it.
func (s *Secure) Close() error {
	s.wire.closing.Store(true)
	return s.Conn.Close()
}

// wire is the connection below TLS. What is not atomic belongs to the goroutine that reads.
type wire struct {
	net.Conn
	raw     syscall.RawConn // nil if it has no descriptor
	once    once
	goesOn  func(began time.Time, n int, err error) bool
	noWait  bool        // Read does not wait
	ended   bool        // Read has found the end of the connection: crypto/tls does not read on after close_notify
	closing atomic.Bool // Write does not wait
}

// Read implements net.Conn.
func (w *wire) Read(b []byte) (n int, err error) {
	if w.noWait {
		n, err = w.readNow(b)
	} else {
		n, err = w.Conn.Read(b)
	}
	w.ended = w.ended || err == io.EOF
	return n, err
}

// Write implements net.Conn. crypto/tls writes one record in each call, and cannot go on with it later.
func (w *wire) Write(b []byte) (written int, err error) {
	if w.closing.Load() && w.raw != nil {
		return w.writeNow(b)
	}
	began := time.Now()
	for {
		n, err := w.Conn.Write(b[written:])
		written += n
		if err == nil || w.goesOn == nil || w.closing.Load() || !w.goesOn(began, n, err) {
			return written, err
		}
		if n > 0 {
			began = time.Now()
		}
	}
}
