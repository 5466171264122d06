package front

import (
	"sync"
	"sync/atomic"

	"pace/telemetry"
)

// h2Conn is what pace knows of an HTTP/2 connection that net/http serves: it reads along in both
// directions. net/http tells nobody which requests it refuses, nor whether a stream ended because the
// client left or because the client broke a rule.
//
//	read  (net/http's goroutine that reads)    -> in, streams
//	wrote (net/http's goroutines that write)   -> out, within, streams; Conn.writing is held
//	begin, left, end (the handlers' goroutines) -> streams
type h2Conn struct {
	refuse func(telemetry.Refusal)
	in     h2Incoming
	out    frameCutter
	within bool        // net/http has begun a block of fields, or has sent nothing yet
	over   atomic.Bool // net/http has sent GOAWAY because of an error

	// More came for a stream that net/http has refused. It takes that for an error of the connection; but
	// what is refused is still the one request.
	aftermath atomic.Bool

	mu      sync.Mutex
	streams map[uint32]h2Stream // those that the client opened, until their handler ends; guarded by mu
}

// h2Stream is one request.
type h2Stream struct {
	declared int64 // the length of the body; -1: unknown
	got      int64 // bytes of it that came
	ended    bool  // by the client
	begun    bool  // its handler runs
	fate     h2Fate
	refusal  ownAnswer // what net/http itself will answer
}

// h2Fate is what ended a stream early: the first that came on the wire.
type h2Fate uint8

const (
	unknownFate h2Fate = iota
	clientLeft
	clientBroke // a rule of HTTP
)

// ownAnswer is an answer that net/http gives in the handler's place.
type ownAnswer uint8

const (
	noOwnAnswer    ownAnswer = iota
	ownBadRequest            // 400
	ownHeaderLarge           // 431
)

// mostStreams bounds what is remembered of streams whose handler never began. net/http lets 100 handlers
// run and 400 wait, so that more of them are those that it has given up.
const mostStreams = 1000

func newH2Conn(headerBytes int, refuse func(telemetry.Refusal)) *h2Conn {
	h := &h2Conn{refuse: refuse, streams: map[uint32]h2Stream{}, within: true}
	h.in.begin(h, headerBytes)
	return h
}

// open remembers a stream.
func (h *h2Conn) open(id uint32, s h2Stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.streams) >= mostStreams {
		for id, s := range h.streams {
			if !s.begun {
				delete(h.streams, id)
			}
		}
	}
	h.streams[id] = s
}

// change lets f change what is known of a stream, and reports whether there is such a stream.
func (h *h2Conn) change(id uint32, f func(*h2Stream)) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, ok := h.streams[id]
	if ok {
		f(&s)
		h.streams[id] = s
	}
	return ok
}

func (h *h2Conn) settle(id uint32, fate h2Fate) bool {
	return h.change(id, func(s *h2Stream) { s.settle(fate) })
}

func (s *h2Stream) settle(fate h2Fate) {
	if s.fate == unknownFate {
		s.fate = fate
	}
}

// begin notes that the handler of a stream runs.
func (h *h2Conn) begin(id uint32) { h.change(id, func(s *h2Stream) { s.begun = true }) }

// end forgets a stream when its handler ends.
func (h *h2Conn) end(id uint32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.streams, id)
}

// fate returns what ended the stream early, as far as the wire has told.
func (h *h2Conn) fate(id uint32) h2Fate {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.streams[id].fate
}

// wrote reads along what net/http sends.
func (h *h2Conn) wrote(b []byte) {
	for len(b) > 0 {
		var whole bool
		if b, whole = h.out.next(b, keepOutgoing); whole {
			isFields := h.out.kind() == headersFrame || h.out.kind() == continuationFrame
			h.within = isFields && !h.out.has(endHeaders)
			h.sent(&h.out)
		}
	}
}

// between reports whether another frame may be sent now: net/http has begun none.
func (h *h2Conn) between() bool { return !h.within && h.out.have == 0 }

func keepOutgoing(f *frameCutter) int {
	if f.kind() == resetFrame || f.kind() == goAwayFrame {
		return 8
	}
	return 0
}

// Error codes (RFC 9113 §7) that say nothing against the client: the first also ends a request of which
// no more is needed, the other one is a handler that breaks its answer off.
const (
	noError       = 0
	internalError = 2
)

// sent looks at a frame that net/http sends.
func (h *h2Conn) sent(f *frameCutter) {
	switch f.kind() {
	case headersFrame:
		h.answers(f.stream())
	case resetFrame:
		if code := number(f.payload); code != noError && code != internalError {
			h.settle(f.stream(), clientBroke)
		}
	case goAwayFrame:
		if number(f.payload[4:]) != noError && !h.over.Swap(true) && !h.aftermath.Load() {
			h.refuse(telemetry.RefusedH2Error)
		}
	}
}

// answers counts a refusal when net/http answers it by itself.
func (h *h2Conn) answers(id uint32) {
	own := noOwnAnswer
	h.change(id, func(s *h2Stream) { own, s.refusal = s.refusal, noOwnAnswer })
	switch own {
	case ownBadRequest:
		h.refuse(telemetry.RefusedBadRequest)
	case ownHeaderLarge:
		h.refuse(telemetry.RefusedHeaderTooLarge)
	default:
		return
	}
	h.end(id)
}
