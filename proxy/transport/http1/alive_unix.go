//go:build unix

package http1

import "syscall"

const canPeek = true

// look notes in c.dead whether anything but silence waits on the socket: its end, an error, or
// bytes that nobody asked for, which would be taken for the next answer.
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
