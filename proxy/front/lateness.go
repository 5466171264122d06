package front

import (
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	lateness = 5 * time.Millisecond   // of a timer: one that is later shows that the process was stopped or had no processor
	lastLook = 100 * time.Millisecond // what a late timer leaves for bytes that the kernel has had ready all the while
)

// WaitIfLate is called by a timer that was due then: if it is late, it leaves the kernel's bytes a moment.
func WaitIfLate(due time.Time) {
	if time.Since(due) > lateness {
		time.Sleep(lastLook)
	}
}

// grace says whether a deadline that passes leaves a last look at what lies in the socket: a process
// that was stopped finds its deadlines passed, and unread what came in time. The look takes what lies
// there at that moment and no more, so a client that never stops sending gains no time.
type grace struct {
	owed atomic.Int64 // bytes that may still be read after the deadline; unlooked: nobody has looked yet
}

const unlooked = -1

// set follows a deadline. One that is over when it is set is there to wake a reader, and leaves nothing.
func (p *grace) set(deadline time.Time) {
	if deadline.After(time.Now()) {
		p.owed.Store(unlooked)
	} else {
		p.owed.Store(0)
	}
}

// look reads what lies in the socket after err, by a read that takes up to most bytes. It returns err if
// nothing lies there, or if err is no deadline's.
func (p *grace) look(raw syscall.RawConn, err error, most int, read func(c syscall.RawConn, most int) (int, error)) (int, error) {
	owed := p.owed.Load()
	if owed == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, err
	}
	left := owed
	if owed == unlooked {
		if left = int64(unread(raw)); left > 0 {
			most = int(min(left, int64(most)))
		} // else the end may lie there
	} else {
		most = int(min(left, int64(most)))
	}
	n, failed := read(atOnce{raw}, most)
	p.owed.CompareAndSwap(owed, max(left-int64(n), 0))
	if errors.Is(failed, os.ErrDeadlineExceeded) {
		return 0, err
	}
	return n, failed
}

// atOnce is a connection on which nothing waits. A deadline that is over does not matter to it.
type atOnce struct{ syscall.RawConn }

// Read implements [syscall.RawConn].
func (c atOnce) Read(once func(fd uintptr) bool) error { return c.run(once) }

// Write implements [syscall.RawConn].
func (c atOnce) Write(once func(fd uintptr) bool) error { return c.run(once) }

func (c atOnce) run(once func(fd uintptr) bool) error {
	done := false
	if err := c.Control(func(fd uintptr) { done = once(fd) }); err != nil {
		return err
	}
	if !done {
		return os.ErrDeadlineExceeded
	}
	return nil
}
