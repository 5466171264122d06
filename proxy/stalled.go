package proxy

import (
	"context"
	"net/http"
	"time"

	"pace/telemetry"
)

// watchDelivery breaks off answers of which the client takes nothing for too long, until ctx ends:
// with each, a backend's connection would be held for as long as a stranger likes. It looks at the
// phases of what is in flight; a deadline of each write's own would cost every request, and HTTP/2
// has none for a stream whose window is shut.
func (h *Handler) watchDelivery(ctx context.Context) {
	if h.DeliverTimeout == 0 {
		return
	}
	look := time.NewTicker(max(h.DeliverTimeout/10, 10*time.Millisecond))
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			h.Telemetry.Interrupt(telemetry.Deliver, h.DeliverTimeout)
		}
	}
}

// interrupt ends a write to the client. The record that it is of is in flight, and so is q.
func (q *request) interrupt() {
	q.stalled.Store(true)
	http.NewResponseController(q.w).SetWriteDeadline(longAgo)
}

var longAgo = time.Unix(1, 0)
