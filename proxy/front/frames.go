package front

// frameCutter cuts a direction of an HTTP/2 connection into its frames (RFC 9113 §4.1). The bytes may come
// in pieces of any size. It keeps the head of a frame and as much of its payload as its user asks for.
type frameCutter struct {
	head    [9]byte
	have    int // bytes of head that have come
	left    int // bytes of the payload that have not
	payload []byte
}

// The types of frames that pace looks into, and the flags that change what they mean (RFC 9113 §6).
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

func (f *frameCutter) kind() byte         { return f.head[3] }
func (f *frameCutter) has(flag byte) bool { return f.head[4]&flag != 0 }
func (f *frameCutter) length() int        { return int(f.head[0])<<16 | int(f.head[1])<<8 | int(f.head[2]) }
func (f *frameCutter) stream() uint32     { return number(f.head[5:]) &^ (1 << 31) }

// number reads the first four bytes of b.
func number(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// next takes bytes from b, which must not be empty, and returns those that it did not take. It reports
// whether a frame is whole. keep says how much of a payload is kept.
func (f *frameCutter) next(b []byte, keep func(*frameCutter) int) (rest []byte, whole bool) {
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
