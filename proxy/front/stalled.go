package front

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
func (s *Server) watchDelivery(ctx context.Context, changed <-chan struct{}) {
	look := time.NewTimer(0)
	defer look.Stop()
	for last, skipped := time.Now(), false; ; {
		limit := s.settings.Load().DeliverTimeout
		tick := max(limit/10, 10*time.Millisecond)
		if look.Stop(); limit > 0 {
			look.Reset(tick)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
			last = time.Now()
			continue
		case <-look.C:
		}
		now := time.Now()
		late := now.Sub(last) > 2*tick
		last = now
		if skipped = late && !skipped; skipped { // the process was stopped: see first what clients have taken meanwhile
			continue
		}
		for x := range s.InFlight.shown() {
			if p := x.record.Present(); p.Phase == telemetry.Deliver && time.Since(p.Since) > tick {
				s.overdue(x, p.Since, limit)
			}
		}
	}
}

// progress is what shows that a client takes its answer, or is at work on its request, while a write
// to it is not over: one of many bytes ends late, since the kernel wants to see a third of its buffer
// free first.
type progress struct {
	unacked  int   // bytes in the kernel that the client has yet to take; 0 if nobody knows
	received int64 // of the request's body
	at       time.Time
}

// overdue looks at an exchange that has been delivering since then, and ends it if its client has taken
// nothing for as long as limit. x.mu is held. It runs for all exchanges on
// one goroutine, where a panic would end pace.
func (s *Server) overdue(x *Exchange, since time.Time, limit time.Duration) {
	defer x.conn.Survive()
	now := progress{at: time.Now(), received: x.body.Received()}
	if x.conn.h2 == nil {
		now.unacked = unacked(x.conn.TCPConn)
	}
	last := &x.seen
	switch {
	case last.at.Before(since): // it is a new phase
		now.at = since
		*last = now
	case last.unacked != now.unacked || last.received != now.received:
		*last = now
	case now.at.Sub(last.at) > limit:
		x.stalled.Store(true)
		http.NewResponseController(x.w).SetWriteDeadline(LongAgo)
	}
}

// LongAgo is a deadline that wakes whoever waits.
var LongAgo = time.Unix(1, 0)
