package socket

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// noSYN is a socket filter that drops the packets that open a connection, those with SYN and without ACK, and
// passes all others. The flags are the 14th byte of the TCP header, with which a packet begins here.
var noSYN = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 13},
	{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: 0x12}, // SYN and ACK
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 0x02, Jf: 1},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0xffffffff},
}

// IgnoreNew makes the kernel ignore clients that would begin a connection on l. Those that have begun one can
// still be accepted.
func IgnoreNew(l *net.TCPListener) {
	if raw, err := l.SyscallConn(); err == nil {
		program := &unix.SockFprog{Len: uint16(len(noSYN)), Filter: &noSYN[0]}
		raw.Control(func(fd uintptr) {
			unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, program)
		})
	}
}

// Queued reports whether connections wait to be accepted on l.
func Queued(l syscall.Conn) (waiting bool) {
	raw, err := l.SyscallConn()
	if err != nil {
		return false
	}
	raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		waiting = n > 0 && err == nil
	})
	return waiting
}

// SetMode gives a socket the mode that its file will have, less what the process's umask takes away.
func SetMode(fd uintptr, mode uint32) { unix.Fchmod(int(fd), mode) }
