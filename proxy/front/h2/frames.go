package h2

// frameReader finds the frames in one direction of an HTTP/2 connection (RFC 9113 §4.1). The bytes may come in
// pieces of any size. It keeps the head of a frame, and as much of its payload as its user asks for.
type frameReader struct {
	head    [9]byte
	have    int // bytes of head that have come
	left    int // bytes of the payload that are still to come
	payload []byte
}

// LargestFrame is the largest payload that pace accepts: the smallest limit that HTTP/2 allows.
const LargestFrame = 16384

// The types of frames that pace reads, and the flags that change their meaning (RFC 9113 §6).
const (
	dataFrame         = 0
	headersFrame      = 1
	priorityFrame     = 2
	resetFrame        = 3
	goAwayFrame       = 7
	windowUpdateFrame = 8
	continuationFrame = 9

	endStream   = 0x1
	endHeaders  = 0x4
	padded      = 0x8
	prioritized = 0x20
)

func (f *frameReader) kind() byte         { return f.head[3] }
func (f *frameReader) has(flag byte) bool { return f.head[4]&flag != 0 }
func (f *frameReader) length() int        { return int(f.head[0])<<16 | int(f.head[1])<<8 | int(f.head[2]) }
func (f *frameReader) stream() uint32     { return number(f.head[5:]) &^ (1 << 31) }

// number reads the first four bytes of b.
func number(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// next takes bytes from b, which must not be empty, and returns those that it did not take. It reports
// whether a frame is whole. keep returns how much of the frame's payload is to be kept.
func (f *frameReader) next(b []byte, keep func(*frameReader) int) (rest []byte, whole bool) {
	if f.have < len(f.head) {
		n := copy(f.head[f.have:], b)
		b, f.have = b[n:], f.have+n
		if f.have < len(f.head) {
			return nil, false
		}
		f.left, f.payload = f.length(), f.payload[:0]
	}
	n := min(f.left, len(b))
	if room := keep(f) - len(f.payload); room > 0 {
		f.payload = append(f.payload, b[:min(n, room)]...)
	}
	b, f.left = b[n:], f.left-n
	if f.left > 0 {
		return nil, false
	}
	f.have = 0
	return b, true
}

// ShutdownNotice is the GOAWAY with which a server announces its end (RFC 9113 §6.8): no error, and every stream
// still gets its response. net/http sends another one, with the last stream, at the end.
var ShutdownNotice = []byte{
	0, 0, 8, goAwayFrame, 0, 0, 0, 0, 0, // length, type, flags, stream
	0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0, // last stream, NO_ERROR
}
