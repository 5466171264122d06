package http2

import (
	"os"
	"time"

	"pace/proxy/transport"
)

// How time is kept: one timer for each exchange runs while something is due from the backend. That is to take more of
// the request (phase Send), to respond (Wait), or to send more of the body (Receive). While pace waits for the client
// (ReadRequest) nothing is due. To move a runtime timer for each wait costs more than the wait, so the timer is left
// running if it fires no later than needed, also from one exchange to the next. When it fires, it is moved to where it
// is needed, if it is.

// startLocked begins the time that the backend has; 0: no limit. x.Mu is held.
func (x *exchange) startLocked(limit time.Duration) {
	if limit <= 0 || x.Cause != nil || x.over {
		x.until = time.Time{}
		return
	}
	x.seen = x.look()
	now := time.Now()
	x.until = now.Add(limit)
	if x.timer == nil {
		x.fires, x.timer = x.until, time.AfterFunc(limit, x.timeUp)
	} else if !x.fires.After(now) || x.fires.After(x.until) {
		x.fires = x.until
		x.timer.Reset(limit)
	}
}

// enterDueLocked begins a phase in which something is due from the backend. Once the final header has come, the time is that
// of the body. x.Mu is held.
func (x *exchange) enterDueLocked(p transport.Phase) {
	x.EnterLocked(p)
	if !x.Final {
		x.startLocked(x.responseTimeout())
	}
}

// enterIdleLocked begins one in which nothing is. x.Mu is held.
func (x *exchange) enterIdleLocked(p transport.Phase) {
	x.EnterLocked(p)
	if !x.Final {
		x.stopLocked()
	}
}

// stopLocked ends the time. x.Mu is held.
func (x *exchange) stopLocked() { x.until = time.Time{} }

// timeUp runs when the timer fires.
func (x *exchange) timeUp() {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	if x.until.IsZero() || x.Cause != nil || x.over {
		return
	}
	if early := time.Until(x.until); early > 0 {
		x.fires = x.until
		x.timer.Reset(early)
		return
	}
	switch {
	case x.Final:
		x.failLocked(transport.Stalled, transport.ErrStalled)
	case x.movesOn(): // it takes the request slowly
		x.startLocked(x.responseTimeout())
		return
	case x.Phase != transport.Send || !x.upload.begun:
		x.failLocked(transport.ResponseTimeout, os.ErrDeadlineExceeded)
	default:
		x.failLocked(transport.Stalled, errTakesNoMore)
	}
	x.suspectLocked()
}

// seen is how far the sending had come when the time began.
type seen struct {
	sent  int64 // bytes of the request
	taken int64 // bytes that the kernel had taken on the connection
}

// look returns how far the sending has come. x.Mu is held.
func (x *exchange) look() seen {
	if x.c == nil {
		return seen{}
	}
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	return seen{x.sent, x.c.out.taken}
}

// movesOn reports whether the backend has taken something since the time began: of the request or, if that had bytes in line
// or waits for room there and not for a window, of what is before it on the connection. x.Mu is held.
func (x *exchange) movesOn() bool {
	c := x.c
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	inLine := x.seen.taken < x.to || !x.upload.sent && x.window > 0 && c.window > 0
	return x.sent > x.seen.sent || inLine && c.out.taken > x.seen.taken
}

var errTakesNoMore = transport.NewFault("the backend took no more of the request in time")

// suspectLocked lets no further exchange use the connection if nothing at all has come on it since this one began. The
// others on it may still end. x.Mu is held.
func (x *exchange) suspectLocked() {
	c := x.c
	if c == nil {
		return
	}
	c.mu.Lock()
	silent := c.frames == x.heard
	c.mu.Unlock()
	if silent {
		go c.pool.retire(c) // not here: the order of the locks
	}
}
