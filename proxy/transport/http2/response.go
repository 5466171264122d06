package http2

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/net/http2"

	"pace/proxy/transport"
	"pace/proxy/transport/http2/header"
)

// version is the version of HTTP that this transport speaks.
const version = "2"

// incoming is the response as it comes. exchange.Mu guards it.
type incoming struct {
	head    transport.Head
	isEmpty bool  // there is no body, whatever the header says
	ended   bool  // the backend has ended the stream, and will send nothing more
	arrived int64 // bytes of the body
	window  int64 // how much more of the body may come
	trailer []transport.Field

	chunks  [][]byte // of the body, that have come
	taken   []byte   // that Next has returned; nil: none
	owed    int      // bytes that the backend may not send again yet, although the caller has taken them
	small   [firstBytes]byte
	isSmall bool // small is in use
}

const (
	pieceBytes = 32 << 10
	firstBytes = 512

	// streamStep is after how many bytes that the caller has taken the backend may send as many again.
	streamStep = streamWindow / 4
)

var pieces = sync.Pool{New: func() any { return new([pieceBytes]byte) }}

func (b *incoming) begin() {
	b.isEmpty, b.ended, b.arrived, b.window, b.trailer = false, false, 0, streamWindow, nil
	b.owed = 0
}

// isAbout reports whether the exchange is about this stream, and what happens to it is of interest. x.Mu is held.
func (x *exchange) isAbout(s stream) bool {
	return x.c == s.c && x.id == s.id && !x.over && x.Cause == nil
}

var (
	errLength   = transport.NewFault("content-length that is no number, or several that differ")
	errTooLarge = transport.NewFault("header is too large")
)

// gotHeader notes a header that has come: of an interim response, of the final one, or the trailer. What comes after the end
// of the stream changes nothing about the response.
func (x *exchange) gotHeader(s stream, b *header.Block) {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	if !x.isAbout(s) || x.body.ended {
		return
	}
	x.responded = true
	switch {
	case b.TooLarge:
		x.failStreamLocked(transport.HeaderTooLarge, errTooLarge)
	case b.Malformed:
		x.malformedLocked()
	case x.Final:
		x.gotTrailerLocked(b)
	case b.Status == 0:
		x.malformedLocked()
	case b.Status < 200:
		x.gotInterimLocked(b)
	default:
		x.gotFinalLocked(b)
	}
	x.signal()
}

// gotFinalLocked notes the final header. x.Mu is held.
func (x *exchange) gotFinalLocked(b *header.Block) {
	length, ok := contentLength(b.Fields)
	if !ok {
		x.code = http2.ErrCodeProtocol
		x.failLocked(transport.Invalid, errLength)
		return
	}
	in := &x.body
	in.isEmpty = x.req.Method == http.MethodHead || b.Status == http.StatusNoContent || b.Status == http.StatusNotModified
	if in.isEmpty {
		length = 0
	}
	old := in.head.Fields
	in.head = transport.Head{Status: b.Status, Version: version, Fields: b.Fields, ContentLength: length}
	b.Fields = old // its array
	x.Final, x.Phase = true, transport.Receive
	x.stopLocked()
	if b.End {
		x.endedLocked()
	}
}

// contentLength returns the length that is announced; -1: none.
func contentLength(fields []transport.Field) (n int64, ok bool) {
	n = -1
	for _, f := range fields {
		if f.Name != "Content-Length" {
			continue
		}
		one, err := strconv.ParseUint(f.Value, 10, 63)
		if err != nil || n >= 0 && n != int64(one) {
			return 0, false
		}
		n = int64(one)
	}
	return n, true
}

// gotTrailerLocked notes the trailer. x.Mu is held.
func (x *exchange) gotTrailerLocked(b *header.Block) {
	if !b.End || b.Status != 0 {
		x.malformedLocked()
		return
	}
	x.body.trailer = slices.Clone(b.Fields)
	x.endedLocked()
}

var (
	errShort = transport.NewFault("the body is shorter than its content-length")
	errLong  = transport.NewFault("the body is longer than its content-length")
)

// gotData notes a piece of the body. In all its frame had length bytes, the padding included. end says that it is the last
// one.
func (x *exchange) gotData(s stream, piece []byte, length int, end bool) {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	if !x.isAbout(s) || x.body.ended {
		return
	}
	x.responded = true
	in := &x.body
	in.window -= int64(length)
	in.arrived += int64(len(piece))
	switch {
	case !x.Final || in.isEmpty && len(piece) > 0:
		x.malformedLocked()
	case in.window < 0:
		x.code = http2.ErrCodeFlowControl
		x.failStreamLocked(transport.Invalid, errMalformed)
	case !in.isEmpty && in.head.ContentLength >= 0 && in.arrived > in.head.ContentLength:
		x.code = http2.ErrCodeProtocol
		x.failStreamLocked(transport.Invalid, errLong)
	default:
		in.add(piece)
		x.mayComeLocked(length - len(piece))
		if end {
			x.endedLocked()
		}
	}
	x.signal()
}

// endedLocked notes that the backend has ended the stream. x.Mu is held.
func (x *exchange) endedLocked() {
	in := &x.body
	in.ended = true
	if !in.isEmpty && in.head.ContentLength > in.arrived {
		x.failLocked(transport.Truncated, errShort)
	}
}

// add keeps a piece until the caller takes it.
func (in *incoming) add(piece []byte) {
	for len(piece) > 0 {
		n := len(in.chunks)
		if n == 0 || len(in.chunks[n-1]) == cap(in.chunks[n-1]) {
			in.chunks = append(in.chunks, in.chunk(len(piece)))
			n++
		}
		last := &in.chunks[n-1]
		size := min(len(piece), cap(*last)-len(*last))
		*last = append(*last, piece[:size]...)
		piece = piece[size:]
	}
}

// chunk returns an array for so many bytes, or for a part of them. The first ones need none of the large ones, which a
// stream that sends little does not hold.
func (in *incoming) chunk(n int) []byte {
	if n <= firstBytes && !in.isSmall {
		in.isSmall = true
		return in.small[:0]
	}
	return pieces.Get().(*[pieceBytes]byte)[:0]
}

// free gives an array back.
func (in *incoming) free(chunk []byte) {
	if cap(chunk) == pieceBytes {
		pieces.Put((*[pieceBytes]byte)(chunk[:pieceBytes]))
	} else {
		in.isSmall = false
	}
}

// freeTaken gives back what Next has returned. x.Mu is held.
func (in *incoming) freeTaken() {
	if in.taken != nil {
		in.free(in.taken)
		in.taken = nil
	}
}

// end gives back what is held. x.Mu is held.
func (in *incoming) end() {
	in.freeTaken()
	for _, chunk := range in.chunks {
		in.free(chunk)
	}
	clear(in.chunks)
	in.chunks = in.chunks[:0]
}

// Next implements [transport.Exchange].
func (x *exchange) Next(r *transport.Response) ([]byte, error) {
	x.Mu.Lock()
	piece, err := x.nextLocked(r)
	x.Mu.Unlock()
	if err != nil && err != io.EOF {
		return nil, x.Raise(err)
	}
	return piece, err
}

func (x *exchange) nextLocked(r *transport.Response) ([]byte, error) {
	in := &x.body
	x.mayComeLocked(len(in.taken))
	in.freeTaken()
	if x.ctx.Err() != nil {
		x.failLocked(transport.Canceled, context.Cause(x.ctx))
	}
	defer x.stopLocked()
	for waits := false; ; {
		switch {
		case x.Cause != nil && x.Cause.Kind == transport.Canceled && in.isTaken():
			return nil, io.EOF // who left had all of it
		case x.Cause != nil && (x.Cause.Kind != transport.Truncated || len(in.chunks) == 0):
			return nil, x.Cause
		case in.isEmpty || in.ended && len(in.chunks) == 0:
			r.Trailer = in.trailer
			return nil, io.EOF
		case len(in.chunks) > 0:
			in.taken = in.chunks[0]
			in.chunks = slices.Delete(in.chunks, 0, 1)
			return in.taken, nil
		}
		if !waits {
			waits = true
			x.startLocked(r.BodyTimeout)
		}
		x.waitLocked()
	}
}

// isTaken reports whether the caller has taken the whole body, although the backend may not have ended the stream yet.
func (in *incoming) isTaken() bool {
	whole := in.ended
	if length := in.head.ContentLength; length >= 0 {
		whole = in.arrived == length
	}
	return whole && len(in.chunks) == 0
}

// mayComeLocked lets the backend send so many bytes more, when they are worth a frame. x.Mu is held.
func (x *exchange) mayComeLocked(n int) {
	in := &x.body
	in.owed += n
	if in.owed < streamStep || in.ended || x.Cause != nil || x.over {
		return
	}
	in.window += int64(in.owed)
	x.c.mayCome(x.id, in.owed)
	in.owed = 0
}

// Buffered implements [transport.Exchange].
func (x *exchange) Buffered() bool {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	return x.body.isEmpty || x.body.ended || len(x.body.chunks) > 0 || x.Cause != nil
}
