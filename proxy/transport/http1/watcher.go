package http1

import (
	"context"
	"sync"
	"time"

	"pace/proxy/transport"
)

// patience is the minimum time that an exchange has lasted when its context is listened to.
const patience = 5 * time.Millisecond

// watcher ends an exchange when its context ends, but not in the exchange's first 5 to 10 ms. To listen to each
// context at once would cost five allocations and 0.4 µs for each exchange, and most exchanges are over sooner.
//
// An exchange is listed when it begins. A timer ticks every 5 ms while the list is not empty. An exchange that
// was there at the tick before leaves the list, and its context is listened to (context.AfterFunc).
//
//	add ──▶ listed ── two ticks (promote) ──▶ listened to ── the context ends ──▶ end
//	          └──────── remove ─────────────────┘
//
// This would be unnecessary if context.AfterFunc allocated nothing.
type watcher struct {
	mu          sync.Mutex // guards what follows and, while in the list, the exchange's watched
	first, last *exchange  // not yet listened to, in order of age
	tick        int        // how often the timer has fired
	timer       *time.Timer
	running     bool // timer is running
}

// watched is the part of an exchange that the watcher uses.
type watched struct {
	prev, next *exchange
	listed     bool
	tick       int         // when it was listed
	stop       func() bool // of context.AfterFunc; nil: not listened to
	onEnd      func()      // end; made once, for a method value is an allocation
}

// add lists x. x.ctx must not change until remove.
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

// arm starts the timer if an exchange is listed. w.mu is held.
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

// promote is called at each tick. It listens to the contexts of the exchanges that were there at the tick before.
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

// remove stops x from being ended by its context.
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

// unlink takes x out of the list. w.mu is held.
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

// end ends the exchange because its context has ended. It runs on a goroutine of its own.
func (x *exchange) end() {
	defer x.running.Done()
	defer x.catch()
	x.fail(transport.Canceled, context.Cause(x.ctx))
}
