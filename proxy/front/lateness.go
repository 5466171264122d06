package front

import (
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"pace/proxy/front/socket"
)

const (
	lateness = 5 * time.Millisecond   // of a timer. A timer that is later shows that the process was stopped or had no processor.
	lastLook = 100 * time.Millisecond // how long a late timer waits for bytes that the kernel has had ready all the while
)

// WaitIfLate waits a moment if it is called by a timer that is late, so that bytes which the kernel has can be
// read first.
func WaitIfLate(due time.Time) {
	if time.Since(due) > lateness {
		time.Sleep(lastLook)
	}
}

// grace lets a reader look at the socket once more after a deadline. A process that was stopped finds its
// deadlines passed, although bytes that came in time are still unread. The look takes the bytes that are there at
// that moment and no more, so a client that never stops sending gains no time.
type grace struct {
	owed atomic.Int64 // bytes that may still be read after the deadline; unlooked: nobody has looked yet
}

const unlooked = -1

// set follows a deadline. A deadline that is over when it is set is there to wake a reader, and allows no look.
func (p *grace) set(deadline time.Time) {
	if deadline.After(time.Now()) {
		p.owed.Store(unlooked)
	} else {
		p.owed.Store(0)
	}
}

// look reads what is in the socket after err, with a read of up to limit bytes. It returns err if nothing is
// there, or if err is not that of a deadline.
func (p *grace) look(raw syscall.RawConn, err error, limit int, read func(c syscall.RawConn, limit int) (int, error)) (int, error) {
	owed := p.owed.Load()
	if owed == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, err
	}
	left := owed
	if owed == unlooked {
		if left = int64(socket.Unread(raw)); left > 0 {
			limit = int(min(left, int64(limit)))
		} // else the end of the connection may be there
	} else {
		limit = int(min(left, int64(limit)))
	}
	n, failed := read(atOnce{raw}, limit)
	p.owed.CompareAndSwap(owed, max(left-int64(n), 0))
	if errors.Is(failed, os.ErrDeadlineExceeded) {
		return 0, err
	}
	return n, failed
}

// atOnce is a connection on which nothing waits, and that ignores deadlines.
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
