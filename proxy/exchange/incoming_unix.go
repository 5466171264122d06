//go:build unix

package exchange

import (
	"io"
	"os"
	"syscall"
)

const canReadOnce = true

// readOnce reads what is there, or gives the buffer back and returns false if nothing is.
func (x *exchange) readOnce(fd uintptr) bool {
	for {
		n, err := syscall.Read(int(fd), x.in.room())
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			x.in.drop()
			return false
		case err != nil:
			x.got.err = x.conn().readError(os.NewSyscallError("read", err))
		case n == 0:
			x.got.err = io.EOF
		default:
			x.got.n = n
		}
		return true
	}
}
