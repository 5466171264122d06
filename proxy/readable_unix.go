//go:build unix

package proxy

import (
	"net"
	"syscall"
)

// awaitReadable waits until c has bytes, its end or an error to give, so that no buffer need be
// held for a silent connection.
func awaitReadable(c net.Conn) {
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return // Read will say it
	}
	var b [1]byte
	raw.Read(func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return err != syscall.EAGAIN && err != syscall.EINTR
	})
}
