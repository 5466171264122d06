package front

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// noMoreSYNs is a socket filter that drops what opens a connection, a SYN without ACK, and lets all
// else pass. The flags are the 14th byte of the TCP header, with which a packet begins here.
var noMoreSYNs = []syscall.SockFilter{
	{Code: syscall.BPF_LD | syscall.BPF_B | syscall.BPF_ABS, K: 13},
	{Code: syscall.BPF_ALU | syscall.BPF_AND | syscall.BPF_K, K: 0x12}, // SYN and ACK
	{Code: syscall.BPF_JMP | syscall.BPF_JEQ | syscall.BPF_K, K: 0x02, Jf: 1},
	{Code: syscall.BPF_RET | syscall.BPF_K, K: 0},
	{Code: syscall.BPF_RET | syscall.BPF_K, K: 0xffffffff},
}

// shutDoor lets no connection begin on l any more. Those that have begun can still be accepted.
func shutDoor(l *net.TCPListener) {
	if raw, err := l.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { syscall.AttachLsf(int(fd), noMoreSYNs) })
	}
}

// queued returns how many connections wait to be accepted on l.
func queued(l *net.TCPListener) (n int) {
	raw, err := l.SyscallConn()
	if err != nil {
		return 0
	}
	raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = int(info.Unacked) // of a listening socket, its queue
		}
	})
	return n
}
