package front

import (
	"net"

	"golang.org/x/sys/unix"
)

// noMoreSYNs is a socket filter that drops what opens a connection, a SYN without ACK, and lets all
// else pass. The flags are the 14th byte of the TCP header, with which a packet begins here.
var noMoreSYNs = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 13},
	{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: 0x12}, // SYN and ACK
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 0x02, Jf: 1},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0xffffffff},
}

// shutDoor lets no connection begin on l any more. Those that have begun can still be accepted.
func shutDoor(l *net.TCPListener) {
	if raw, err := l.SyscallConn(); err == nil {
		program := &unix.SockFprog{Len: uint16(len(noMoreSYNs)), Filter: &noMoreSYNs[0]}
		raw.Control(func(fd uintptr) {
			unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, program)
		})
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
