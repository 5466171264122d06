package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"syscall"
	"testing"
)

func TestError_Words(t *testing.T) {
	one, two := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 7), Port: 80}, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 8), Port: 80}
	dial := func(to net.Addr, call string, errno error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Addr: to, Err: os.NewSyscallError(call, errno)}
	}
	for _, tt := range []struct {
		name string
		kind Kind
		err  error
		want string
	}{
		{"a refused connection", ConnectFailed, dial(one, "connect", syscall.ECONNREFUSED), "dial tcp 10.0.0.7:80: connection refused"},
		{"no descriptor", ConnectFailed, dial(one, "socket", syscall.EMFILE), "dial tcp 10.0.0.7:80: too many open files"},
		{"two addresses", ConnectFailed, errors.Join(dial(one, "connect", syscall.ECONNREFUSED), dial(two, "connect", syscall.EHOSTUNREACH)),
			"dial tcp 10.0.0.7:80: connection refused; dial tcp 10.0.0.8:80: no route to host"},
		{"a name that is none", ConnectFailed, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "nowhere.test"}},
			"dial tcp: lookup nowhere.test: no such host"},
		{"a name that the resolver does not know", DNSFailed, &net.DNSError{Err: "no such host", Name: "nowhere.test", Server: "10.0.0.2:53"},
			"lookup nowhere.test on 10.0.0.2:53: no such host"},
		{"several addresses of a name", ConnectFailed, several{dial(one, "connect", syscall.ECONNREFUSED), dial(two, "connect", syscall.ECONNREFUSED)},
			"dial tcp 10.0.0.7:80: connection refused; dial tcp 10.0.0.8:80: connection refused"},
		{"a dialer of somebody's own", ConnectFailed, errors.New("no tunnel"), "no tunnel"},
		{"a dial that took too long", ConnectTimeout, context.DeadlineExceeded, "context deadline exceeded"},
		{"a read that took too long", ResponseTimeout, &net.OpError{Op: "read", Net: "tcp", Source: two, Addr: one, Err: os.ErrDeadlineExceeded},
			"read tcp 10.0.0.8:80->10.0.0.7:80: i/o timeout"},
		{"a reset", Reset, &net.OpError{Op: "read", Net: "tcp", Source: two, Addr: one, Err: os.NewSyscallError("read", syscall.ECONNRESET)},
			"read tcp 10.0.0.8:80->10.0.0.7:80: connection reset by peer"},
		{"an end", Reset, io.EOF, "EOF: the backend closed the connection"},
		{"an end in the body", Truncated, fmt.Errorf("body: %w", io.ErrUnexpectedEOF), "EOF: the backend closed the connection"},
		{"an error of the kernel's pipe", Truncated, syscall.ECONNRESET, "connection reset by peer"},
		{"what is not HTTP", Invalid, NewFault("malformed response: status line"), "malformed response: status line"},
		{"an error that nobody knows", Truncated, errors.New("secret"), "response truncated"},
		{"a client that left", Canceled, context.Canceled, ""},
		{"a body whose trailer net/http quotes", RequestBody, textproto.ProtocolError("malformed MIME header: missing colon: \"secret\""), ""},
		{"a body that the client's connection broke", RequestBody, &net.OpError{Op: "read", Net: "tcp", Source: two, Addr: one, Err: os.NewSyscallError("read", syscall.ECONNRESET)},
			"read tcp 10.0.0.8:80->10.0.0.7:80: connection reset by peer"},
		{"a body that is too short", RequestBody, NewFault("body is shorter than its content length"), "body is shorter than its content length"},
	} {
		if got := (&Error{Kind: tt.kind, Err: tt.err}).Words(); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// several are the errors of more than one address, as a dial returns them.
type several []error

func (s several) Error() string   { return "several" }
func (s several) Unwrap() []error { return s }
