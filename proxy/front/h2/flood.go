package h2

import (
	"sync/atomic"
	"time"

	"pace/proxy/frames"
	"pace/proxy/front/flood"
)

// The limits of frames that a client needs few of, on one connection within [flood.Seconds]. The next one makes a
// flood of them.
const (
	maxControl = 10_000          // of frames that carry nothing of a request
	maxResets  = flood.MaxResets // of streams that end before their time
)

// A client need not make frames shorter than these, and on average pace sends no shorter DATA if it has more, unless
// the client opens its window by less at a time.
const (
	shortData     = 32
	shortFragment = 1 << 10 // of a header that goes on in the next frame
)

// floods counts the frames on one connection that cost pace more than the client. net/http takes any number of most
// of them. The goroutine that reads owns it, except for what is atomic.
//
// Clients that mean no harm send two kinds of control frames in large numbers: WINDOW_UPDATE while they read a
// response, and PING with it, by which gRPC measures how much is under way. So each DATA frame that pace sends earns
// some of these, which are not counted, and so do two things however short they are: the end of a response, because a
// client cannot have it without a request, and what a handler flushes, because the backend has sent no more, so that
// no small window of the client has made it short. A client has at most maxControl of them in reserve.
//
// Single frames are short through no fault of the client: one that opens its window as it reads opens it in many
// pieces, and what the end of a write or of the window leaves over is a piece, too, from then on. So DATA earns nothing
// only where it is short on average.
type floods struct {
	began           time.Time
	control, resets flood.Window

	unanswered atomic.Int64 // frames that net/http has to acknowledge, and whose acknowledgements are not sent yet

	earned atomic.Int64 // control frames, by what was sent
	spent  int64        // of them
	spare  int          // bytes of DATA beyond shortData for each frame; only who sends uses it
}

// earnedEach is how many frames each earns: two WINDOW_UPDATE and a PING.
const earnedEach = 3

// maxShort is how many frames may be as short as can be because those before were long.
const maxShort = maxControl

// earn notes that DATA of n bytes was sent, and whether it ended a response. A client that reads in small pieces,
// such as net/http's, sends two WINDOW_UPDATE for 4 KiB, and others send two for each KiB, or for each frame.
func (f *floods) earn(n int, ends bool) {
	spare := f.spare + n - shortData
	f.spare = min(max(spare, 0), maxShort*shortData)
	if spare >= 0 || ends {
		f.earned.Add(int64(earnedEach + n>>9))
	}
}

// earnOnce notes that a handler flushes what it has, or that a header is a whole response.
func (f *floods) earnOnce() { f.earned.Add(earnedEach) }

// fromEarned takes a frame from those that are earned, and reports whether there was one.
func (f *floods) fromEarned() bool {
	earned := f.earned.Load()
	f.spent = max(f.spent, earned-maxControl)
	if f.spent == earned {
		return false
	}
	f.spent++
	return true
}

// isFlood counts a frame that weighs, and reports whether it is one of a flood. It also is, however slowly they come,
// if a client sends maxControl frames without reading the acknowledgements: net/http would close the connection of
// such a client without a word.
func (f *floods) isFlood(w weight, frame *frames.Reader) bool {
	if wantsAck(frame) && f.unanswered.Add(1) >= maxControl {
		return true
	}
	switch w {
	case noWeight:
		return false
	case weighsAsReset:
		return f.tooManyResets()
	case weighsAsPing, weighsAsWindowUpdate:
		if f.fromEarned() {
			return false
		}
	}
	return f.control.Add(f.now(), 1) > maxControl
}

// tooManyResets counts a stream that ended before its time, and reports whether it is one of a flood.
func (f *floods) tooManyResets() bool { return f.resets.Add(f.now(), 1) > maxResets }

// wantsAck reports whether a frame is PING or SETTINGS, and is to be acknowledged.
func wantsAck(f *frames.Reader) bool { return isPingOrSettings(f) && !f.Has(frames.Ack) }

// isAck reports whether a frame is such an acknowledgement.
func isAck(f *frames.Reader) bool { return isPingOrSettings(f) && f.Has(frames.Ack) }

func isPingOrSettings(f *frames.Reader) bool {
	return f.Kind() == frames.Ping || f.Kind() == frames.Settings
}

// now returns how many seconds the connection has lasted.
func (f *floods) now() int64 { return int64(time.Since(f.began) / time.Second) }

// weight is what a frame counts as.
type weight uint8

const (
	noWeight weight = iota
	weighsAsReset
	weighsAsPing
	weighsAsSettings
	weighsAsWindowUpdate
	weighsAsPriority
	weighsAsData
	weighsAsFragment
	weighsAsOther
)

// floodWords are what a flood consists of, in the log.
var floodWords = [...]string{
	weighsAsReset: "RST_STREAM", weighsAsPing: "PING", weighsAsSettings: "SETTINGS", weighsAsWindowUpdate: "WINDOW_UPDATE",
	weighsAsPriority: "PRIORITY", weighsAsData: "DATA without content", weighsAsFragment: "short parts of a header",
	weighsAsOther: "frames of other types",
}

// weigh returns what a frame counts as, except for DATA, which depends on its stream.
func weigh(f *frames.Reader) weight {
	switch f.Kind() {
	case frames.Data:
		return noWeight
	case frames.Headers, frames.Continuation:
		if f.Has(frames.EndHeaders) || f.Length() >= shortFragment {
			return noWeight
		}
		return weighsAsFragment
	case frames.Priority:
		return weighsAsPriority
	case frames.Reset:
		return weighsAsReset
	case frames.Settings:
		return weighsAsSettings
	case frames.Ping:
		return weighsAsPing
	case frames.WindowUpdate:
		return weighsAsWindowUpdate
	}
	return weighsAsOther
}

// Unlawful is a frame that ends every connection: net/http sends GOAWAY, also in the middle of a header. It is
// SETTINGS on a stream.
var Unlawful = []byte{0, 0, 0, frames.Settings, 0, 0, 0, 0, 1}

// CalmNotice is the GOAWAY that ends a connection after a flood.
func (c *Conn) CalmNotice() []byte {
	last := c.calm.Load()
	return []byte{
		0, 0, 8, frames.GoAway, 0, 0, 0, 0, 0,
		byte(last >> 24), byte(last >> 16), byte(last >> 8), byte(last), 0, 0, 0, enhanceYourCalm,
	}
}

// Flooded reports whether a flood has come. Then net/http is to read [Unlawful], and what it sends is dropped in
// favour of CalmNotice.
func (c *Conn) Flooded() bool { return c.flooded.Load() }

// flood ends the connection because of what floods it.
func (in *incoming) flood(w weight) {
	in.ended = true
	c := in.conn
	c.calm.Store(max(in.newest, in.refused))
	c.over.Store(true)
	c.flooded.Store(true)
	c.watch.Flood(floodWords[w])
}
