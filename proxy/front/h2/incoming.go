package h2

import (
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2/hpack"

	"pace/proxy/frames"
	"pace/telemetry"
)

// incoming reads along what a client sends. It decides about each header as net/http's framer does, which resets
// without a report what it refuses. FuzzIncoming compares the two.
type incoming struct {
	conn    *Conn
	limit   uint32 // of a header's size, as HTTP/2 counts it
	frames  frames.Reader
	ended   bool   // net/http closes the connection because of what came, or pace cannot follow it
	newest  uint32 // the newest stream that net/http opened
	broke   bool   // the present frame makes net/http reset a stream that it has opened
	refused uint32 // the newest stream that it reset instead, and that counts as never opened
	fields  *hpack.Decoder
	block   fieldBlock // the present one
}

// fieldBlock is a header or a trailer, in one frame or more.
type fieldBlock struct {
	open      bool // more frames are to come
	skipped   bool // its first frame was wrong, and net/http does not decode it
	id        uint32
	endStream bool
	circular  bool // it depends on itself
	remain    uint32
	regular   bool // a field came that is no pseudo-field
	invalid   bool // a field's name, value or position is
	truncated bool
	pseudo    uint8 // bits of the pseudo-fields that came
	badPseudo bool  // a pseudo-field is unknown, or came twice
	length    int64
	hasLength bool
	specific  bool // a field concerns the connection (RFC 9113 §8.2.2)
	te        int  // how many TE fields came
}

func (in *incoming) begin(c *Conn, headerBytes int) {
	in.conn, in.limit = c, uint32(headerBytes)+320 // net/http adds the same to Server.MaxHeaderBytes
	in.fields = hpack.NewDecoder(4<<10, in.field)  // net/http never lets the table grow
	in.fields.SetMaxStringLength(int(in.limit))
}

// read takes the next bytes, and returns how many of them come before the end of a flood.
func (in *incoming) read(b []byte) int {
	all := len(b)
	for len(b) > 0 && !in.ended {
		var whole bool
		b, whole = in.frames.Next(b, keepIncoming)
		if (whole || in.frames.HasHead()) && in.frames.Length() > LargestFrame {
			in.ended = true
			break
		}
		if !whole {
			continue
		}
		before := in.block.open
		w := in.frame(&in.frames)
		if in.block.open != before {
			in.conn.watch.Header(in.block.open)
		}
		switch floods := &in.conn.floods; {
		case in.ended: // net/http ends the connection itself
		case floods.isFlood(w, &in.frames):
			in.flood(w)
			return all - len(b)
		case in.broke && floods.tooManyResets():
			in.flood(weighsAsReset)
			return all - len(b)
		}
		in.broke = false
	}
	return all
}

func keepIncoming(f *frames.Reader) int {
	switch f.Kind() {
	case frames.Headers, frames.Continuation:
		return LargestFrame
	}
	return 5
}

// frame looks at a frame that has come whole, and returns what it weighs.
func (in *incoming) frame(f *frames.Reader) weight {
	if in.conn.over.Load() || in.block.open != (f.Kind() == frames.Continuation) {
		in.ended = true
		return noWeight
	}
	id, p := f.Stream(), f.Payload
	if id > in.newest && id <= in.refused && f.Kind() != frames.Headers && f.Kind() != frames.Continuation {
		in.conn.aftermath.Store(true)
	}
	switch f.Kind() {
	case frames.Headers:
		in.headers(f)
	case frames.Continuation:
		if id != in.block.id {
			in.ended = true
			return noWeight
		}
		in.fragment(p, f.Has(frames.EndHeaders))
	case frames.Data:
		return in.data(f)
	case frames.Reset:
		in.conn.settle(id, ClientLeft)
		in.conn.expectNoMore(id)
	case frames.Priority:
		if len(p) == 5 && frames.Number(p)&^(1<<31) == id {
			in.conn.change(id, in.breaks)
		}
	case frames.WindowUpdate:
		if len(p) >= 4 && frames.Number(p)&^(1<<31) == 0 {
			in.conn.change(id, in.breaks)
		}
	}
	return weigh(f)
}

// data counts the bytes of a body against what was announced. It returns what the frame weighs: nothing, unless
// it has no content, and does not end its stream either.
func (in *incoming) data(f *frames.Reader) weight {
	n := f.Length()
	if f.Stream() == 0 {
		in.ended = true
		return noWeight
	}
	if f.Has(frames.Padded) {
		if len(f.Payload) == 0 {
			in.short()
			return noWeight
		}
		if n -= 1 + int(f.Payload[0]); n < 0 {
			in.ended = true
			return noWeight
		}
	}
	open := false
	in.conn.change(f.Stream(), func(s *stream) {
		open = !s.ended
		if s.got += int64(n); s.ended || s.declared >= 0 && s.got > s.declared {
			in.breaks(s)
		}
		if f.Has(frames.EndStream) {
			in.end(s)
		}
	})
	if open && (n > 0 || f.Has(frames.EndStream)) || n >= shortData {
		return noWeight
	}
	return weighsAsData
}

// end notes that the client ended the stream.
func (in *incoming) end(s *stream) {
	if s.ended = true; s.declared >= 0 && s.got != s.declared {
		in.breaks(s)
	}
}

// breaks notes that the client broke a rule, because of which net/http resets the stream. For pace that is as costly
// as a reset by the client.
func (in *incoming) breaks(s *stream) {
	in.broke = in.broke || s.cause == Unknown
	s.settle(ClientBroke)
}

// headers begins a block of fields.
func (in *incoming) headers(f *frames.Reader) {
	p, id, pad := f.Payload, f.Stream(), 0
	if id == 0 {
		in.ended = true
		return
	}
	in.block = fieldBlock{open: true, id: id, endStream: f.Has(frames.EndStream), remain: in.limit, length: -1}
	if f.Has(frames.Padded) {
		if len(p) == 0 {
			in.short()
			return
		}
		pad, p = int(p[0]), p[1:]
	}
	if f.Has(frames.Prioritized) {
		if len(p) < 5 {
			in.short()
			return
		}
		in.block.circular, p = frames.Number(p)&^(1<<31) == id, p[5:]
	}
	if pad > len(p) { // net/http resets the stream, and does not look at the block
		in.block.skipped, in.block.open = true, !f.Has(frames.EndHeaders)
		in.reset(id)
		return
	}
	in.fields.SetEmitEnabled(true)
	in.fragment(p[:len(p)-pad], f.Has(frames.EndHeaders))
}

// short notes a frame that is too short for its flags. net/http closes the connection without GOAWAY.
func (in *incoming) short() {
	in.ended = true
	in.conn.watch.Refuse(telemetry.RefusedH2Error)
}

// reset notes that net/http resets a stream because of its header or its trailer.
func (in *incoming) reset(id uint32) {
	if !in.conn.settle(id, ClientBroke) && id > in.newest {
		in.refused = max(in.refused, id)
		in.conn.watch.Refuse(telemetry.RefusedH2Error)
	}
}

// fragment reads the part of the block that is in one frame. A fault for which net/http closes the connection
// is not a refused request: ReadOutgoing counts it when it sees the GOAWAY.
func (in *incoming) fragment(p []byte, last bool) {
	if in.block.skipped {
		in.block.open = !last
		return
	}
	if int64(len(p)) > 2*int64(in.block.remain) || in.block.invalid {
		in.ended = true
		return
	}
	if _, err := in.fields.Write(p); err != nil || last && in.fields.Close() != nil {
		in.ended = true
		return
	}
	if last {
		in.block.open = false
		in.endBlock()
	}
}

// pseudoFields are the pseudo-fields that net/http knows, each as a bit of fieldBlock.pseudo. It also knows the
// one of a response.
var pseudoFields = map[string]uint8{":method": 1, ":path": 2, ":scheme": 4, ":authority": 8, ":protocol": 16, ":status": 32}

// field notes a field of the block.
func (in *incoming) field(h hpack.HeaderField) {
	b := &in.block
	pseudo := strings.HasPrefix(h.Name, ":")
	b.invalid = !httpguts.ValidHeaderFieldValue(h.Value) || pseudo && b.regular || !pseudo && !validFieldName(h.Name)
	b.regular = b.regular || !pseudo
	if b.invalid {
		in.fields.SetEmitEnabled(false)
		return
	}
	if h.Size() > b.remain {
		in.fields.SetEmitEnabled(false)
		b.truncated, b.remain = true, 0
		return
	}
	b.remain -= h.Size()
	if pseudo {
		bit := pseudoFields[h.Name]
		b.badPseudo = b.badPseudo || bit == 0 || b.pseudo&bit != 0
		b.pseudo |= bit
		return
	}
	b.note(h)
}

// validFieldName reports whether HTTP/2 allows the name: a token without capitals.
func validFieldName(name string) bool {
	for _, c := range name {
		if !httpguts.IsTokenRune(c) || 'A' <= c && c <= 'Z' {
			return false
		}
	}
	return name != ""
}

// note notes the fields because of which net/http may refuse the request.
func (b *fieldBlock) note(h hpack.HeaderField) {
	switch h.Name {
	case "content-length":
		if n, err := strconv.ParseUint(h.Value, 10, 63); !b.hasLength {
			b.hasLength, b.length = true, int64(n)
			if err != nil {
				b.length = 0 // as net/http does
			}
		}
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		b.specific = true
	case "te":
		if b.te++; b.te > 1 || h.Value != "trailers" && h.Value != "" {
			b.specific = true
		}
	}
}

// endBlock decides what becomes of a block that is whole.
func (in *incoming) endBlock() {
	b, c := &in.block, in.conn
	const response = 32
	invalid := b.invalid || b.badPseudo || b.pseudo&response != 0 && b.pseudo != response
	switch {
	case invalid:
		in.reset(b.id)
		return
	case b.id%2 == 0:
		in.ended = true
		return
	case b.id <= in.newest:
		c.change(b.id, func(s *stream) {
			if s.ended || !b.endStream || b.pseudo != 0 {
				in.breaks(s)
			} else {
				in.end(s)
			}
		})
		return
	}
	in.newest = b.id
	if b.circular {
		c.watch.Refuse(telemetry.RefusedH2Error)
		return
	}
	s := stream{declared: b.length, ended: b.endStream, early: !c.watch.Late()}
	if b.endStream {
		s.declared = -1 // the handler rejects a length that the end contradicts
	}
	switch {
	case b.truncated:
		s.refusal = ownHeaderLarge
	case b.specific:
		s.refusal = ownBadRequest
	}
	c.open(b.id, s)
}
