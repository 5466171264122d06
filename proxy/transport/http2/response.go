package http2

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"pace/proxy/transport"
)

// version is the version of HTTP that this transport speaks.
const version = "2"

// fieldOverhead is what HTTP/2 counts for each field beside its name and value (RFC 9113 §6.5.2).
const fieldOverhead = 32

var (
	errStatus   = transport.NewFault("status that is none")
	errLength   = transport.NewFault("content-length that is no number, or several that differ")
	errTooLarge = transport.NewFault("header is too large")
)

// head checks the final header, which net/http has parsed, and returns it.
func (x *exchange) head(res *http.Response) (*transport.Head, error) {
	if res.StatusCode < 200 || res.StatusCode > 999 {
		return nil, x.fail(transport.Invalid, errStatus)
	}
	h := &x.body.head
	*h = transport.Head{Status: res.StatusCode, Version: version, Fields: h.Fields[:0]}
	size := 0
	for name, values := range res.Header {
		for _, v := range values {
			size += len(name) + len(v) + fieldOverhead
			h.Fields = append(h.Fields, transport.Field{Name: name, Value: v})
		}
	}
	if size > x.pool.o.MaxHeaderBytes {
		return nil, x.fail(transport.HeaderTooLarge, errTooLarge)
	}
	length, ok := contentLength(res.Header["Content-Length"])
	if !ok {
		return nil, x.fail(transport.Invalid, errLength)
	}
	if len(res.Trailer) > 0 {
		names := make([]string, 0, len(res.Trailer))
		for name := range res.Trailer {
			names = append(names, name)
		}
		h.Fields = append(h.Fields, transport.Field{Name: "Trailer", Value: strings.Join(names, ", ")})
	}
	if h.ContentLength = length; x.body.isEmpty {
		h.ContentLength = 0
	}
	return h, nil
}

// contentLength returns the length that is announced; -1: none. net/http would let any value pass.
func contentLength(values []string) (n int64, ok bool) {
	n = -1
	for _, v := range values {
		one, err := strconv.ParseUint(v, 10, 63)
		if err != nil || n >= 0 && n != int64(one) || v[0] == '+' {
			return 0, false
		}
		n = int64(one)
	}
	return n, true
}

// fieldsOf returns the fields of h.
func fieldsOf(h map[string][]string) (fields []transport.Field) {
	for name, values := range h {
		for _, v := range values {
			fields = append(fields, transport.Field{Name: name, Value: v})
		}
	}
	return fields
}

// incoming is the response's body. Only Do's goroutine uses it, but for wake.
type incoming struct {
	x       *exchange
	head    transport.Head // kept for the array of its fields
	res     *http.Response // nil: none
	isEmpty bool           // there is none, whatever its header says
	eof     bool
	taken   int64 // bytes that Next has returned
	buf     *[pieceBytes]byte
	small   [firstBytes]byte // to wait with, so that a stream that is silent holds no buffer
	closes  *closing
}

const (
	pieceBytes = 32 << 10
	firstBytes = 512
)

var pieces = sync.Pool{New: func() any { return new([pieceBytes]byte) }}

// closing closes a body once: to do it twice would give its bytes back to the window of the connection twice.
type closing struct {
	once sync.Once
	body io.Closer
}

func (c *closing) close() { c.once.Do(func() { c.body.Close() }) }

func (b *incoming) begin() { b.res, b.isEmpty, b.eof, b.taken, b.closes = nil, false, false, 0, nil }

// open begins the body of res.
func (b *incoming) open(x *exchange, res *http.Response) {
	b.x, b.res = x, res
	c := &closing{body: res.Body}
	x.Mu.Lock()
	b.closes = c
	x.Mu.Unlock()
	b.isEmpty = res.StatusCode == http.StatusNoContent || res.StatusCode == http.StatusNotModified
	b.eof = b.isEmpty
}

// isWhole reports whether the backend has sent all of the response.
func (b *incoming) isWhole() bool { return b.eof && (!b.isEmpty || b.x.hasEnded()) }

// hasEnded reports whether the backend has ended the stream.
func (x *exchange) hasEnded() bool {
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	return x.ended
}

// wake makes a read in progress return. x.Mu is held.
func (b *incoming) wake() {
	if b.closes != nil {
		go b.closes.close() // it takes locks of net/http's, and may wait for a write
	}
}

// end gives back what is held.
func (b *incoming) end() {
	if b.buf != nil {
		pieces.Put(b.buf)
		b.buf = nil
	}
	b.res, b.closes = nil, nil
}

// Next implements [transport.Exchange].
func (x *exchange) Next(r *transport.Response) ([]byte, error) {
	b := &x.body
	for !b.eof {
		p, err := b.read(r)
		switch {
		case err == io.EOF:
			b.eof = true
			r.Trailer = fieldsOf(b.res.Trailer)
		case err != nil && len(p) == 0:
			return nil, x.Raise(x.failed(x.c, err))
		}
		if len(p) > 0 {
			return p, nil
		}
	}
	return nil, io.EOF
}

// read reads a piece. If nothing has come yet, it waits with a small buffer.
func (b *incoming) read(r *transport.Response) ([]byte, error) {
	x, into := b.x, b.small[:]
	if x.Buffered() {
		if b.buf == nil {
			b.buf = pieces.Get().(*[pieceBytes]byte)
		}
		into = b.buf[:]
	} else if b.buf != nil {
		pieces.Put(b.buf)
		b.buf = nil
	}
	x.Mu.Lock()
	x.startLocked(r.BodyTimeout)
	x.Mu.Unlock()
	n, err := b.res.Body.Read(into)
	x.Mu.Lock()
	x.stopLocked()
	x.Mu.Unlock()
	b.taken += int64(n)
	return into[:n], err
}

// Buffered implements [transport.Exchange]. What conn has read along is in net/http's hands at once.
func (x *exchange) Buffered() bool {
	if x.body.eof {
		return true
	}
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	return x.ended || x.arrived > x.body.taken
}
