package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"sync"

	"pace/proxy/pipe"
	"pace/telemetry"
)

// stream joins a client's and a backend's connection.
type stream struct {
	q              *request
	client, server net.Conn

	mu     sync.Mutex
	closed telemetry.CloseReason // the first reason
}

// join copies both ways until both have ended. When one side has no more to say the other is told
// so, and may finish; when one is lost, both end.
func (s *stream) join(read *bufio.Reader) {
	rec := s.q.rec
	done := make(chan any)
	go func() {
		in := &pump{s: s, from: s.client, to: s.server, moved: func(n int) { rec.Moved(int64(n), 0) },
			ended: telemetry.ClosedByClient, unreadable: telemetry.LostClient, unwritable: telemetry.LostBackend}
		var bug any
		rec.BytesIn, bug = in.safely(read)
		done <- bug
	}()
	out := &pump{s: s, from: s.server, to: s.client, moved: func(n int) { rec.Moved(0, int64(n)) },
		ended: telemetry.ClosedByBackend, unreadable: telemetry.LostBackend, unwritable: telemetry.LostClient}
	sent, bug := out.safely(nil)
	if other := <-done; bug == nil {
		bug = other
	}
	rec.BytesOut = sent
	if rec.Closed = s.closed; s.q.h.InFlight.Aborted() {
		rec.Closed = telemetry.ClosedByDrain
	}
	if bug != nil { // both directions have ended, so nobody else touches the record
		panic(bug)
	}
}

// because notes why the stream ends, unless it is ending already.
func (s *stream) because(why telemetry.CloseReason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed == telemetry.NotClosed {
		s.closed = why
	}
}

// pump is one direction of a stream.
type pump struct {
	s                             *stream
	from, to                      net.Conn
	moved                         func(int)
	ended, unreadable, unwritable telemetry.CloseReason
}

var pieces = sync.Pool{New: func() any { return new([16 << 10]byte) }}

// safely is run, but for a panic: that ends the stream, and is returned with its stack. No word for how
// streams end means a bug of ours; drained is the one that blames neither side.
func (p *pump) safely(first *bufio.Reader) (total int64, bug any) {
	defer func() {
		if v := recover(); v != nil {
			p.lost(telemetry.ClosedByDrain)
			bug = fmt.Sprintf("%v\n%s", v, debug.Stack())
		}
	}()
	if p.s.q.h.at(inStream); first != nil {
		p.s.q.h.at(inStreamToBackend)
	}
	return p.run(first), nil
}

// run moves bytes until its side has ended, those in first before all others; first may be nil.
// A stream that is silent holds no buffer.
func (p *pump) run(first *bufio.Reader) (total int64) {
	if first != nil && first.Buffered() > 0 {
		early, _ := first.Peek(first.Buffered())
		n, err := p.to.Write(early)
		total += int64(n)
		p.moved(n)
		if err != nil {
			p.lost(p.unwritable)
			return total
		}
	}
	for {
		n, why := p.piece()
		total += int64(n)
		p.moved(n)
		switch why {
		case telemetry.NotClosed:
			continue
		case p.ended:
			p.s.because(why)
			p.to.(interface{ CloseWrite() error }).CloseWrite()
		default:
			p.lost(why)
		}
		return total
	}
}

// piece moves what is there, once something is.
func (p *pump) piece() (int, telemetry.CloseReason) {
	if err := pipe.AwaitReadable(p.from); err != nil {
		return 0, p.unreadable
	}
	b := pieces.Get().(*[16 << 10]byte)
	defer pieces.Put(b)
	n, err := p.from.Read(b[:])
	if n > 0 {
		if n, err := p.to.Write(b[:n]); err != nil {
			return n, p.unwritable
		}
	}
	switch err {
	case nil:
		return n, telemetry.NotClosed
	case io.EOF:
		return n, p.ended
	}
	return n, p.unreadable
}

func (p *pump) lost(why telemetry.CloseReason) {
	p.s.because(why)
	p.to.Close()
	p.from.Close()
}
