package proxy

import (
	"context"
	"net/http"
	"time"

	"pace/telemetry"
)

// watchDelivery breaks off answers of which the client takes nothing for too long, until ctx ends:
// with each, a backend's connection would be held for as long as any client likes. It looks at the
// phases of what is in flight; a deadline for each write would cost every request, and HTTP/2 has
// none for a stream whose window is shut. (A connection of HTTP/2 that takes nothing at all is net/http's
// to end: WriteByteTimeout.)
func (h *Handler) watchDelivery(ctx context.Context) {
	if h.DeliverTimeout == 0 {
		return
	}
	tick := max(h.DeliverTimeout/10, 10*time.Millisecond)
	look := time.NewTicker(tick)
	defer look.Stop()
	for last, skipped := time.Now(), false; ; {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		now := time.Now()
		late := now.Sub(last) > 2*tick
		last = now
		if skipped = late && !skipped; skipped { // the process was stopped: see first what clients have taken meanwhile
			look.Reset(tick)
			continue
		}
		h.Telemetry.Overdue(telemetry.Deliver, tick)
	}
}

// progress is what shows that a client takes its answer, or is at work on its request, while a write
// to it is not over: one of many bytes ends late, since the kernel wants to see a third of its buffer
// free first.
type progress struct {
	unacked int   // bytes in the kernel that the client has yet to take; 0 if nobody knows
	read    int64 // of the request's body
	at      time.Time
}

// overdue is told again and again that the answer's phase has lasted since then, beside the handler.
// The record that tells is in flight, and so is q.
func (q *request) overdue(since time.Time) {
	defer q.h.survive()
	q.h.at(inOverdue)
	now := progress{at: time.Now()}
	if q.r.ProtoMajor == 1 {
		now.unacked = unacked(connOf(q.ctx).TCPConn)
	}
	if q.body != nil {
		now.read = q.body.read()
	}
	last := &q.progress
	switch {
	case last.at.Before(since): // it is a new phase
		now.at = since
		*last = now
	case last.unacked != now.unacked || last.read != now.read:
		*last = now
	case now.at.Sub(last.at) > q.h.DeliverTimeout:
		q.stalled.Store(true)
		http.NewResponseController(q.w).SetWriteDeadline(longAgo)
	}
}

var longAgo = time.Unix(1, 0)
