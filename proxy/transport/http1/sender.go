package http1

import (
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"pace/proxy/transport"
)

const (
	headDelay   = time.Millisecond // how long the head waits for the body's first piece
	expectDelay = time.Second      // how long the body waits for 100
	minPiece    = 512              // minimum room for the first piece behind the head; with less, the head goes alone
)

// sending is how far the sending of a request has come.
//
//	idle ──▶ preparing ──▶ midway ──▶ ending ──▶ sent
//	  │                     ▲  ╷        ▲ ╷
//	  │    a body  ─────────┘  ╷        │ ╷
//	  └─── no body ────────────╷────────┘ ╷
//	                           ▼          ▼
//	                       cutMidway  cutEnding
//
// From preparing it goes to ending directly if the whole request is in the first write, and to cutMidway if
// the exchange ends before anything was written. The cut states are entered when the sender returns.
// A request without a body goes from idle to ending, and stays there if its only write fails.
type sending uint32

const (
	idle      sending = iota // nothing was written, and no sender runs
	preparing                // the sender runs, and has written nothing: it waits for the body's first piece
	midway                   // a write was begun, and more of the body is to come
	ending                   // the write of the last bytes was begun
	sent                     // the kernel took the whole request
	cutMidway                // the sender gave up before it began to write the last bytes
	cutEnding                // the sender gave up in the write of the last bytes
)

// outgoing is the sending side of an exchange: buf[from:to] is due to be written. The package comment says
// which goroutine may touch which field.
type outgoing struct {
	mu       sync.Mutex // with a body: guards buf, from, to, reading and ended while the head timer may run
	buf      []byte     // from the pools; nil before and after
	from, to int
	left     int64 // bytes of the body that are to be read; -1: it is sent in chunks
	ended    bool  // Body has returned io.EOF, or all that it should; there is no more to read
	full     bool  // the last piece filled the buffer
	reading  bool  // Body.Read is in progress

	state atomic.Uint32 // a sending

	first   chan struct{} // closed when the first write is over, or will never be; nil without a body
	done    chan struct{} // closed when the sender is done; nil unless a switch of protocols may wait for it
	goAhead chan bool     // whether to send a body that Expect holds back; nil without Expect
}

// begin resets o for a request.
func (o *outgoing) begin(req *transport.Request) {
	o.from, o.to, o.left = 0, 0, req.ContentLength
	o.ended, o.full, o.reading = !req.HasBody(), false, false
	o.first, o.done, o.goAhead = nil, nil, nil
	o.become(idle)
	if !req.HasBody() {
		return
	}
	o.first = make(chan struct{})
	if asksUpgrade(req) {
		o.done = make(chan struct{})
	}
	if req.Expect {
		o.goAhead = make(chan bool, 1)
	}
}

func (o *outgoing) now() sending     { return sending(o.state.Load()) }
func (o *outgoing) become(s sending) { o.state.Store(uint32(s)) }

// hasBegun reports whether a write was begun. Until then, no response can be one to this request.
func (o *outgoing) hasBegun() bool { return o.now() >= midway }

// isMidway reports whether the backend has a part of the request, and may wait for the rest.
func (o *outgoing) isMidway() bool {
	s := o.now()
	return s == midway || s == cutMidway
}

// beginWrite notes that a write of what is due begins.
func (o *outgoing) beginWrite() {
	if o.ended {
		o.become(ending)
	} else {
		o.become(midway)
	}
}

// giveUp notes that the sender has returned. If it has not sent all, it never will.
func (o *outgoing) giveUp() {
	switch o.now() {
	case sent:
	case ending:
		o.become(cutEnding)
	default:
		o.become(cutMidway)
	}
}

// cancel makes a sender that holds its body back stop: the body is of no use any more.
func (o *outgoing) cancel() { o.decide(false) }

// proceed makes a sender that holds its body back send it: a 100 has come.
func (o *outgoing) proceed() { o.decide(true) }

// decide says whether to send the body, unless that was given already, or the request has no Expect.
func (o *outgoing) decide(send bool) {
	select {
	case o.goAhead <- send: // never, if it is nil
	default:
	}
}

// awaitFirstWrite waits until the first write is over, after which the connection stays the same.
func (o *outgoing) awaitFirstWrite() {
	if o.first != nil {
		<-o.first
	}
}

// drop gives the buffer back to the pools, since the response may take long to come. A head timer that is late
// then has nothing to write.
func (o *outgoing) drop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	release(o.buf)
	o.buf, o.from, o.to = nil, 0, 0
}

// isDue reports whether something waits to be written.
func (o *outgoing) isDue() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.from < o.to
}

// startSending starts the sender, which sends head and body.
func (x *exchange) startSending() {
	x.out.become(preparing)
	x.running.Go(func() {
		if x.out.done != nil {
			defer close(x.out.done)
		}
		defer x.out.giveUp()
		defer x.catch()
		x.send()
	})
}

// catch ends the exchange if a goroutine other than Do's panics. Without it, the panic would end the process.
// Do, Next or Close passes the panic on, so that a bug costs one request only.
func (x *exchange) catch() {
	if p := recover(); p != nil {
		x.firstWriteOver()
		x.fail(transport.Panicked, fmt.Errorf("%v\n%s", p, debug.Stack()))
	}
}

// send is the sender. It reads the body piece by piece, and writes each piece before it reads the next. The
// head goes out with the first piece, or alone if that does not come soon.
func (x *exchange) send() {
	o := &x.out
	defer o.drop()
	var head *time.Timer
	if o.goAhead != nil || len(o.buf)-o.to < minPiece {
		if !x.flushed() || !x.mayProceed() {
			return
		}
	} else {
		head = x.flushLater()
	}
	for !o.ended {
		if b, p := x.pipe(); p != nil {
			if !x.sendPiped(b, p) {
				return
			}
			continue
		}
		err := x.readPiece()
		x.stopTimer(head)
		head = nil
		if err != nil {
			x.firstWriteOver()
			x.fail(transport.RequestBody, err)
			return
		}
		if !x.flushed() {
			return
		}
	}
	x.sendingOver(true)
}

// flushLater starts the head timer. It sends the head alone if the body's first piece does not come within
// headDelay, since a backend may respond without it. Head and first piece together are one write and wake the
// backend once, so it is worth the wait.
//
// This is why out.mu exists: the timer's goroutine writes the head while the sender reads the first piece
// into the same buffer, behind the head. Without the timer (if a body could be asked whether its first piece
// is there, as a connection can) the buffer would belong to the sender alone.
func (x *exchange) flushLater() *time.Timer {
	x.running.Add(1)
	return time.AfterFunc(headDelay, func() {
		defer x.running.Done()
		defer x.catch()
		x.flushed()
		x.out.mu.Lock() // keeps the sender, if it is still reading, from the next phase
		defer x.out.mu.Unlock()
		if x.out.reading {
			x.Enter(transport.ReadRequest)
		}
	})
}

// stopTimer stops the head timer, if there is one that has not fired.
func (x *exchange) stopTimer(head *time.Timer) {
	if head != nil && head.Stop() {
		x.running.Done()
	}
}

// mayProceed waits as long as Expect asks for, and reports whether to send the body.
func (x *exchange) mayProceed() bool {
	if x.out.goAhead == nil {
		return true
	}
	x.Enter(transport.Wait)
	late := time.NewTimer(expectDelay)
	defer late.Stop()
	select {
	case send := <-x.out.goAhead:
		return send
	case <-late.C:
		return true
	}
}

// readPiece reads the next piece of the body, and frames it behind what is due. out.mu is not held while
// Body.Read waits, so that the head timer can write what is due meanwhile. Body.Read writes only to the part
// of the buffer behind it.
func (x *exchange) readPiece() error {
	o := &x.out
	x.Enter(transport.ReadRequest)
	o.mu.Lock()
	o.makeRoom()
	at, end := o.to, len(o.buf)
	o.reading = true
	o.mu.Unlock()
	if o.left < 0 {
		at += sizeRoom
		end = min(end-tailRoom, at+largeBuffer) // a large head has a larger buffer
	} else if int64(end-at) > o.left {
		// With room for one byte more than is due, a body that is too long shows. o.left comes from the wire;
		// here it is known to be less than the buffer's length, so the sum cannot overflow.
		end = at + int(o.left) + 1
	}
	n, err := x.req.Body.Read(o.buf[at:end])
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reading, o.full = false, at+n == end
	if err != nil && err != io.EOF {
		return err
	}
	if o.left < 0 {
		o.frameChunk(at, n)
		if err == io.EOF {
			o.frameLastChunk(x.req)
		}
		return nil
	}
	o.to += n
	return o.countDown(n, err == io.EOF)
}

// makeRoom prepares a buffer for another piece: a larger one if the last piece filled it.
func (o *outgoing) makeRoom() {
	if o.from < o.to {
		return
	}
	o.from, o.to = 0, 0
	if o.buf == nil {
		o.buf = getSmall()
	}
	if o.full && len(o.buf) < largeBuffer {
		o.buf = grown(o.buf, nil)
	}
}

// countDown notes that n bytes of a body of known length were read. A body that is longer or shorter than
// announced is an error: the backend would take the rest for another request, or wait for it.
func (o *outgoing) countDown(n int, eof bool) error {
	o.left -= int64(n)
	switch {
	case o.left < 0:
		o.left = 0
		return errBodyLong
	case eof && o.left > 0:
		return errBodyShort
	}
	o.ended = o.left == 0
	return nil
}

var (
	errBodyLong  = transport.NewFault("body is longer than its content length")
	errBodyShort = transport.NewFault("body is shorter than its content length")
)
