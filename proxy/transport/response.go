package transport

import (
	"io"
	"net"
	"net/netip"
	"slices"
	"time"
)

// Response is a backend's response over any transport: its header, and the calls that read its body. The zero value
// is ready for a transport's Do, and so is one that was closed. One goroutine at a time may use it.
type Response struct {
	Head

	// BodyTimeout is the longest wait of Next for more of the body; 0: no limit. Do sets it to the pool's. The
	// caller may set it at any time.
	BodyTimeout time.Duration

	// Exchange is what the transport keeps of the exchange. It stays here after Close, so that the next Do over
	// the same transport can use it again. Only transports touch it.
	Exchange Exchange

	ahead []byte // of the body, read by Keep; Next returns it first
	kept  bool   // it was kept and recalled: there is nothing but ahead
}

// Head is all of a response but its body.
type Head struct {
	Status        int
	Version       string  // of HTTP, that the backend responded with: "1.0", "1.1" or "2"
	Fields        []Field // all, in order, hop-by-hop ones too; the array is reused after Close
	ContentLength int64   // of the body that Next returns: -1 unknown; 0 for HEAD, whatever its field says
	Trailer       []Field // after Next returned io.EOF
	Reused        bool    // the connection came from the pool
	BytesSent     int64   // bytes of the request that the kernel took, until Do returned; after Close in all
	Remote        netip.AddrPort
}

// Exchange is one request and its response in the hands of a transport.
type Exchange interface {
	// Next, Buffered, Interrupt and Close do for r what its methods of the same name promise.
	Next(r *Response) ([]byte, error)
	Buffered() bool
	Interrupt()
	Close(r *Response) error
}

// ExchangeOnConnection is an exchange that has its connection for itself, and can give it to the caller. Its methods do
// for r what those of the same name promise.
type ExchangeOnConnection interface {
	Splice(minimum int64) (src *net.TCPConn, n int64)
	Spliced(n int64, err error) error
	Hijack(r *Response) (net.Conn, []byte)
}

// Begin makes r, which is closed, the response with this head. A transport calls it when the final header has come.
func (r *Response) Begin(h *Head, bodyTimeout time.Duration) {
	r.Head, r.BodyTimeout, r.ahead, r.kept = *h, bodyTimeout, nil, false
}

// Next returns the next piece of the body, which is never empty. The piece is part of the read buffer: it is
// valid until the next call of any method. At the end of a whole body, the error is io.EOF. Any other error is
// a [*Error] of kind Truncated, Stalled, Canceled or RequestBody.
func (r *Response) Next() ([]byte, error) {
	if p := r.ahead; len(p) > 0 {
		r.ahead = nil
		return p, nil
	}
	if r.kept {
		return nil, io.EOF
	}
	return r.Exchange.Next(r)
}

// Buffered reports whether Next returns without waiting for the backend. If it does not, the caller should
// flush what it has.
func (r *Response) Buffered() bool { return len(r.ahead) > 0 || r.kept || r.Exchange.Buffered() }

// Splice returns the backend's connection if the rest of the body can be moved from it by the kernel. That is
// so if the connection is plain TCP, the rest has a known length of at least minimum bytes and no framing
// within, and nothing of it is in the read buffer. n is that length. The caller moves the bytes, and then calls
// Spliced. Otherwise src is nil.
func (r *Response) Splice(minimum int64) (src *net.TCPConn, n int64) {
	x, ok := r.Exchange.(ExchangeOnConnection)
	if !ok || len(r.ahead) > 0 || r.kept {
		return nil, 0
	}
	return x.Splice(minimum)
}

// ErrStalled is the error for Spliced if the backend sent nothing for BodyTimeout.
var ErrStalled = NewFault("no byte of the body came in time")

// Spliced notes that n bytes were moved, and that moving ended with err, which may be of either side; nil means
// that all was moved. It returns the error that ended the exchange, as Next would, or nil.
func (r *Response) Spliced(n int64, err error) error {
	return r.Exchange.(ExchangeOnConnection).Spliced(n, err)
}

// Hijack gives the connection to the caller after a 101, with the bytes that came after the header. The caller
// closes it, and then calls Close, which ends its count.
func (r *Response) Hijack() (net.Conn, []byte) { return r.Exchange.(ExchangeOnConnection).Hijack(r) }

// Interrupt makes Next return, now and from now on, with an error of kind Canceled. It may be called on another
// goroutine, before Close.
func (r *Response) Interrupt() { r.Exchange.Interrupt() }

// Close ends the exchange. The connection serves other exchanges if nothing about it is unclear; otherwise it is
// closed. Close returns when nobody uses the request any more. To call it again does nothing. The error is a panic
// on another goroutine that neither Do nor Next has passed on.
func (r *Response) Close() error {
	r.ahead = nil
	if r.Exchange == nil {
		return nil
	}
	return r.Exchange.Close(r)
}

// Kept is a whole response that is on no connection any more.
type Kept struct {
	Head
	body []byte
}

// Keep reads the rest of the body, and closes r. It returns nil if the body has more than limit bytes; then r goes
// on, and Next returns all of the body. An error is of Next, or the body has not come whole within wait: then r must
// be closed.
func (r *Response) Keep(limit int, wait time.Duration) (*Kept, error) {
	if r.ContentLength > int64(limit) {
		return nil, nil
	}
	usual, until := r.BodyTimeout, time.Now().Add(wait)
	for {
		r.BodyTimeout = max(time.Until(until), time.Nanosecond)
		piece, err := r.Exchange.Next(r)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if r.ahead = append(r.ahead, piece...); len(r.ahead) > limit {
			r.BodyTimeout = usual
			return nil, nil
		}
	}
	k := &Kept{r.Head, r.ahead}
	k.Fields = slices.Clone(k.Fields) // the array is reused
	err := r.Close()
	k.BytesSent = r.BytesSent
	return k, err
}

// Recall makes r, which is closed, the response that was kept.
func (r *Response) Recall(k *Kept) {
	r.Head, r.ahead, r.kept = k.Head, k.body, true
}
