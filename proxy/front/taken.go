package front

import "time"

// Taken returns how many bytes of the body of a response over HTTP/2 the kernel took. net/http does not know: it reports
// that a write failed as soon as the client has reset the stream, also if the bytes are going out at that moment. So
// Taken waits for a write in progress, but no longer than takenPatience, because the client may read nothing more; what
// that write carries is then not counted.
//
// Of the bytes that net/http has reported as written, some may wait in its buffer or in held. They go out, unless the
// connection is over.
func (c *Conn) Taken(stream uint32, reported int64) int64 {
	if c.writing.LockWithin(takenPatience) {
		c.writing.Unlock()
	}
	taken := c.h2.Taken(stream)
	if c.lost.Load() || c.GivenUp() {
		return taken
	}
	return max(taken, reported)
}

// takenPatience is many times what a write takes whose bytes the client reads.
const takenPatience = time.Second

// turn is a lock. Other than of a [sync.Mutex], one may give up waiting for it.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

// Lock waits for the turn.
func (t turn) Lock() { t <- struct{}{} }

// Unlock passes the turn on.
func (t turn) Unlock() { <-t }

// TryLock takes the turn if nobody has it, and reports whether it did.
func (t turn) TryLock() bool {
	select {
	case t <- struct{}{}:
		return true
	default:
		return false
	}
}

// LockWithin waits for the turn no longer than limit, and reports whether it has it.
func (t turn) LockWithin(limit time.Duration) bool {
	if t.TryLock() {
		return true
	}
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case t <- struct{}{}:
		return true
	case <-late.C:
		return false
	}
}
