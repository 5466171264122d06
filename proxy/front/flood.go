package front

import (
	"io"
	"log/slog"
	"time"

	"pace/proxy/front/h2"
	"pace/telemetry"
)

// A flood ends a connection over HTTP/2 in this order:
//
//	h2.Conn finds the flood as it reads along ─▶ flooded: it is counted, and the time runs
//	the next Read passes h2.Unlawful to net/http, which stops reading, and sends GOAWAY
//	the first Write after that sends h2.CalmNotice instead, and net/http's frames are dropped
//	net/http closes the connection after a second; or floodGrace ends it, because a Write waits for the client

// floodGrace is how long a flooded connection may last, so that the client can read why it ends.
const floodGrace = 2 * time.Second

// flooded counts a flood of frames, and ends the connection.
func (c *Conn) flooded(of string) {
	c.server.refuse(telemetry.RefusedFlood, c, slog.String("flood", of))
	time.AfterFunc(floodGrace, func() { c.under().Close() })
}

// timeHeader bounds the time of a header over HTTP/2 that comes in several frames. net/http bounds only that of a
// whole connection without requests.
func (c *Conn) timeHeader(open bool) {
	if open {
		c.header.Store(time.AfterFunc(c.generation.http.ReadHeaderTimeout, c.endLateHeader))
	} else if t := c.header.Swap(nil); t != nil {
		t.Stop()
	}
}

// endLateHeader ends the connection on which a header has taken too long, as net/http does over HTTP/1.
func (c *Conn) endLateHeader() {
	defer c.Survive()
	if !c.lost.Load() && c.h2.GiveUp() {
		c.server.refuse(telemetry.RefusedHeaderTimeout, c)
		c.under().Close()
	}
}

// readUnlawful has net/http read what makes it end the connection.
func (c *Conn) readUnlawful(b []byte) (int, error) {
	n := copy(b, h2.Unlawful[c.unlawful:])
	c.unlawful += n
	if n == 0 {
		c.lost.Store(true)
		return 0, io.EOF
	}
	return n, nil
}

// sayCalm sends the notice once, and drops what net/http sends, except for the end of a frame that it has begun.
// c.writing is held.
func (c *Conn) sayCalm(b []byte) (int, error) {
	if c.calm {
		return len(b), nil
	}
	n := c.h2.FinishFrame(b)
	if written, err := c.writeAfterHeld(b[:n]); err != nil {
		return written, err
	}
	if c.h2.MayWrite() {
		c.calm, c.goneAway = true, true
		c.sendHeld()
		c.writeNow(c.h2.CalmNotice())
	}
	return len(b), nil
}
