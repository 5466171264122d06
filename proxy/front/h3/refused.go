package h3

import (
	"context"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3/qlog"
	"github.com/quic-go/quic-go/qlogwriter"

	"pace/telemetry"
)

// quic-go refuses requests without a word: it responds 431 to a header that is too large, and resets the stream of a
// malformed one. It does report what it reads and writes of HTTP/3 to a log of events (qlog), so this package listens
// there:
//
//	header read ─▶ waiting ─ its handler begins ─▶ reached
//	                  │
//	                  ├─ a header with 431 is written ─▶ refused: header_too_large
//	                  └─ nothing for a second, or the connection ends ─▶ refused: h3_error

// trace has quic-go report a connection's HTTP/3, but not its packets, which would take much time.
type trace struct{ a *attempt }

// tracer returns the trace of a connection.
func tracer(ctx context.Context, _ bool, _ quic.ConnectionID) qlogwriter.Trace {
	return trace{attemptOf(ctx)}
}

// AddProducer implements qlogwriter.Trace. The first one who asks is the QUIC connection, before anybody serves it.
func (t trace) AddProducer() qlogwriter.Recorder {
	if c := t.a.conn.Load(); c != nil {
		return recorder{c}
	}
	return nil
}

// recorder gets the events of a connection.
type recorder struct{ c *Conn }

// Close implements io.Closer.
func (recorder) Close() error { return nil }

// RecordEvent implements qlogwriter.Recorder. It runs on the goroutine of the request.
func (r recorder) RecordEvent(e qlogwriter.Event) {
	switch e := e.(type) {
	case qlog.FrameParsed:
		if _, ok := e.Frame.Frame.(qlog.HeadersFrame); ok {
			r.c.headerCame(number(e.StreamID))
		}
	case qlog.FrameCreated:
		if h, ok := e.Frame.Frame.(qlog.HeadersFrame); ok && has431(h.HeaderFields) {
			r.c.headerTooLarge(number(e.StreamID))
		}
	}
}

func has431(fields []qlog.HeaderField) bool {
	return len(fields) > 0 && fields[0].Name == ":status" && fields[0].Value == "431"
}

// headerCame notes that a header has come, unless it is the trailer of a request that is being handled.
func (c *Conn) headerCame(id uint32) {
	late := c.watch.Late()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams[id] != nil {
		return
	}
	c.streams[id] = &stream{id: id, came: time.Now(), early: !late}
	c.waiting++
	if c.sweep == nil {
		c.sweep = time.AfterFunc(reaching, c.countRefused)
	}
}

// headerTooLarge counts a request to which quic-go has responded itself.
func (c *Conn) headerTooLarge(id uint32) {
	c.mu.Lock()
	s := c.streams[id]
	refused := s != nil && !s.reached // else it is a handler's response
	if refused {
		c.forget(s)
	}
	c.mu.Unlock()
	if refused {
		c.watch.Refuse(telemetry.RefusedHeaderTooLarge)
	}
}

// forget drops a request that no handler gets. c.mu is held.
func (c *Conn) forget(s *stream) {
	delete(c.streams, s.id)
	c.waiting--
}

// reaching is how long a request may take from the end of its header to its handler. It takes some microseconds,
// unless the machine has too much to do.
const reaching = time.Second

// countRefused counts the requests that have not reached a handler.
func (c *Conn) countRefused() {
	c.mu.Lock()
	refused := 0
	for _, s := range c.streams {
		if !s.reached && time.Since(s.came) >= reaching {
			c.forget(s)
			refused++
		}
	}
	c.sweep = nil
	if c.waiting > 0 {
		c.sweep = time.AfterFunc(reaching, c.countRefused)
	}
	c.mu.Unlock()
	if refused == 0 || c.flooded.Load() {
		return
	}
	for range refused {
		c.watch.Refuse(telemetry.RefusedH3Error)
	}
	c.cancelled(refused)
}
