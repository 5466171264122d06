package proxy

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
	"pace/proxy/pipe"
)

// requestBody is the body of a request on its way to a backend. It counts, bounds and times what it
// reads, and knows what the client did wrong. One goroutine reads it; read, verdict, gone and stop
// may be called beside it.
type requestBody struct {
	ctx     context.Context // of the request
	src     io.Reader
	w       http.ResponseWriter
	conn    *http.ResponseController
	client  *front.Conn
	stream  uint32 // of HTTP/2
	length  int64  // -1: unknown
	http1   bool
	expects bool  // the client would like 100 before it sends
	limit   int64 // 0: none
	timeout time.Duration
	n       atomic.Int64
	ended   atomic.Bool   // read to its end
	fault   atomic.Uint32 // a bodyFault, the first one
	peeked  bool          // first holds a byte that Read has yet to return
	first   [1]byte

	mu      sync.Mutex // guards what follows, and orders the deadlines of await and stop
	stopped bool
	cut     bool      // a Read was stopped: nothing can be read any more
	left    bool      // the client had left before the stop
	until   time.Time // the stop's deadline
	held    bool      // the client waits for 100 before it sends, and an answer has not begun
	due     time.Time // when the present Read of HTTP/2 has taken too long; zero: none is waiting
	timer   *time.Timer
}

func newRequestBody(w http.ResponseWriter, r *http.Request, c *front.Conn, limit int64, timeout time.Duration) *requestBody {
	expects := message.ExpectsContinue(r.ProtoMajor, r.ProtoMinor, r.Header)
	b := &requestBody{
		ctx: r.Context(), src: r.Body, w: w, conn: http.NewResponseController(w), client: c, limit: limit, timeout: timeout, length: r.ContentLength,
		http1: r.ProtoMajor == 1, expects: expects, held: expects && r.ProtoMajor == 1,
	}
	if !b.http1 {
		b.stream = front.StreamID(w)
	}
	return b
}

var errTooLarge = errors.New("body over the limit")

// Read implements io.Reader.
func (b *requestBody) Read(p []byte) (int, error) {
	b.await()
	if b.peeked {
		b.peeked = false
		return b.account(copy(p, b.first[:]), nil)
	}
	n, err := b.src.Read(p)
	if err == nil && !b.http1 && b.length >= 0 && b.read()+int64(n) >= b.length {
		n, err = b.awaitEnd(n)
	}
	return b.account(n, err)
}

// awaitEnd keeps the last n announced bytes back until the stream has ended. By HTTP/2 a body may turn
// out longer than announced, which makes the request malformed (RFC 9113 §8.1.1). The backend must not
// answer it as if it were whole, be the surplus early or late.
func (b *requestBody) awaitEnd(n int) (int, error) {
	more, err := b.src.Read(b.first[:])
	if more > 0 {
		err = errTooLong
	}
	return n, err
}

var errTooLong = errors.New("body longer than announced")

// peek reads the body's first byte, which the next Read returns. It reports whether there is none.
func (b *requestBody) peek() (empty bool, err error) {
	b.await()
	n, err := b.src.Read(b.first[:])
	b.rest()
	if b.peeked = n > 0; b.peeked {
		return false, nil
	}
	if _, err = b.account(0, err); err == io.EOF {
		return true, nil
	}
	return false, err
}

// account notes what a Read has come to.
func (b *requestBody) account(n int, err error) (int, error) {
	b.rest()
	total := b.n.Add(int64(n))
	if err == io.EOF {
		b.ended.Store(true)
		if b.timeout > 0 && b.http1 {
			b.conn.SetReadDeadline(time.Time{}) // or net/http would take the client for gone
		}
	}
	if b.limit > 0 && total > b.limit {
		b.blame(bodyTooLarge)
		return 0, errTooLarge
	}
	if err != nil && err != io.EOF && !b.cutShort() {
		b.blame(b.readFault(err))
	}
	return n, err
}

// cutShort notes that a Read has failed, and says whether that is a stop's doing: one that failed
// before the stop's deadline failed by itself, and what it failed of may have been why it was stopped.
func (b *requestBody) cutShort() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cut = b.stopped && !time.Now().Before(b.until)
	return b.cut
}

// goesOut tells net/http that an answer may begin before the body has come to its end.
func (b *requestBody) goesOut() {
	if b.http1 {
		b.conn.EnableFullDuplex()
	}
}

// unfinished says whether some of the body has not been read. An answer given now ends the
// connection, for net/http reads no more than a bounded rest, and must say so.
func (b *requestBody) unfinished() bool {
	if b.length >= 0 {
		return b.read() < b.length
	}
	return !b.ended.Load()
}

// announceClose announces that the connection ends with the response, because of what the client still has to
// send. Over HTTP/2 it need not end. b may be nil: no body.
func (b *requestBody) announceClose(h http.Header) {
	if b != nil && b.http1 && b.unfinished() {
		h["Connection"] = []string{"close"}
	}
}

// smallRest is up to how much of a body is read when its request is rejected, so that the connection
// lasts; arriving is how long it may take to arrive.
const (
	smallRest = 64 << 10
	arriving  = 2 * time.Millisecond
)

// finish reads the rest of a body of no use, if it is small and there already. Who waits for 100 has not
// sent it. No attempt is using the body any more.
func (b *requestBody) finish() {
	b.mu.Lock()
	unwanted := !b.http1 || b.held || b.cut || b.length > smallRest
	b.mu.Unlock()
	if unwanted || !b.unfinished() {
		return
	}
	b.conn.SetReadDeadline(time.Now().Add(arriving))
	var piece [4 << 10]byte
	for rest := smallRest; rest > 0; {
		n, err := b.src.Read(piece[:min(rest, len(piece))])
		rest -= n
		b.n.Add(int64(n))
		if err == io.EOF {
			b.ended.Store(true)
			b.conn.SetReadDeadline(time.Time{})
		}
		if err != nil {
			return
		}
	}
}

// read returns how many bytes were read so far.
func (b *requestBody) read() int64 { return b.n.Load() }

func (b *requestBody) blame(f bodyFault) { b.fault.CompareAndSwap(uint32(noFault), uint32(f)) }

// verdict returns what the client did wrong first.
func (b *requestBody) verdict() bodyFault { return bodyFault(b.fault.Load()) }

// await prepares the next Read. Before the first one it sends 100 to a client that waits for it: net/http
// would send it from within the Read, where it takes no turns with the handler's interim responses, and the
// two would be written into one another.
func (b *requestBody) await() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held {
		b.held = false
		b.w.WriteHeader(http.StatusContinue)
	}
	switch {
	case b.timeout == 0 || b.stopped:
	case b.http1:
		b.conn.SetReadDeadline(time.Now().Add(b.timeout))
	default:
		b.due = time.Now().Add(b.timeout)
		if b.timer == nil {
			b.timer = time.AfterFunc(b.timeout, b.expire)
		} else {
			b.timer.Reset(b.timeout)
		}
	}
}

// expire ends a Read of HTTP/2 that has taken too long. net/http's own deadline for a stream would go on
// while the backend takes its time, and pass in a process that was stopped before what lies in the
// socket is read.
func (b *requestBody) expire() {
	defer b.client.Survive()
	b.mu.Lock()
	due := b.due
	b.mu.Unlock()
	if !due.IsZero() {
		front.WaitIfLate(due)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.due.IsZero() && !time.Now().Before(b.due) && !b.stopped {
		b.conn.SetReadDeadline(front.LongAgo)
	}
}

// rest notes that no Read is waiting for the client.
func (b *requestBody) rest() {
	if b.http1 || b.timeout == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.due = time.Time{}
	if b.timer != nil {
		b.timer.Stop()
	}
}

// interim has write send an interim response, unless it is a second 100: one that pace has sent already, or
// that net/http sends over HTTP/2 as soon as the body is read.
func (b *requestBody) interim(status int, write func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if status == http.StatusContinue {
		if b.expects && !b.held {
			return
		}
		b.held = false
	}
	write()
}

// answering notes that the handler begins the answer. The goroutine that reads the body sends no 100 from
// here on; net/http may, which takes turns with an answer.
func (b *requestBody) answering() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = false
}

// gone says whether the client has left. A Read that is stopped makes net/http end the request's
// context as if it had.
func (b *requestBody) gone() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		return b.left
	}
	return b.ctx.Err() != nil
}

// stop ends a Read in progress: the attempt is over, and the rest of the body of no use to it. A
// client that is sending gets the moment in which its next bytes arrive, since a chunked body whose
// Read failed cannot be read on, and its connection would be reset before the answer is read.
func (b *requestBody) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped, b.left, b.until = true, b.ctx.Err() != nil, time.Now().Add(50*time.Millisecond)
	b.conn.SetReadDeadline(b.until)
}

// again makes the body ready for another attempt. It returns false if there is nothing left to read,
// or only a part.
func (b *requestBody) again() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.read() > 0 || b.cut {
		return false
	}
	if b.stopped {
		b.stopped = false
		b.conn.SetReadDeadline(time.Time{})
	}
	return true
}

// hand leaves the rest of the body to net/http. It reads a bounded part of it before it gives the
// connection up, so that the client gets to read the answer instead of a reset; but a client that
// sends nothing must not hold the connection, nor an answer that is broken off.
func (b *requestBody) hand(broken bool) {
	if b.ended.Load() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	end := time.Now()
	if !broken {
		end = end.Add(lingering)
	}
	b.conn.SetReadDeadline(end)
}

// lingering is how long a client may take to notice that its body is of no use any more.
const lingering = 5 * time.Second

// readFault tells a client that stalls from one that left and one that breaks the rules of HTTP.
func (b *requestBody) readFault(err error) bodyFault {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return bodyLate
	}
	if b.clientLeft() || b.http1 && brokenOff(err) {
		return bodyLost
	}
	return bodyInvalid
}

// clientLeft reports whether the connection shows that the client has left. Where a chunked body ends in its
// trailer, only that tells leaving from breaking the rules.
func (b *requestBody) clientLeft() bool { return b.client != nil && b.client.ClientLeft(b.stream) }

// brokenOff reports whether the error is what a connection that ended makes of a read.
func brokenOff(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, http.ErrBodyReadAfterClose)
}

// Pipes implements [http1.PipeReader].
func (b *requestBody) Pipes(left int64) bool {
	return b.http1 && b.length >= 0 && b.client.Piped(left)
}

// ReadPipe implements [http1.PipeReader].
func (b *requestBody) ReadPipe(p *pipe.Pipe, left int64) (int, error) {
	b.await()
	n, err := b.client.ReadPipe(b.src, p, left)
	if err == front.ErrBuffered {
		b.blame(bodyBug)
		return 0, err
	}
	return b.account(n, err)
}
