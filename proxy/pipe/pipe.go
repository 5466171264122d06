// Package pipe moves bytes from one connection to another through a pipe of the kernel (splice(2)), so that they
// are never copied into the process. Each half of the move is a call of its own, so the caller knows which side
// it waits for, and which one failed.
//
// It must not know HTTP, or any other package of pace.
package pipe

import (
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Size is the largest number of bytes that a Pipe holds. It is the largest that Linux allows every user.
const Size = 1 << 20

// From is the minimum number of bytes for which a Pipe is worth its cost. At 1 MiB, copying costs the same, and
// more such bodies pass in a second, since bytes that were just copied are in the processor's cache.
const From = 1 << 20

// LookAgain is how long to wait for a destination at a time. After splice(2), the kernel sometimes does not
// report that there is room again (once in about 50 GiB of uploads, in tests). Then this much time is lost,
// instead of the connection. It would be unnecessary if the kernel always reported it.
const LookAgain = 100 * time.Millisecond

// Pipe holds bytes on their way between two connections. One goroutine at a time may use it.
type Pipe struct {
	r, w int // file descriptors
	held int
}

// Take returns an empty Pipe, which Release gives back. Where Supported is false it fails.
func Take() (*Pipe, error) {
	if p := pop(); p != nil {
		return p, nil
	}
	return open()
}

// Held returns how many bytes are in it.
func (p *Pipe) Held() int { return p.held }

// Fill waits until src has bytes, and moves up to limit of them into p, which must be empty. It waits as long as
// src's read deadline allows. At the end of src, the error is io.EOF.
func (p *Pipe) Fill(src syscall.RawConn, limit int64) (n int, err error) {
	var failed error
	err = src.Read(func(fd uintptr) bool {
		n, failed = splice(int(fd), p.w, int(min(limit, Size)))
		return failed != syscall.EAGAIN
	})
	switch {
	case err != nil:
		return 0, err
	case failed != nil:
		return 0, failed
	case n == 0:
		return 0, io.EOF
	}
	p.held = n
	return n, nil
}

// Drain waits until dst has room, and moves bytes from p to dst: at least one, or it returns an error. It waits
// as long as dst's write deadline allows.
func (p *Pipe) Drain(dst syscall.RawConn) (done int, err error) {
	for tries := 0; ; tries++ {
		var again bool
		if done, again, err = p.drain(dst); !again {
			moved.Add(int64(done))
			return done, err
		}
		if tries > 8 { // the kernel has too little memory for now
			time.Sleep(time.Millisecond)
		}
	}
}

// drain returns again if splice moved nothing although dst is writable, which happens a few times in a GiB. The
// caller then tries again. To wait for the poller would take forever: it reports changes, and dst does not change.
func (p *Pipe) drain(dst syscall.RawConn) (done int, again bool, err error) {
	var failed error
	err = dst.Write(func(fd uintptr) bool {
		for failed = nil; p.held > 0; {
			var n int
			if n, failed = splice(p.r, int(fd), p.held); failed == nil && n == 0 {
				failed = io.ErrNoProgress
			}
			if failed != nil {
				break
			}
			p.held -= n
			done += n
		}
		if done > 0 || failed != syscall.EAGAIN {
			return true
		}
		again = writable(int(fd))
		return again
	})
	switch {
	case done > 0, again:
		return done, again, nil
	case err != nil:
		return 0, false, err
	}
	return 0, false, failed
}

// Release keeps p for the next Take, since to make a Pipe costs three system calls. If p holds bytes, they are
// lost, and p is closed.
func (p *Pipe) Release() {
	if p.held > 0 || !push(p) {
		p.close()
	}
}

// Moved returns how many bytes all Pipes have moved. Tests use it to see that Pipes were used.
func Moved() int64 { return moved.Load() }

var moved atomic.Int64

// maxIdle is how many Pipes are kept for the next Take. A user without privileges may have 64 of this size.
const maxIdle = 16

var idle struct {
	sync.Mutex
	pipes []*Pipe
}

// pop returns a Pipe that was kept, or nil.
func pop() *Pipe {
	idle.Lock()
	defer idle.Unlock()
	n := len(idle.pipes)
	if n == 0 {
		return nil
	}
	p := idle.pipes[n-1]
	idle.pipes = idle.pipes[:n-1]
	return p
}

// push keeps p, and reports whether there was room.
func push(p *Pipe) bool {
	idle.Lock()
	defer idle.Unlock()
	if len(idle.pipes) == maxIdle {
		return false
	}
	idle.pipes = append(idle.pipes, p)
	return true
}
