package http1

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"

	"pace/proxy/transport"
)

// Response is a backend's response: its header, and the calls that read its body. The zero value is ready for
// Do, and so is one that was closed. One goroutine at a time may use it.
type Response struct {
	Head

	// BodyTimeout is the longest wait of Next for more of the body; 0: no limit. Do sets it to the pool's. The
	// caller may set it at any time.
	BodyTimeout time.Duration

	x        exchange
	timed    bool   // the wait of Next before had a limit
	ahead    []byte // of the body, read by Keep; Next returns it first
	kept     bool   // it was kept and recalled: there is nothing but ahead
	switched *conn  // given away by Hijack; nil: none
}

// Head is all of a response but its body.
type Head struct {
	Status        int
	HTTP10        bool              // the backend's version is HTTP/1.0
	Fields        []transport.Field // all, in order, hop-by-hop ones too; the array is reused after Close
	ContentLength int64             // of the body that Next returns: -1 unknown; 0 for HEAD, whatever its field says
	Trailer       []transport.Field // after Next returned io.EOF
	Reused        bool              // the connection came from the pool
	BytesSent     int64             // bytes of the request that the kernel took, until Do returned; after Close in all
	Remote        netip.AddrPort
}

// take copies what the caller may know into r, after the final header was parsed.
func (r *Response) take() {
	x := &r.x
	r.BodyTimeout, r.timed, r.ahead, r.kept = x.pool.o.BodyTimeout, false, nil, false
	r.Status, r.HTTP10, r.Fields, r.Trailer, r.ContentLength = x.head.Status, x.head.HTTP10, x.head.Fields, nil, x.in.body.Length()
	x.mu.Lock()
	r.Reused, r.BytesSent, r.Remote = x.reused, x.sent, x.c.remote
	x.mu.Unlock()
}

// Next returns the next piece of the body, which is never empty. The piece is part of the read buffer: it is
// valid until the next call of any method. At the end of a whole body, the error is io.EOF. Any other error is
// a [*transport.Error] of kind Truncated, Stalled, Canceled or RequestBody.
func (r *Response) Next() ([]byte, error) {
	if p := r.ahead; len(p) > 0 {
		r.ahead = nil
		return p, nil
	}
	if r.kept {
		return nil, io.EOF
	}
	return r.read()
}

// read returns the next piece from the connection.
func (r *Response) read() ([]byte, error) {
	x := &r.x
	for {
		ready, err := x.in.advance()
		if err != nil {
			return nil, x.raise(x.fail(transport.Truncated, err))
		}
		if ready {
			break
		}
		if r.BodyTimeout > 0 || r.timed {
			x.startBodyClock(r.BodyTimeout)
			r.timed = r.BodyTimeout > 0
		}
		if err := x.fill(); err != nil {
			if err = x.broken(err); err != nil {
				return nil, x.raise(err)
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

// Buffered reports whether Next returns without waiting for the backend. If it does not, the caller should
// flush what it has.
func (r *Response) Buffered() bool {
	if len(r.ahead) > 0 || r.kept {
		return true
	}
	ready, err := r.x.in.advance()
	return ready || err != nil
}

// Splice returns the backend's connection if the rest of the body can be moved from it by the kernel. That is
// so if the connection is plain TCP, the rest has a known length of at least minimum bytes and no framing
// within, and nothing of it is in the read buffer. n is that length. The caller moves the bytes, and then calls
// Spliced. Otherwise src is nil.
func (r *Response) Splice(minimum int64) (src *net.TCPConn, n int64) {
	x := &r.x
	if len(r.ahead) > 0 || r.kept {
		return nil, 0
	}
	n = x.in.body.Plain()
	if n == 0 || n < minimum || x.in.pos != x.in.end {
		return nil, 0
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.c.tcp == nil || x.cause != nil {
		return nil, 0
	}
	if !x.c.readUntil.IsZero() { // a deadline left from before; the caller does not know that it may be early
		x.c.readBy(time.Time{})
	}
	x.in.drop()
	return x.c.tcp, n
}

// ErrStalled is the error for Spliced if the backend sent nothing for BodyTimeout.
var ErrStalled = transport.NewFault("no byte of the body came in time")

// Spliced notes that n bytes were moved, and that moving ended with err, which may be of either side; nil means
// that all was moved. It returns the error that ended the exchange, as Next would, or nil.
func (r *Response) Spliced(n int64, err error) error {
	x := &r.x
	x.in.body.Consume(n)
	if err == nil {
		return nil
	}
	kind := transport.Truncated
	if err == ErrStalled {
		kind = transport.Stalled
	}
	return x.raise(x.fail(kind, err))
}

// Hijack gives the connection to the caller after a 101, with the bytes that came after the header. The caller
// closes it, and then calls Close, which ends its count.
func (r *Response) Hijack() (net.Conn, []byte) {
	x := &r.x
	rest := slices.Clone(x.in.unread())
	x.pool.watcher.remove(x)
	x.running.Wait()
	x.mu.Lock()
	c := x.c
	x.c = nil
	x.mu.Unlock()
	c.SetDeadline(time.Time{})
	r.Close()
	r.switched = c
	return c.Conn, rest
}

var errInterrupted = errors.New("interrupted by the caller")

// Interrupt makes Next return, now and from now on, with an error of kind Canceled. It may be called on another
// goroutine, before Close.
func (r *Response) Interrupt() { r.x.fail(transport.Canceled, errInterrupted) }

// Close ends the exchange. The connection goes back to the pool if the request and the response were whole and
// nothing else came; otherwise it is closed. Close returns when nobody uses the request any more. To call it
// again does nothing. The error is a panic on another goroutine that neither Do nor Next has passed on.
func (r *Response) Close() error {
	x := &r.x
	r.ahead = nil
	if r.switched != nil {
		r.switched.leave()
		r.switched = nil
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
	return x.bug()
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
		x.mu.Lock()
		defer x.mu.Unlock()
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
// else came, and nothing about the connection is unclear.
func (x *exchange) reusable() bool {
	if _, err := x.in.advance(); err != nil { // reads the end of the chunks, if it is there and unread
		return false
	}
	return x.final && x.cause == nil && !x.unclear && x.out.now() == sent &&
		x.in.body.IsWhole() && x.in.pos == x.in.end
}
