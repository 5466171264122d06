// Package pipe moves bytes from one connection to another without their ever being in the process:
// they wait in a pipe of the kernel (splice(2)). Each half of the move is a call of its own, so
// whoever moves them knows which side it waits for, and which one failed.
package pipe

import (
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Size is the most bytes that a Pipe holds; it is what the kernel lets anybody have.
const Size = 1 << 20

// From is the rest of a body from which on a Pipe is worth it. Of 1 MiB, copying costs the same, and
// more such bodies a second get through: what has just been copied is read faster.
const From = 1 << 20

// LookAgain is how long to wait for a destination at a time. After splice(2), the kernel now and then
// does not tell that there is room again (once in some 50 GiB of uploads, in tests); then this much
// time is lost, and not the connection.
const LookAgain = 100 * time.Millisecond

// Pipe is where bytes stay between two connections. One goroutine uses it at a time.
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

// Fill moves up to most bytes from src into p, which must be empty, once there is one. It waits as
// long as src's read deadline allows. The end of src is io.EOF.
func (p *Pipe) Fill(src syscall.RawConn, most int64) (n int, err error) {
	var failed error
	err = src.Read(func(fd uintptr) bool {
		n, failed = splice(int(fd), p.w, int(min(most, Size)))
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

// Drain moves something of what p holds to dst, once dst takes it: at least one byte, or an error.
// It waits as long as dst's write deadline allows.
func (p *Pipe) Drain(dst syscall.RawConn) (done int, err error) {
	for tries := 0; ; tries++ {
		var again bool
		if done, again, err = p.drain(dst); !again {
			moved.Add(int64(done))
			return done, err
		}
		if tries > 8 { // the kernel is short of memory
			time.Sleep(time.Millisecond)
		}
	}
}

// drain asks to be called again if splice took nothing though dst is writable. That happens, a few
// times in a GiB, and the poller must not be waited for then: it tells of a change, and there is none
// to come.
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

// Release keeps p for the next Take, for making one costs three system calls. A Pipe that still
// holds bytes is closed, and they are lost.
func (p *Pipe) Release() {
	if p.held > 0 || !push(p) {
		p.close()
	}
}

// Moved returns how many bytes all Pipes have moved: a test's proof that they did.
func Moved() int64 { return moved.Load() }

var moved atomic.Int64

const mostIdle = 16 // a user without privileges has a share of 64

var idle struct {
	sync.Mutex
	pipes []*Pipe
}

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

func push(p *Pipe) bool {
	idle.Lock()
	defer idle.Unlock()
	if len(idle.pipes) == mostIdle {
		return false
	}
	idle.pipes = append(idle.pipes, p)
	return true
}
