//go:build unix

package http1

import (
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// canPoll says that a connection's file descriptor can be used directly, in turns with the runtime's poller:
// RawConn.Read calls a function at once, and again each time the connection becomes readable, until it
// returns true.
const canPoll = true

// writeThenRead writes the request when it is called first, and reads when it is called again: see
// writeThenWait. The first call returns false if it wrote the whole request; the poller then waits for the
// response. It returns true if the connection has ended or did not take the whole request.
func (x *exchange) writeThenRead(fd uintptr) bool {
	o, c := &x.out, x.c
	if o.now() == sent {
		return x.readOnce(fd)
	}
	if c.look(fd); c.dead {
		return true
	}
	o.beginWrite()
	n, _ := syscall.Write(int(fd), o.buf[o.from:o.to])
	if n > 0 {
		o.from += n
		x.took(n)
	}
	if o.from < o.to {
		return true
	}
	o.drop()
	x.sendingOver(true)
	return false
}

// readOnce reads what is there. If nothing is there, it gives the buffer back and returns false.
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
			x.polled.err = x.conn().readError(os.NewSyscallError("read", err))
		case n == 0:
			x.polled.err = io.EOF
		default:
			x.polled.n = n
		}
		return true
	}
}

// look sets c.dead if the connection is not silent: it has ended, it has an error, or it has bytes that nobody
// asked for and that the next exchange would take for its response.
func (c *conn) look(fd uintptr) {
	var b [1]byte
	for {
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		if err != syscall.EINTR {
			c.dead = err != syscall.EAGAIN && err != syscall.EWOULDBLOCK
			return
		}
	}
}

// stirs reports whether a connection has room for more bytes, has bytes to read, or has ended.
func stirs(c syscall.RawConn) (yes bool) {
	c.Control(func(fd uintptr) {
		looked := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLOUT}}
		n, err := unix.Poll(looked, 0)
		yes = err == nil && n > 0
	})
	return yes
}
