// Package port reserves ports for tests. It knows nothing of pace.
package port

import (
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"
)

// Reserve binds a socket to a port of loopback, on which it does not listen, until t ends. The kernel
// gives the port to no other process meanwhile, but a process that asks for it by number may listen there.
// Without the reservation, another process sometimes takes a port between the search and the use.
func Reserve(t testing.TB) (fd int, address string) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(os.NewSyscallError("socket", err))
	}
	t.Cleanup(func() { syscall.Close(fd) })
	// If both sockets have this option, a socket that does not listen blocks no listener (socket(7)).
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		t.Fatal(os.NewSyscallError("setsockopt", err))
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(os.NewSyscallError("bind", err))
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(os.NewSyscallError("getsockname", err))
	}
	return fd, net.JoinHostPort("127.0.0.1", strconv.Itoa(at.(*syscall.SockaddrInet4).Port))
}

// Of returns the port of a host:port, 0 if it has none.
func Of(address string) int {
	_, digits, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(digits)
	return n
}
