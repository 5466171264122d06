package front

import (
	"cmp"
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
func readFrom(c syscall.RawConn, b []byte) (int, error) {
	n, err := whenReady(c.Read, syscall.Read, b)
	if err == nil && n == 0 {
		err = io.EOF
	}
	return n, err
}

// writeTo writes something of b to c.
func writeTo(c syscall.RawConn, b []byte) (int, error) { return whenReady(c.Write, syscall.Write, b) }

// whenReady makes a system call on b as soon as the connection is ready for it, which await tells.
func whenReady(await func(func(fd uintptr) bool) error, call func(fd int, b []byte) (int, error), b []byte) (n int, err error) {
	var failed error
	err = await(func(fd uintptr) bool {
		n, failed = call(int(fd), b)
		return failed != syscall.EAGAIN && failed != syscall.EINTR
	})
	if err = cmp.Or(err, failed); err != nil {
		return 0, err
	}
	return n, nil
}
