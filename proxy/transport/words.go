package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// Words says why the attempt failed, in the words of the system, such as "dial tcp 10.0.0.7:80:
// connection refused". If an error's text might quote what a peer sent, the words are those of its kind. Only
// of a failed TLS handshake they may quote the peer's certificate, bounded and printable. Words returns "" if the caller or its body ended the attempt, since
// the caller then knows why.
func (e *Error) Words() string {
	if e.Kind == Canceled {
		return ""
	}
	if said := words(e.Err); said != "" || e.Kind == RequestBody {
		return said
	}
	switch e.Kind {
	case ConnectFailed, ConnectTimeout, DNSFailed, Exhausted: // nothing was read yet, so it is the dialer's own text
		return e.Err.Error()
	case TLSFailed, BadCertificate:
		return shown(e.Err.Error())
	}
	return e.Kind.String()
}

// words returns the text of an error of the system or of pace, and "" for any other.
func words(err error) string {
	if all, ok := err.(interface{ Unwrap() []error }); ok { // as of several addresses that were dialed
		said := ""
		for _, one := range all.Unwrap() {
			if w := words(one); w != "" && said != "" {
				said += "; " + w
			} else {
				said += w
			}
		}
		return said
	}
	if c, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return certificateWords(c)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok { // also a TLS alert: its text is of crypto/tls
		return operation(op)
	}
	if own, ok := errors.AsType[*fault](err); ok {
		return own.text
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	for _, known := range []error{os.ErrDeadlineExceeded, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "EOF: the backend closed the connection"
	}
	return ""
}

// operation returns the text of op, without the name of the system call.
func operation(op *net.OpError) string {
	plain := *op
	if call, ok := errors.AsType[*os.SyscallError](op.Err); ok {
		plain.Err = call.Err
	}
	return plain.Error()
}
