package pipe

import (
	"syscall"
	"unsafe"
)

// Supported says whether this system can move bytes between connections: Linux can.
const Supported = true

func open() (*Pipe, error) {
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK); err != nil {
		return nil, err
	}
	p := &Pipe{r: fds[0], w: fds[1]}
	const setPipeSize = 1031 // F_SETPIPE_SZ
	if _, _, e := syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(p.w), setPipeSize, Size); e != 0 {
		// The user has used up its share of memory for pipes (pipe-user-pages-soft). The kernel then gives
		// a pipe of 8 KiB, and copying is cheaper than that.
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

// splice calls splice(2), which never waits here, but may be busy for about 0.2 ms. An ordinary system call of
// that length makes Go's scheduler believe that the thread is blocked, and start another thread in its place.
// A raw call avoids that. Its price: the garbage collector's stops may begin that much later. It would be
// unnecessary if the scheduler could be told that a system call does not block.
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

// writable asks poll(2), without waiting, whether fd has room.
func writable(fd int) bool {
	const pollOut = 4
	p := struct {
		fd              int32
		events, revents int16
	}{fd: int32(fd), events: pollOut}
	syscall.Syscall(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&syscall.Timespec{})))
	return p.revents&pollOut != 0
}
