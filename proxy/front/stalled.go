package front

import (
	"context"
	"net/http"
	"time"

	"pace/proxy/front/socket"
	"pace/telemetry"
)

// watchDelivery aborts responses of which the client takes nothing for too long; each of them would occupy a
// backend's connection for as long as a client likes. It looks at the phases of the exchanges in flight. A
// deadline for each write would cost every request, and HTTP/2 has none for a stream whose flow-control window is
// empty. ([taking] ends an HTTP/2 connection that takes nothing at all.) It returns when ctx
// ends; changed wakes it after a change of the settings.
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
		if skipped = late && !skipped; skipped { // the process was stopped: first see what clients have taken meanwhile
			continue
		}
		for x := range s.InFlight.shown() {
			if p := x.record.Present(); p.Phase == telemetry.Deliver && time.Since(p.Since) > tick {
				s.overdue(x, p.Since, limit)
			}
		}
	}
}

// progress shows during a write whether the client takes its response, or still sends its request. The end of the
// write would show it too late if the write is large: the kernel wakes the writer only when a third of its buffer
// is free.
type progress struct {
	unacked  int   // bytes in the kernel that the client has not acknowledged; 0 if that is unknown
	received int64 // of the request's body
	at       time.Time
}

// overdue looks at an exchange that has been delivering since then, and aborts its response if the client has
// taken nothing for as long as limit. x.mu is held. A panic here would end pace, because the goroutine serves all
// exchanges.
func (s *Server) overdue(x *Exchange, since time.Time, limit time.Duration) {
	defer x.conn.Survive()
	now := progress{at: time.Now(), received: x.body.Received()}
	if x.conn.h2 == nil && x.conn.h3 == nil {
		now.unacked = socket.Unacked(x.conn)
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

// LongAgo is a deadline that ends every wait.
var LongAgo = time.Unix(1, 0)
