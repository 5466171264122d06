//go:build unix

package http1

import (
	"io"
	"os"
	"syscall"
)

// canPoll says that a connection's file descriptor can be used directly, in turns with the runtime's poller:
// RawConn.Read calls a function at once, and again each time the connection becomes readable, until it
// returns true.
const canPoll = true

// writeThenRead writes the request when it is called first, and reads when it is called again: see
// writeThenWait. The first call returns false if it wrote all, and the poller then waits for the response. It
// returns true if it could not, because the connection has ended or did not take the whole request.
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

// readOnce reads what is there. If nothing is, it gives the buffer back and returns false.
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

// look notes in c.dead whether anything but silence waits on the socket: its end, an error, or
// bytes that nobody asked for, which would be taken for the next response.
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
