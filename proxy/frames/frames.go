// Package frames finds the frames in one direction of an HTTP/2 connection that somebody else serves, so that what
// goes over it can be read along. It knows bytes and ids of streams, and nothing of what they mean to a request.
package frames

// Reader finds the frames in one direction of an HTTP/2 connection (RFC 9113 §4.1). The bytes may come in
// pieces of any size. It keeps the head of a frame, and as much of its payload as its user asks for.
type Reader struct {
	head    [9]byte
	have    int    // bytes of head that have come
	left    int    // bytes of the payload that are still to come
	Payload []byte // as much of it as its user asked for
}

// The types of frames that are read, and the flags that change their meaning (RFC 9113 §6).
const (
	Data         = 0
	Headers      = 1
	Priority     = 2
	Reset        = 3
	Settings     = 4
	Ping         = 6
	GoAway       = 7
	WindowUpdate = 8
	Continuation = 9

	EndStream   = 0x1
	Ack         = 0x1 // of SETTINGS and PING
	EndHeaders  = 0x4
	Padded      = 0x8
	Prioritized = 0x20
)

// Kind, Has, Length and Stream are what the head of the frame says: its type, whether it has a flag, the length of its
// payload, and the stream it belongs to. They are valid once HasHead, and until the next frame's head begins.
func (f *Reader) Kind() byte         { return f.head[3] }
func (f *Reader) Has(flag byte) bool { return f.head[4]&flag != 0 }
func (f *Reader) Length() int        { return int(f.head[0])<<16 | int(f.head[1])<<8 | int(f.head[2]) }
func (f *Reader) Stream() uint32     { return Number(f.head[5:]) &^ (1 << 31) }

// Came returns how many bytes of the frame's payload have come. It is valid for as long as what its head says.
func (f *Reader) Came() int { return f.Length() - f.left }

// HasHead reports whether the head of the present frame has come, and not yet all of its payload.
func (f *Reader) HasHead() bool { return f.have == len(f.head) }

// BetweenFrames reports whether the last frame is whole, and nothing of the next one has come.
func (f *Reader) BetweenFrames() bool { return f.have == 0 }

// Number reads the first four bytes of b.
func Number(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// Next takes bytes from b, which must not be empty, and returns those that it did not take. It reports
// whether a frame is whole. keep returns how much of the frame's payload is to be kept.
func (f *Reader) Next(b []byte, keep func(*Reader) int) (rest []byte, whole bool) {
	if f.have < len(f.head) {
		n := copy(f.head[f.have:], b)
		b, f.have = b[n:], f.have+n
		if f.have < len(f.head) {
			return nil, false
		}
		f.left, f.Payload = f.Length(), f.Payload[:0]
	}
	n := min(f.left, len(b))
	if room := keep(f) - len(f.Payload); room > 0 {
		f.Payload = append(f.Payload, b[:min(n, room)]...)
	}
	b, f.left = b[n:], f.left-n
	if f.left > 0 {
		return nil, false
	}
	f.have = 0
	return b, true
}
