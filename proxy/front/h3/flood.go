package h3

import (
	"context"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"pace/proxy/front/flood"
)

// A client that gives up each request at once, or sends only malformed ones, makes pace work for nothing, and MaxStreams
// does not bound how many it sends. So they are counted:
//
//	a handler ends because of the client, or a request is refused ─▶ cancelled ─ too many ─▶ flooded: reported once,
//	and the connection is closed

// floodWord is what a flood consists of, in the log.
const floodWord = "cancelled requests"

// cancelledBy reports whether the client has ended the request early, or has made quic-go do so. ctx is the request's.
// quic-go ends it without a cause when the client does not want the response any more. If it has a cause, the
// connection has ended, or pace aborts its requests.
func (s *stream) cancelledBy(ctx context.Context) bool {
	return s.broke.Load() || s.reset.Load() || context.Cause(ctx) == context.Canceled
}

// cancelled counts n requests that ended early, and ends the connection if they are a flood.
func (c *Conn) cancelled(n int) {
	c.mu.Lock()
	tooMany := c.resets.Add(int64(time.Since(c.began)/time.Second), uint32(n)) > flood.MaxResets
	c.mu.Unlock()
	if !tooMany || c.hasEnded() || c.flooded.Swap(true) {
		return
	}
	c.watch.Flood(floodWord)
	c.quic.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeExcessiveLoad), "")
}
