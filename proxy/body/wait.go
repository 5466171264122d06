package body

import (
	"net/http"
	"time"

	"pace/proxy/front"
)

// Expects reports whether the client would like a 100 before it sends.
func (b *Body) Expects() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.expected != notExpected
}

// await prepares the next Read. Before the first one it sends 100 to a client that waits for it: net/http
// would send it from within the Read, where it takes no turns with the handler's interim responses, and the
// two would be written into one another.
func (b *Body) await() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.expected == awaited {
		b.expected = settled
		b.w.WriteHeader(http.StatusContinue)
	}
	switch {
	case b.timeout == 0 || !b.until.IsZero():
	case b.http1:
		b.control.SetReadDeadline(time.Now().Add(b.timeout))
	default:
		b.due = time.Now().Add(b.timeout)
		if b.timer == nil {
			b.timer = time.AfterFunc(b.timeout, b.expire)
		} else {
			b.timer.Reset(b.timeout)
		}
	}
}

// expire ends a Read of HTTP/2 that has taken too long. net/http's own deadline for a stream would go on
// while the backend takes its time, and pass in a process that was stopped before what lies in the
// socket is read.
func (b *Body) expire() {
	defer b.client.Survive()
	b.mu.Lock()
	due := b.due
	b.mu.Unlock()
	if !due.IsZero() {
		front.WaitIfLate(due)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.due.IsZero() && !time.Now().Before(b.due) && b.until.IsZero() {
		b.control.SetReadDeadline(front.LongAgo)
	}
}

// Rest notes that no Read is waiting for the client.
func (b *Body) Rest() {
	if b.http1 || b.timeout == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.due = time.Time{}
	if b.timer != nil {
		b.timer.Stop()
	}
}

// Interim has write send an interim response, unless it is a second 100: one that pace has sent already, or
// that net/http sends over HTTP/2 as soon as the body is read.
func (b *Body) Interim(status int, write func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if status == http.StatusContinue {
		if b.expected == settled {
			return
		}
		b.settle()
	}
	write()
}

// Responding notes that the handler begins the response. The goroutine that reads the body sends no 100 from
// here on; net/http may, which takes turns with a response.
func (b *Body) Responding() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settle()
}

func (b *Body) settle() {
	if b.expected == awaited {
		b.expected = settled
	}
}
