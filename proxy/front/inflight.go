package front

import (
	"iter"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"pace/telemetry"
)

// InFlight is the registry of the living exchanges: those that have begun and not ended. There is no other
// list of them. Whoever has to look at all exchanges looks here: [Server.watchDelivery], [Server.watchSlow],
// /api/v1/inflight, and [Server.Drain], which counts and aborts them. It is divided into parts so that
// requests on different cores rarely meet. The zero value is ready. Safe for concurrent use.
type InFlight struct {
	parts    [8]part
	next     atomic.Uint32 // hands out the parts
	draining atomic.Bool
	aborted  atomic.Bool // Drain has lost patience
}

// part is a list of exchanges. Its lock is held for a few instructions, never during a system call.
type part struct {
	mu    sync.Mutex // guards what follows, and prev and next of the list's exchanges
	head  *Exchange
	count int
	_     [40]byte // a cache line of its own
}

// Exchange is a living exchange, as this package sees it. The handler keeps it in its own value for the
// request, so that listing it allocates nothing, and begins it again for the next request.
//
//	Begin ─▶ listed ─ Show ─▶ visited by whoever looks ─ Hide ─▶ listed ─ End ─▶ not listed
//
// The handler's goroutine calls these methods, in this order. Show and Hide may be left out. A visitor runs on
// a goroutine of its own while the handler works on, and goes on writing the record. So it may read what the
// record says of the request, which does not change after Show, and call [telemetry.Record.Present].
type Exchange struct {
	in         *InFlight
	part       *part // of in, always the same: so whoever looks at all parts meets an exchange once
	prev, next *Exchange

	stalled atomic.Bool

	// mu is held by whoever visits the exchange, also during system calls: Hide waits for it, and only for
	// it. It guards what follows.
	mu     sync.Mutex
	conn   *Conn
	w      http.ResponseWriter
	record *telemetry.Record // nil: hidden
	body   Body
	stream net.Conn // taken over from net/http, which does not close it; nil: it is no stream
	seen   progress // only watchDelivery uses it
	slow   bool     // only watchSlow uses it: the exchange has been reported
}

// Body is the body of a request, as far as it shows whether its client still sends.
type Body interface {
	Received() int64 // how many bytes of it have been read; called on another goroutine than the handler's
}

// Begin lists x. w must be net/http's own.
func (f *InFlight) Begin(x *Exchange, c *Conn, w http.ResponseWriter) {
	if x.in != f {
		x.in, x.part = f, &f.parts[f.next.Add(1)%uint32(len(f.parts))]
	}
	x.conn, x.w = c, w
	p := x.part
	p.mu.Lock()
	if x.next = p.head; x.next != nil {
		x.next.prev = x
	}
	p.head = x
	p.count++
	p.mu.Unlock()
}

// Show lets the exchange be visited. What the request says of itself must not be changed any more in its
// record.
func (x *Exchange) Show(r *telemetry.Record, body Body) {
	x.mu.Lock()
	x.record, x.body = r, body
	x.mu.Unlock()
}

// Hide ends that, and waits for a visitor. Nobody looks at the record, the writer or the body from here on.
func (x *Exchange) Hide() {
	x.mu.Lock()
	x.record, x.body, x.stream, x.seen, x.slow = nil, nil, nil, progress{}, false
	x.mu.Unlock()
}

// End takes x off the list. The exchange must be hidden.
func (x *Exchange) End() {
	p := x.part
	p.mu.Lock()
	if x.prev != nil {
		x.prev.next = x.next
	} else {
		p.head = x.next
	}
	if x.next != nil {
		x.next.prev = x.prev
	}
	x.prev, x.next = nil, nil
	p.count--
	p.mu.Unlock()
	x.conn, x.w = nil, nil
	x.stalled.Store(false)
}

// Stalled reports whether the client took nothing of its response for too long, and is cut off from it.
func (x *Exchange) Stalled() bool { return x.stalled.Load() }

// Interrupt makes a write to the client that waits fail, and all that follow. It may be called on another
// goroutine than the handler's; it does nothing if x is hidden.
func (x *Exchange) Interrupt() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.record != nil {
		http.NewResponseController(x.w).SetWriteDeadline(LongAgo)
		x.conn.taking.hurry()
	}
}

// BecomeStream notes that the exchange goes on on c, which net/http would not close.
func (x *Exchange) BecomeStream(c net.Conn) {
	x.mu.Lock()
	x.stream = c
	x.mu.Unlock()
}

// Count returns how many exchanges are listed.
func (f *InFlight) Count() (n int64) {
	for i := range f.parts {
		p := &f.parts[i]
		p.mu.Lock()
		n += int64(p.count)
		p.mu.Unlock()
	}
	return n
}

// Draining reports whether Drain has begun. What begins from now on is rejected unless it is welcome: see [Conn.Welcome].
func (f *InFlight) Draining() bool { return f.draining.Load() }

// Aborted reports whether Drain has ended what was in flight, streams included.
func (f *InFlight) Aborted() bool { return f.aborted.Load() }

// Records visits the record of every exchange that is shown. An exchange cannot end while it is visited, so
// a visitor must be quick, and must not keep the record.
func (f *InFlight) Records() iter.Seq[*telemetry.Record] {
	return func(yield func(*telemetry.Record) bool) {
		for x := range f.shown() {
			if !yield(x.record) {
				return
			}
		}
	}
}

// shown visits every exchange that is shown, with x.mu held. An exchange of the list may have ended when its
// turn comes, and even have begun anew: then the new one is visited.
func (f *InFlight) shown() iter.Seq[*Exchange] {
	return func(yield func(*Exchange) bool) {
		var listed []*Exchange
		for i := range f.parts {
			listed = f.parts[i].appendTo(listed[:0])
			for _, x := range listed {
				if !x.visit(yield) {
					return
				}
			}
		}
	}
}

// appendTo appends the exchanges of the part to list.
func (p *part) appendTo(list []*Exchange) []*Exchange {
	p.mu.Lock()
	defer p.mu.Unlock()
	for x := p.head; x != nil; x = x.next {
		list = append(list, x)
	}
	return list
}

// visit calls f if x is shown, and returns whether the next exchange is to be visited.
func (x *Exchange) visit(f func(*Exchange) bool) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.record == nil || f(x)
}

// abort closes the connections of all streams.
func (f *InFlight) abort() {
	f.aborted.Store(true)
	for x := range f.shown() {
		if x.stream != nil {
			x.stream.Close()
		}
	}
}
