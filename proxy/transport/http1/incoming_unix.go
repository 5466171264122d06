//go:build unix

package http1

import (
	"io"
	"os"
	"syscall"
)

const canReadOnce = true

// readOnce reads what is there, or gives the buffer back and returns false if nothing is.
func (x *exchange) readOnce(fd uintptr) bool {
	if x.out.atOnce {
		return x.writeOnce(fd)
	}
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

// writeOnce writes the request and returns false, for no answer can be there yet: asking for it
// would be a system call in vain. The poller wakes us for all that comes after it called us first,
// and what had come before, such as the connection's end, looking has found. It returns true if the
// request could not be written like that.
func (x *exchange) writeOnce(fd uintptr) bool {
	o, c := &x.out, x.conn()
	x.out.looked = true
	if c.look(fd); c.dead {
		return true
	}
	o.begun.Store(true)
	n, _ := syscall.Write(int(fd), o.buf[o.from:o.to])
	if n > 0 {
		o.from += n
		x.took(n)
	}
	if o.from < o.to {
		return true
	}
	o.atOnce = false
	o.drop()
	x.sentAll(true)
	return false
}
