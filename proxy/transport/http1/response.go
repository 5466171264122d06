package http1

import (
	"errors"
	"io"
	"net"
	"slices"
	"time"

	"pace/proxy/transport"
)

// take copies what the caller may know into r, after the final header was parsed.
func (x *exchange) take(r *transport.Response) {
	x.timed = false
	h := transport.Head{Status: x.head.Status, Version: "1.1", Fields: x.head.Fields, ContentLength: x.in.body.Length()}
	if x.head.HTTP10 {
		h.Version = "1.0"
	}
	x.Mu.Lock()
	h.Reused, h.BytesSent, h.Remote = x.reused, x.sent, x.c.remote
	x.Mu.Unlock()
	r.Begin(&h, x.pool.o.BodyTimeout)
}

// Next implements [transport.Exchange]: it returns the next piece from the connection.
func (x *exchange) Next(r *transport.Response) ([]byte, error) {
	for {
		ready, err := x.in.advance()
		if err != nil {
			return nil, x.Raise(x.fail(transport.Truncated, err))
		}
		if ready {
			break
		}
		if r.BodyTimeout > 0 || x.timed {
			x.startBodyClock(r.BodyTimeout)
			x.timed = r.BodyTimeout > 0
		}
		if err := x.fill(); err != nil {
			if err = x.broken(err); err != nil {
				return nil, x.Raise(err)
			}
		}
	}
	p, err := x.in.next()
	if err == io.EOF {
		r.Trailer = x.in.body.Trailer()
	}
	return p, err
}

// broken returns the error for a connection that ended within the body, or nil if its end is the body's end.
func (x *exchange) broken(err error) error {
	if err == io.EOF {
		if x.in.body.EndOfInput() {
			return nil
		}
		err = io.ErrUnexpectedEOF
	}
	return x.fail(transport.Truncated, err)
}

// Buffered implements [transport.Exchange].
func (x *exchange) Buffered() bool {
	ready, err := x.in.advance()
	return ready || err != nil
}

// Splice implements [transport.ExchangeOnConnection].
func (x *exchange) Splice(minimum int64) (src *net.TCPConn, n int64) {
	n = x.in.body.Plain()
	if n == 0 || n < minimum || x.in.pos != x.in.end {
		return nil, 0
	}
	x.Mu.Lock()
	defer x.Mu.Unlock()
	if x.c.tcp == nil || x.Cause != nil {
		return nil, 0
	}
	if !x.c.readUntil.IsZero() { // a deadline left from before; the caller does not know that it may be early
		x.c.readBy(time.Time{})
	}
	x.in.drop()
	return x.c.tcp, n
}

// Spliced implements [transport.ExchangeOnConnection].
func (x *exchange) Spliced(n int64, err error) error {
	x.in.body.Consume(n)
	if err == nil {
		return nil
	}
	kind := transport.Truncated
	if err == transport.ErrStalled {
		kind = transport.Stalled
	}
	return x.Raise(x.fail(kind, err))
}

// Hijack implements [transport.ExchangeOnConnection].
func (x *exchange) Hijack(r *transport.Response) (net.Conn, []byte) {
	rest := slices.Clone(x.in.unread())
	x.pool.watcher.remove(x)
	x.running.Wait()
	x.Mu.Lock()
	c := x.c
	x.c = nil
	c.x = nil
	x.Mu.Unlock()
	c.SetDeadline(time.Time{})
	r.Close()
	x.hijacked = c
	return c.Conn, rest
}

var errInterrupted = errors.New("interrupted by the caller")

// Interrupt implements [transport.Exchange].
func (x *exchange) Interrupt() { x.fail(transport.Canceled, errInterrupted) }

// Close implements [transport.Exchange]. The connection goes back to the pool if the request and the response were
// whole and nothing else came, also if the client has left since; otherwise it is closed.
func (x *exchange) Close(r *transport.Response) error {
	if x.hijacked != nil {
		x.hijacked.leave()
		x.hijacked = nil
	}
	if x.pool == nil {
		return nil
	}
	x.pool.watcher.remove(x)
	x.stopSending()
	x.running.Wait()
	r.BytesSent = x.sent
	if x.c != nil {
		if x.reusable() {
			x.keep()
		} else {
			x.c.Close()
		}
	}
	x.in.reset()
	release(x.out.buf)
	x.out.buf = nil
	x.ctx, x.pool, x.req, x.c = nil, nil, nil, nil
	return x.Bug()
}

// lastGrace is how long Close waits for the write of the last bytes of a request.
const lastGrace = 50 * time.Millisecond

var errClosed = errors.New("response closed before the request was sent")

// stopSending makes the sender return, if there is one. If the sender is in the write of the last bytes, it
// gets lastGrace to end it, since the connection can be used again after a whole request.
func (x *exchange) stopSending() {
	if !x.req.HasBody() {
		return
	}
	switch x.out.now() {
	case idle, sent, cutMidway, cutEnding: // it does not run, or is about to return
		return
	case ending:
		x.Mu.Lock()
		defer x.Mu.Unlock()
		x.closing = true
		x.c.writeBy(time.Now().Add(lastGrace))
		return
	}
	x.fail(transport.Canceled, errClosed)
	if x.req.StopBody != nil {
		x.req.StopBody()
	}
}

// reusable reports whether the connection may be used again: the request and the response were whole, nothing
// else came, and nothing about the connection is unclear. A client that has the last byte may leave before Close: that
// the exchange was canceled says nothing about the connection.
func (x *exchange) reusable() bool {
	if _, err := x.in.advance(); err != nil { // reads the end of the chunks, if it is there and unread
		return false
	}
	canceled := x.Cause != nil && x.Cause.Kind == transport.Canceled
	return x.Final && (x.Cause == nil || canceled) && !x.unclear && x.out.now() == sent &&
		x.in.body.IsWhole() && x.in.pos == x.in.end
}
