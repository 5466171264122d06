package pacetest

import (
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Blackhole is an address that answers no SYN: a listening socket whose queue is full.
type Blackhole struct{ addr string }

// NewBlackhole makes one that lasts as long as t.
func NewBlackhole(t testing.TB) *Blackhole {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(os.NewSyscallError("socket", err))
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(os.NewSyscallError("bind", err))
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(os.NewSyscallError("listen", err))
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(os.NewSyscallError("getsockname", err))
	}
	h := &Blackhole{net.JoinHostPort("127.0.0.1", strconv.Itoa(sa.(*syscall.SockaddrInet4).Port))}
	for { // until a dial gets no answer
		c, err := net.DialTimeout("tcp", h.addr, 200*time.Millisecond)
		if err != nil {
			return h
		}
		t.Cleanup(func() { c.Close() })
	}
}

// Address returns its host:port.
func (h *Blackhole) Address() string { return h.addr }

// Closed is an address that refuses connections.
type Closed struct{ addr string }

// NewClosed finds one.
func NewClosed(t testing.TB) *Closed {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return &Closed{listener.Addr().String()}
}

// Address returns its host:port.
func (c *Closed) Address() string { return c.addr }
