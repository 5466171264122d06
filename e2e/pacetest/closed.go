package pacetest

import (
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"
)

// Closed is an address that refuses connections. Its port stays taken as long as the test
// lasts: nobody is given it by the kernel, but whoever asks for it by number may listen there.
type Closed struct{ addr string }

// NewClosed finds one.
func NewClosed(t testing.TB) *Closed {
	t.Helper()
	_, addr := bind(t)
	return &Closed{addr}
}

// Address returns its host:port.
func (c *Closed) Address() string { return c.addr }

// Port returns its port.
func (c *Closed) Port() int {
	_, port, _ := net.SplitHostPort(c.addr)
	n, _ := strconv.Atoi(port)
	return n
}

// bind gives a socket a port of its own, on which it does not listen yet, until t ends.
func bind(t testing.TB) (fd int, addr string) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(os.NewSyscallError("socket", err))
	}
	t.Cleanup(func() { syscall.Close(fd) })
	// With this on both sides, a socket that does not listen is in nobody's way (socket(7)).
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		t.Fatal(os.NewSyscallError("setsockopt", err))
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(os.NewSyscallError("bind", err))
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(os.NewSyscallError("getsockname", err))
	}
	return fd, net.JoinHostPort("127.0.0.1", strconv.Itoa(sa.(*syscall.SockaddrInet4).Port))
}
