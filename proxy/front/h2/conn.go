// Package h2 reads along what goes over a client's HTTP/2 connection in both directions. net/http serves the
// connection, and does not report which requests it refuses, nor whether a stream ended because the client left or
// because the client broke a rule of HTTP. This package finds out. It sees bytes and ids of streams: it must not
// know the connection that they come on, nor routes, backends or what becomes of a request.
package h2

import (
	"sync"
	"sync/atomic"
	"time"

	"pace/proxy/frames"
	"pace/telemetry"
)

// Conn is what pace knows of one HTTP/2 connection. Each method belongs to certain goroutines:
//
//	ReadIncoming            net/http's goroutine that reads
//	ReadOutgoing, MayWrite  net/http's goroutines that write, one at a time
//	ReadTaken               whoever writes to the client, one at a time
//	Begin, End, Cause       the goroutines of the handlers
//	Taken                   the same
//	ExpectMore and its kin  both of the latter
type Conn struct {
	watch  Watch
	in     incoming      // only ReadIncoming uses it
	out    frames.Reader // only ReadOutgoing and MayWrite use it, and
	within bool          // net/http has begun a block of fields, or has sent nothing yet
	taken  frames.Reader // only ReadTaken uses it
	over   atomic.Bool   // net/http has sent GOAWAY because of an error, or will do so because of a flood

	floods  floods
	flooded atomic.Bool
	calm    atomic.Uint32 // the newest stream when a flood came

	// aftermath: more came for a stream that net/http has refused. net/http takes that for an error of the
	// connection, but only the one request is refused.
	aftermath atomic.Bool

	mu       sync.Mutex        // guards what follows
	streams  map[uint32]stream // those that the client opened, until their handler ends
	expected []expected        // those of which more follows at once
}

// stream is one request.
type stream struct {
	declared int64 // the length of the body; -1: unknown
	got      int64 // bytes of it that came
	ended    bool  // by the client
	begun    bool  // its handler runs
	early    bool  // it was not late when it began
	cause    Cause
	refusal  ownResponse // what net/http itself will send
	taken    int64       // bytes of the response's body that the kernel took
}

// Cause is what ended a stream early: the first cause that appeared on the wire.
type Cause uint8

// The causes.
const (
	Unknown     Cause = iota // nothing on the wire has ended it
	ClientLeft               // the client reset it
	ClientBroke              // the client broke a rule of HTTP
)

// ownResponse is a response that net/http sends instead of calling the handler.
type ownResponse uint8

const (
	noOwnResponse  ownResponse = iota
	ownBadRequest              // 400
	ownHeaderLarge             // 431
)

// LargestFrame is the largest payload that pace accepts: the smallest limit that HTTP/2 allows.
const LargestFrame = 16384

// ShutdownNotice is the GOAWAY with which a server announces its end (RFC 9113 §6.8): no error, and every stream
// still gets its response. net/http sends another one, with the last stream, at the end.
var ShutdownNotice = []byte{
	0, 0, 8, frames.GoAway, 0, 0, 0, 0, 0, // length, type, flags, stream
	0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0, // last stream, NO_ERROR
}

// Watch is what a Conn is given. MaxStreams is how many handlers net/http lets run.
type Watch struct {
	HeaderBytes int // net/http's limit of a header
	MaxStreams  int
	Refuse      func(telemetry.Refusal) // is called for each request, and for the connection, when net/http refuses it
	Flood       func(of string)         // is called for the connection when it is flooded, with what it is flooded with
	Header      func(open bool)         // is called when a header has begun that takes more than one frame, and when it is whole
	Late        func() bool             // says whether a request that begins at this moment comes too late
}

// maxUnbegun limits how many streams are remembered whose handler never began. net/http lets four times as many
// wait as run. Of a larger number, it has given up the rest.
func (w *Watch) maxUnbegun() int { return 5 * w.MaxStreams }

// Preface is how an HTTP/2 client begins (RFC 9113 §3.4).
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// New returns a Conn for a connection whose preface has been read.
func New(w Watch) *Conn {
	c := &Conn{watch: w, streams: map[uint32]stream{}, within: true}
	c.floods.began = time.Now()
	c.in.begin(c, w.HeaderBytes)
	return c
}

// ReadIncoming reads along what the client sends after the preface, and returns how much of it net/http is to read:
// all, unless a flood has come (see [Conn.Flooded]).
func (c *Conn) ReadIncoming(b []byte) int { return c.in.read(b) }

// open remembers a stream.
func (c *Conn) open(id uint32, s stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.streams) >= c.watch.maxUnbegun() {
		for id, s := range c.streams {
			if !s.begun {
				delete(c.streams, id)
			}
		}
	}
	c.streams[id] = s
}

// change lets f change what is known of a stream, and reports whether there is such a stream.
func (c *Conn) change(id uint32, f func(*stream)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.streams[id]
	if ok {
		f(&s)
		c.streams[id] = s
	}
	return ok
}

// settle notes what ended a stream, and reports whether there is such a stream.
func (c *Conn) settle(id uint32, cause Cause) bool {
	return c.change(id, func(s *stream) { s.settle(cause) })
}

// settle notes what ended the stream, unless something has before.
func (s *stream) settle(cause Cause) {
	if s.cause == Unknown {
		s.cause = cause
	}
}

// Begin notes that the handler of a stream runs.
func (c *Conn) Begin(id uint32) { c.change(id, func(s *stream) { s.begun = true }) }

// End forgets a stream when its handler ends.
func (c *Conn) End(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.streams, id)
}

// Cause returns what ended the stream early, as far as the wire shows it.
func (c *Conn) Cause(id uint32) Cause {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.streams[id].cause
}

// Early reports whether the request of a stream began before it was too late for that.
func (c *Conn) Early(id uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.streams[id].early
}

// Body returns how many bytes of a request's body have come, and whether the client has ended it. net/http may not have
// them yet, but needs nothing more of the client for that.
func (c *Conn) Body(id uint32) (came int64, ended bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[id]
	return s.got, s.ended
}

// GivenUp reports whether net/http has given up the connection because of a fault of the client.
func (c *Conn) GivenUp() bool { return c.over.Load() }

// GiveUp notes that the connection ends because of a fault of the client, and reports whether that is news.
func (c *Conn) GiveUp() bool { return !c.over.Swap(true) }

// ReadOutgoing reads along what net/http sends.
func (c *Conn) ReadOutgoing(b []byte) {
	for len(b) > 0 {
		b = c.readFrame(b)
	}
}

// FinishFrame reads along only what belongs to a frame, or a header, that net/http has begun to send. It returns how
// much of b that is.
func (c *Conn) FinishFrame(b []byte) int {
	rest := b
	for len(rest) > 0 && !c.MayWrite() {
		rest = c.readFrame(rest)
	}
	return len(b) - len(rest)
}

// readFrame reads along what net/http sends up to the end of a frame, and returns the rest.
func (c *Conn) readFrame(b []byte) []byte {
	b, whole := c.out.Next(b, keepOutgoing)
	if whole {
		isFields := c.out.Kind() == frames.Headers || c.out.Kind() == frames.Continuation
		c.within = isFields && !c.out.Has(frames.EndHeaders)
		c.sent(&c.out)
	}
	return b
}

// ReadTaken reads along what the kernel took of what ReadOutgoing has read, which may have been held, or lost. net/http
// pads no body.
func (c *Conn) ReadTaken(b []byte) {
	for len(b) > 0 {
		before, whole := 0, false
		if c.taken.HasHead() {
			before = c.taken.Came()
		}
		b, whole = c.taken.Next(b, keepNothing)
		if (whole || c.taken.HasHead()) && c.taken.Kind() == frames.Data {
			c.took(c.taken.Stream(), int64(c.taken.Came()-before))
		}
	}
}

// took notes that the kernel took n more bytes of a response's body. Unlike change, it allocates nothing.
func (c *Conn) took(id uint32, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.streams[id]; ok {
		s.taken += n
		c.streams[id] = s
	}
}

func keepNothing(*frames.Reader) int { return 0 }

// Taken returns how many bytes of the body of a response the kernel took.
func (c *Conn) Taken(id uint32) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.streams[id].taken
}

// MayWrite reports whether somebody else may send a frame now: net/http is not in the middle of one.
func (c *Conn) MayWrite() bool { return !c.within && c.out.BetweenFrames() }

func keepOutgoing(f *frames.Reader) int {
	if f.Kind() == frames.Reset || f.Kind() == frames.GoAway {
		return 8
	}
	return 0
}

// Error codes (RFC 9113 §7) that do not accuse the client: the first also ends a request of which no more is
// needed, and the other is sent when a handler aborts its response.
const (
	noError       = 0
	internalError = 2
)

// enhanceYourCalm is the error code with which a server ends a connection on which a client asks too much of it.
const enhanceYourCalm = 11

// sent looks at a frame that net/http sends.
func (c *Conn) sent(f *frames.Reader) {
	switch f.Kind() {
	case frames.Data:
		c.floods.earn(f.Length(), f.Has(frames.EndStream))
		c.sentOf(f.Stream(), f.Has(frames.EndStream))
	case frames.Ping, frames.Settings:
		if isAck(f) {
			c.floods.unanswered.Add(-1)
		}
	case frames.Headers:
		c.responds(f.Stream())
		if f.Has(frames.EndStream) {
			c.floods.earnOnce()
		}
		c.sentOf(f.Stream(), f.Has(frames.EndStream))
	case frames.Reset:
		c.sentOf(f.Stream(), true)
		if code := frames.Number(f.Payload); code != noError && code != internalError {
			c.settle(f.Stream(), ClientBroke)
		}
	case frames.GoAway:
		if code := frames.Number(f.Payload[4:]); code != noError && !c.over.Swap(true) && !c.aftermath.Load() {
			c.refuseAll(code)
		}
	}
}

// refuseAll counts that net/http ends the connection with an error.
func (c *Conn) refuseAll(code uint32) {
	if code == enhanceYourCalm { // requests that were reset before their handlers began
		c.watch.Flood(floodWords[weighsAsReset])
		return
	}
	c.watch.Refuse(telemetry.RefusedH2Error)
}

// responds counts a refusal when net/http sends its own response.
func (c *Conn) responds(id uint32) {
	own := noOwnResponse
	c.change(id, func(s *stream) { own, s.refusal = s.refusal, noOwnResponse })
	switch own {
	case ownBadRequest:
		c.watch.Refuse(telemetry.RefusedBadRequest)
	case ownHeaderLarge:
		c.watch.Refuse(telemetry.RefusedHeaderTooLarge)
	default:
		return
	}
	c.End(id)
}
