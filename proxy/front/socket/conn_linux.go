package socket

import (
	"cmp"
	"io"
	"syscall"

	"golang.org/x/sys/unix"
)

// Unread returns how many bytes the kernel has received that nobody has read yet.
func Unread(c syscall.RawConn) int {
	return ask(c, unix.SIOCINQ)
}

// Unacked returns how many bytes that were sent on c the other side has not acknowledged yet.
func Unacked(c syscall.Conn) int {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	return ask(raw, unix.SIOCOUTQ)
}

// ask returns the number with which the kernel responds to a request about c, 0 if it does not.
func ask(c syscall.RawConn, request uint) (n int) {
	c.Control(func(fd uintptr) {
		number, _ := unix.IoctlGetUint32(int(fd), request)
		n = int(number)
	})
	return n
}

// ReadFrom reads from c into b.
func ReadFrom(c syscall.RawConn, b []byte) (int, error) {
	n, err := whenReady(c.Read, syscall.Read, b)
	if err == nil && n == 0 {
		err = io.EOF
	}
	return n, err
}

// WriteTo writes b to c, or the first part of it.
func WriteTo(c syscall.RawConn, b []byte) (int, error) { return whenReady(c.Write, syscall.Write, b) }

// whenReady makes a system call on b as soon as await says that the connection is ready for it.
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
