//go:build unix

package pipe

import (
	"errors"
	"net"
	"syscall"
)

// AwaitReadable waits until c has bytes or has ended, so that a silent connection needs no buffer. It returns
// the error of a connection that is lost. The kernel reports that error once; a Read after it sees an orderly
// end, so the caller must not drop the error.
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
