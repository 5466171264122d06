//go:build unix

package dial

import (
	"io"
	"os"
	"syscall"
)

// CanLook says that a connection can be read without waiting for it.
const CanLook = true

// once is one system call on the descriptor of a connection.
type once struct {
	call func(fd uintptr) // made once, for a method value is an allocation
	b    []byte
	n    int
	err  error
}

func (o *once) init() { o.call = o.read }

func (o *once) read(fd uintptr) {
	for {
		if o.n, o.err = syscall.Read(int(fd), o.b); o.err != syscall.EINTR {
			return
		}
	}
}

// readNow reads what is there.
func (w *wire) readNow(b []byte) (int, error) {
	o := &w.once
	o.b = b
	err := w.raw.Control(o.call)
	o.b = nil
	switch {
	case err != nil:
		return 0, err
	case o.err == syscall.EAGAIN:
		return 0, os.ErrDeadlineExceeded
	case o.err != nil:
		return 0, os.NewSyscallError("read", o.err)
	case o.n == 0:
		return 0, io.EOF
	}
	return o.n, nil
}

// writeNow writes as much as there is room for.
func (w *wire) writeNow(b []byte) (n int, err error) {
	failed := w.raw.Control(func(fd uintptr) { n, err = syscall.Write(int(fd), b) })
	switch {
	case failed != nil:
		return 0, failed
	case err == nil && n < len(b):
		err = io.ErrShortWrite
	}
	return max(n, 0), err
}
