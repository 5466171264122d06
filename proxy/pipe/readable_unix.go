//go:build unix

package pipe

import (
	"errors"
	"net"
	"syscall"
)

// AwaitReadable waits until c has bytes or its end to give, so that no buffer need be held for a
// silent connection. It returns the error of a connection that is lost: the kernel tells it once,
// and a Read after it would see an orderly end.
func AwaitReadable(c net.Conn) error {
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	var b [1]byte
	var lost error
	err = raw.Read(func(fd uintptr) bool {
		_, _, lost = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return lost != syscall.EAGAIN && lost != syscall.EINTR
	})
	return errors.Join(err, lost)
}
