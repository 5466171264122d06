//go:build unix

package http1

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// stirs reports whether a connection has room for more bytes, or some to give, or has ended.
func stirs(c syscall.RawConn) (yes bool) {
	c.Control(func(fd uintptr) {
		looked := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLOUT}}
		n, err := unix.Poll(looked, 0)
		yes = err == nil && n > 0
	})
	return yes
}
