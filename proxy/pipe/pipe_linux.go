package pipe

import (
	"syscall"
	"unsafe"
)

// Supported says whether this system has such pipes.
const Supported = true

func open() (*Pipe, error) {
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK); err != nil {
		return nil, err
	}
	p := &Pipe{r: fds[0], w: fds[1]}
	const setPipeSize = 1031 // F_SETPIPE_SZ
	if _, _, e := syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(p.w), setPipeSize, Size); e != 0 {
		// The user's share of pipes is used up (pipe-user-pages-soft). What is left holds 8 KiB: copying is cheaper.
		p.close()
		return nil, e
	}
	return p, nil
}

func (p *Pipe) close() {
	syscall.Close(p.r)
	syscall.Close(p.w)
}

const nonblock = 2 // SPLICE_F_NONBLOCK

// splice never waits, but moves for some 0.2 ms: long enough for Go to believe that its thread is
// blocked, and to wake another one in its place. A raw call spares both; the collector's stops may
// come that much later.
func splice(from, to, n int) (int, error) {
	for {
		done, _, e := syscall.RawSyscall6(syscall.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n), nonblock)
		switch e {
		case 0:
			return int(done), nil
		case syscall.EINTR:
		default:
			return 0, e
		}
	}
}

// writable asks poll(2), without waiting.
func writable(fd int) bool {
	const pollOut = 4
	p := struct {
		fd              int32
		events, revents int16
	}{fd: int32(fd), events: pollOut}
	syscall.Syscall(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&syscall.Timespec{})))
	return p.revents&pollOut != 0
}
