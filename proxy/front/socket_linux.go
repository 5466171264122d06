package front

import (
	"io"
	"syscall"

	"golang.org/x/sys/unix"
)

// unread returns how many bytes lie in the socket.
func unread(c syscall.RawConn) (n int) {
	c.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCINQ) })
	return n
}

// readFrom reads from c into b.
func readFrom(c syscall.RawConn, b []byte) (n int, err error) {
	var failed error
	err = c.Read(func(fd uintptr) bool {
		n, failed = syscall.Read(int(fd), b)
		return failed != syscall.EAGAIN && failed != syscall.EINTR
	})
	switch {
	case err != nil:
		return 0, err
	case failed != nil:
		return 0, failed
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// writeTo writes something of b to c.
func writeTo(c syscall.RawConn, b []byte) (n int, err error) {
	var failed error
	err = c.Write(func(fd uintptr) bool {
		n, failed = syscall.Write(int(fd), b)
		return failed != syscall.EAGAIN && failed != syscall.EINTR
	})
	switch {
	case err != nil:
		return 0, err
	case failed != nil:
		return 0, failed
	}
	return n, nil
}
