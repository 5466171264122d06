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

// Response is a backend's answer and the way to its body. The zero value is ready for Do, and
// so is one that was closed. It belongs to one goroutine at a time.
type Response struct {
	Status        int
	HTTP10        bool              // the backend speaks HTTP/1.0
	Fields        []transport.Field // all, in order, hop-by-hop ones too; the array is reused after Close
	ContentLength int64             // of the body that Next returns: -1 unknown; 0 for HEAD, whatever its field says
	Trailer       []transport.Field // after Next returned io.EOF
	Reused        bool              // the connection came from the pool
	BytesSent     int64             // bytes of the request that the kernel took, until Do returned; after Close in all
	Remote        netip.AddrPort

	x exchange
}

// take publishes what is known once the final header was parsed.
func (r *Response) take() {
	x := &r.x
	r.Status, r.HTTP10, r.Fields, r.Trailer, r.ContentLength = x.head.status, x.head.http10, x.head.fields, nil, x.in.length()
	x.mu.Lock()
	r.Reused, r.BytesSent, r.Remote = x.reused, x.sent, x.c.remote
	x.mu.Unlock()
}

// Next returns the next piece of the body, never an empty one, out of the read buffer: it is
// valid until the next call of any method. The end is io.EOF, and only if the body is whole;
// anything else is an *Error of kind Truncated, Canceled or RequestBody.
func (r *Response) Next() ([]byte, error) {
	x := &r.x
	for {
		ready, err := x.in.advance()
		if err != nil {
			return nil, x.raise(x.fail(transport.Truncated, err))
		}
		if ready {
			break
		}
		if err := x.fill(); err != nil {
			if err = x.broken(err); err != nil {
				return nil, x.raise(err)
			}
		}
	}
	p, err := x.in.next()
	if err == io.EOF {
		r.Trailer = x.in.trailer.fields
	}
	return p, err
}

// broken returns the error for a connection that ended in the body, or nil if that is its end.
func (x *exchange) broken(err error) error {
	if err == io.EOF && x.in.step == untilEOF {
		x.in.step = whole
		return nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return x.fail(transport.Truncated, err)
}

// Buffered reports whether Next returns without waiting for the backend: if not, it is time to
// flush.
func (r *Response) Buffered() bool {
	ready, err := r.x.in.advance()
	return ready || err != nil
}

// Splice returns the backend's connection if the rest of the body can be moved from it as it is: of
// known length, plain TCP, nothing left in the read buffer. n is how much is due, least or more. The
// caller moves it and then calls Spliced. Otherwise src is nil.
func (r *Response) Splice(least int64) (src *net.TCPConn, n int64) {
	x := &r.x
	if x.in.step != identity || x.in.left < least || x.in.pos != x.in.end {
		return nil, 0
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.c.tcp == nil || x.cause != nil {
		return nil, 0
	}
	if !x.c.readUntil.IsZero() { // nobody would move it if it fired
		x.c.readBy(time.Time{})
	}
	x.in.drop()
	return x.c.tcp, x.in.left
}

// Spliced notes that n bytes were moved, and that moving ended with err (of either side; nil: all
// that was due is). It returns what ended the exchange, as Next would, and nil if nothing did.
func (r *Response) Spliced(n int64, err error) error {
	x := &r.x
	x.in.consume(n)
	if err == nil {
		return nil
	}
	return x.raise(x.fail(transport.Truncated, err))
}

// Hijack takes the connection over after a 101, with the bytes that came after the header. The
// caller closes it. Close may still be called, and does nothing.
func (r *Response) Hijack() (net.Conn, []byte) {
	x := &r.x
	rest := slices.Clone(x.in.buf[x.in.pos:x.in.end])
	x.pool.watcher.remove(x)
	x.running.Wait()
	x.mu.Lock()
	c := x.c
	x.c = nil
	x.mu.Unlock()
	c.SetDeadline(time.Time{})
	r.Close()
	return c.Conn, rest
}

// Close ends the exchange. The connection goes back to the pool if request and response were
// whole and nothing else came; otherwise it is closed. It returns when nobody uses the request
// any more. Calling it again does nothing. The error is a panic of which neither Do nor Next has told.
func (r *Response) Close() error {
	x := &r.x
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
	release(x.in.buf)
	release(x.out.buf)
	x.in.buf, x.out.buf = nil, nil
	x.in.pos, x.in.end, x.in.large, x.in.step = 0, 0, false, whole
	x.ctx, x.pool, x.req, x.c = nil, nil, nil, nil
	return x.bug()
}

// lastGrace is how long Close lets the last bytes of a request take.
const lastGrace = 50 * time.Millisecond

var errClosed = errors.New("response closed before the request was sent")

// stopSending makes the sender return, if there is one: at once, unless it is only in the write
// of the last bytes, which may still save the connection.
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

// reusable reports whether nothing about the connection is unclear.
func (x *exchange) reusable() bool {
	if _, err := x.in.advance(); err != nil { // the end of the chunks may be there, unread
		return false
	}
	return x.final && x.cause == nil && !x.unclear && x.out.now() == sent &&
		x.in.step == whole && x.in.pos == x.in.end
}
