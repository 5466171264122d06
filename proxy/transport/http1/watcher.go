package http1

import (
	"context"
	"sync"
	"time"

	"pace/proxy/transport"
)

// patience is how long an exchange may last, at least, before its context is listened to.
const patience = 5 * time.Millisecond

// watcher makes the end of a context end its exchange, 5 to 10 ms after its start at the earliest.
// Listening to each context at once costs five allocations and 0.4 µs, for exchanges of which
// most are over sooner.
type watcher struct {
	mu          sync.Mutex // guards what follows and, while in the list, the exchange's watched
	first, last *exchange  // not yet listened to, in order of age
	tick        int        // patiences passed while the list was not empty
	timer       *time.Timer
	running     bool // timer is
}

// watched is an exchange's part in it.
type watched struct {
	prev, next *exchange
	listed     bool
	tick       int         // when it was listed
	stop       func() bool // of context.AfterFunc; nil: not listened to
	onEnd      func()      // made once, kept
}

// add lists x. Its context must not change until remove.
func (w *watcher) add(x *exchange) {
	w.mu.Lock()
	defer w.mu.Unlock()
	x.watched.prev, x.watched.next, x.watched.tick, x.watched.listed = w.last, nil, w.tick, true
	if w.last != nil {
		w.last.watched.next = x
	} else {
		w.first = x
	}
	w.last = x
	w.arm()
}

// arm runs the timer if there is anything to wait for. w.mu is held.
func (w *watcher) arm() {
	if w.running || w.first == nil {
		return
	}
	w.running = true
	if w.timer == nil {
		w.timer = time.AfterFunc(patience, w.promote)
	} else {
		w.timer.Reset(patience)
	}
}

// promote listens to the contexts of those that were there at the last tick already.
func (w *watcher) promote() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.first != nil && w.first.watched.tick < w.tick {
		x := w.first
		w.unlink(x)
		x.running.Add(1)
		x.watched.stop = context.AfterFunc(x.ctx, x.watched.onEnd)
	}
	w.tick++
	w.running = false
	w.arm()
}

// remove makes the end of x's context, from now on, not end x.
func (w *watcher) remove(x *exchange) {
	w.mu.Lock()
	if x.watched.listed {
		w.unlink(x)
	}
	stop := x.watched.stop
	x.watched.stop = nil
	w.mu.Unlock()
	if stop != nil && stop() {
		x.running.Done()
	}
}

func (w *watcher) unlink(x *exchange) {
	prev, next := x.watched.prev, x.watched.next
	if prev != nil {
		prev.watched.next = next
	} else {
		w.first = next
	}
	if next != nil {
		next.watched.prev = prev
	} else {
		w.last = prev
	}
	x.watched.prev, x.watched.next, x.watched.listed = nil, nil, false
}

// end is what the end of a context does.
func (x *exchange) end() {
	defer x.running.Done()
	defer x.catch()
	x.fail(transport.Canceled, context.Cause(x.ctx))
}
