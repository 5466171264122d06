package proxy

import (
	"strings"

	"golang.org/x/net/http2/hpack"

	"pace/telemetry"
)

// frames reads along what net/http sends by HTTP/2, for the answers that it gives by itself: to
// what HTTP/2 forbids, and to a header that is too large. It tells nobody of them, and on the wire
// nothing tells them from others but the request's id, which every answer of the handler bears.
type frames struct {
	refuse func(telemetry.Refusal)
	head   [9]byte // of the present frame (RFC 9113 §4.1)
	have   int     // bytes of head that have come
	left   int     // bytes of its payload that have not
	block  []byte  // field block of the present message

	fields *hpack.Decoder // nil: the blocks cannot be read any more
	status string         // of the present message, "" in trailers
	named  bool           // it bears the request's id
}

func newFrames(refuse func(telemetry.Refusal)) *frames {
	f := &frames{refuse: refuse}
	f.fields = hpack.NewDecoder(4<<10, func(h hpack.HeaderField) { // net/http never grows its table beyond
		switch {
		case h.Name == ":status":
			f.status = h.Value
		case strings.EqualFold(h.Name, requestIDField):
			f.named = true
		}
	})
	return f
}

// Types of frames, and a flag (RFC 9113 §6.2, §6.8, §6.10).
const (
	headersFrame      = 1
	goAwayFrame       = 7
	continuationFrame = 9
	endHeaders        = 4
)

// read takes the next bytes, cut anywhere.
func (f *frames) read(b []byte) {
	for f.fields != nil {
		if f.have < len(f.head) {
			n := copy(f.head[f.have:], b)
			b, f.have = b[n:], f.have+n
			if f.have < len(f.head) {
				return
			}
			f.left = int(f.head[0])<<16 | int(f.head[1])<<8 | int(f.head[2])
		}
		n := min(f.left, len(b))
		if kind := f.head[3]; kind == headersFrame || kind == continuationFrame {
			f.block = append(f.block, b[:n]...) // net/http neither pads it nor gives it a priority
		}
		if b, f.left = b[n:], f.left-n; f.left > 0 {
			return
		}
		f.have = 0
		if len(f.block) > 0 && f.head[4]&endHeaders != 0 {
			f.message()
		}
	}
}

// between reports whether another frame may be sent now: none has begun, nor a block of fields.
func (f *frames) between() bool { return f.fields != nil && f.have == 0 && len(f.block) == 0 }

// message judges a block of fields that is whole.
func (f *frames) message() {
	f.status, f.named = "", false
	if _, err := f.fields.Write(f.block); err != nil || f.fields.Close() != nil {
		f.fields = nil
		return
	}
	f.block = f.block[:0]
	switch {
	case f.named:
	case f.status == "400":
		f.refuse(telemetry.RefusedBadRequest)
	case f.status == "431":
		f.refuse(telemetry.RefusedHeaderTooLarge)
	}
}
