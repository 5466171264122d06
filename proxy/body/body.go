// Package body is the body of a request on its way to a backend. It counts, bounds and times what is read of
// it, sends the 100 that a client waits for, and knows what the client did wrong.
//
// It is the one part of an exchange that two goroutines share: the handler's, and the one that sends the body
// to a backend, which reads it. Two states under one lock say what either may do, reading and continuation.
//
// It must not know backends, records or outcomes: it says what was wrong by a [Fault].
package body

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"pace/proxy/front"
	"pace/proxy/message"
)

// Body is the body of a request. One goroutine at a time reads it: Read, ReadPipe, Ready and Peek. Received, Whole,
// Fault, Gone, MayAgain, Stop and Interim may be called concurrently with that. All else is the handler's, while nobody
// reads.
type Body struct {
	ctx     context.Context // of the request
	src     io.Reader
	w       http.ResponseWriter
	control *http.ResponseController
	client  *front.Conn
	stream  uint32 // of HTTP/2 or HTTP/3
	length  int64  // -1: unknown
	http1   bool
	limit   int64 // 0: none
	timeout time.Duration

	received atomic.Int64
	fault    atomic.Uint32 // a Fault, the first one
	peeked   bool          // first holds a byte that Read has yet to return
	first    [1]byte
	kept     *kept // nil: nothing is kept

	mu       sync.Mutex // guards what follows, and orders the deadlines of await and Stop
	reading  reading
	expected continuation
	until    time.Time // Stop's deadline; zero: not stopped, or opened again
	last     bool      // no attempt reads the body after the stop
	left     bool      // the client had left before the stop
	due      time.Time // when the present Read of HTTP/2 has taken too long; zero: none is waiting
	timer    *time.Timer
}

// reading is how far the reading of a body has come.
//
//	open ──────────── its end is read ─▶ whole
//	 │ ▲                                   ▲
//	Stop Again (all that was read is kept) │
//	 ▼ │                                   │
//	stopping ──────── its end is read ─────┘
//	 │
//	 └─ a Read fails at Stop's deadline ─▶ cut: nothing can be read any more
type reading uint8

const (
	open reading = iota
	stopping
	cut
	whole
)

// continuation is whether the client waits for a 100 before it sends the body.
//
//	notExpected             it does not
//	awaited ─────▶ settled  a 100 or the final response has begun; by HTTP/2 net/http sends the 100
type continuation uint8

const (
	notExpected continuation = iota
	awaited
	settled
)

// Fault is what was wrong with a body.
type Fault uint32

// The faults. Without one, a body that is shorter than announced means that the client left.
const (
	NoFault  Fault = iota
	TooLarge       // it is over the limit
	Late           // the client sent nothing for too long
	Lost           // the client left
	Invalid        // it breaks the rules of HTTP
	Bug            // pace is at fault
)

// Faults are all of them.
var Faults = []Fault{TooLarge, Late, Lost, Invalid, Bug}

// MayBeSilent lets the client take any time between two bytes. It must be called before the first one is read.
func (b *Body) MayBeSilent() { b.timeout = 0 }

// New returns the body of r, which came over c and is responded to by w. limit is its largest size, timeout
// the longest wait for its next byte; 0: no limit.
func New(w http.ResponseWriter, r *http.Request, c *front.Conn, limit int64, timeout time.Duration) *Body {
	b := &Body{
		ctx: r.Context(), src: r.Body, w: w, control: http.NewResponseController(w), client: c, limit: limit, timeout: timeout,
		length: r.ContentLength, http1: r.ProtoMajor == 1,
	}
	if message.ExpectsContinue(r.ProtoMajor, r.ProtoMinor, r.Header) {
		if b.expected = settled; r.ProtoMajor != 2 { // quic-go sends none, either
			b.expected = awaited
		}
	}
	if !b.http1 {
		b.stream = front.StreamID(w)
	}
	return b
}

var errTooLarge = errors.New("body over the limit")

// Read implements io.Reader.
func (b *Body) Read(p []byte) (int, error) {
	if n, err, ok := b.readAgain(p); ok {
		return n, err
	}
	n, err := b.readNew(p)
	b.keep(p[:n])
	return n, err
}

// Ready reports whether the next Read needs nothing of the client that has not come yet. It never waits: while an interim
// response is being written, it says no. Only the goroutine that reads may call it.
func (b *Body) Ready() bool {
	if r := b.kept; b.peeked || r != nil && r.at < len(r.read) {
		return true
	}
	if !b.mu.TryLock() {
		return false
	}
	read := b.reading == whole
	b.mu.Unlock()
	if read {
		return true
	}
	came, whole := b.client.Body(b.stream)
	return whole || came > b.Received() && (b.length < 0 || came < b.length) // for the last bytes see awaitEnd
}

// readNew reads from the client.
func (b *Body) readNew(p []byte) (int, error) {
	b.await()
	if b.peeked {
		b.peeked = false
		return b.account(copy(p, b.first[:]), nil)
	}
	n, err := b.src.Read(p)
	if err == nil && !b.http1 && b.length >= 0 && b.Received()+int64(n) >= b.length {
		n, err = b.awaitEnd(n)
	}
	return b.account(n, err)
}

// awaitEnd keeps the last n announced bytes back until the stream has ended. By HTTP/2 a body may turn
// out longer than announced, which makes the request malformed (RFC 9113 §8.1.1). The backend must not
// respond as if it were whole, be the surplus early or late.
func (b *Body) awaitEnd(n int) (int, error) {
	more, err := b.src.Read(b.first[:])
	if more > 0 {
		err = errTooLong
	}
	return n, err
}

var errTooLong = errors.New("body longer than announced")

// Peek reads the body's first byte, which the next Read returns. It reports whether there is none.
func (b *Body) Peek() (empty bool, err error) {
	b.await()
	n, err := b.src.Read(b.first[:])
	b.Rest()
	if b.peeked = n > 0; b.peeked {
		return false, nil
	}
	if _, err = b.account(0, err); err == io.EOF {
		return true, nil
	}
	return false, err
}

// account notes what a Read has come to.
func (b *Body) account(n int, err error) (int, error) {
	b.Rest()
	total := b.received.Add(int64(n))
	if err == io.EOF {
		b.become(whole)
		if b.timeout > 0 && b.http1 {
			b.control.SetReadDeadline(time.Time{}) // or net/http would think that the client has left
		}
	}
	if b.limit > 0 && total > b.limit {
		b.note(TooLarge)
		return 0, errTooLarge
	}
	if err != nil && err != io.EOF && !b.failedByStop() {
		b.note(b.faultOf(err))
	}
	return n, err
}

func (b *Body) become(r reading) {
	b.mu.Lock()
	b.reading = r
	b.mu.Unlock()
}

// failedByStop notes that a Read has failed, and reports whether a stop made it fail. A Read that failed
// before the stop's deadline failed by itself, and its error may have been why it was stopped.
func (b *Body) failedByStop() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.until.IsZero() || time.Now().Before(b.until) {
		return false
	}
	b.reading = cut
	return true
}

func (b *Body) note(f Fault) { b.fault.CompareAndSwap(uint32(NoFault), uint32(f)) }

// Fault returns what was wrong first.
func (b *Body) Fault() Fault { return Fault(b.fault.Load()) }

// Received returns how many bytes were read so far.
func (b *Body) Received() int64 { return b.received.Load() }

// Whole reports whether the body was read to its end.
func (b *Body) Whole() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.reading == whole
}

// unfinished reports whether some of the body has not been read. A response given now ends the
// connection, for net/http reads no more than a bounded rest, and must say so.
func (b *Body) unfinished() bool {
	if b.length >= 0 {
		return b.Received() < b.length
	}
	return !b.Whole()
}

// faultOf says whether a client stalls, has left, or breaks the rules of HTTP, from the error of a Read.
func (b *Body) faultOf(err error) Fault {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return Late
	}
	if b.clientLeft() || b.http1 && connectionEnded(err) {
		return Lost
	}
	return Invalid
}

// clientLeft reports whether the connection shows that the client has left. Where a chunked body ends in its
// trailer, nothing else separates leaving from breaking the rules.
func (b *Body) clientLeft() bool { return b.client != nil && b.client.ClientLeft(b.stream) }

// connectionEnded reports whether the error is what a Read returns when the connection has ended.
func connectionEnded(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, http.ErrBodyReadAfterClose)
}
