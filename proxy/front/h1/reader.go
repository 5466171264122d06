package h1

import (
	"bytes"
	"strings"
	"sync"
)

// Reader reads along the requests of one connection. It finds out about each header what net/http does not
// tell the handler: it deletes a Content-Length that stands together with a Transfer-Encoding, and the
// Transfer-Encoding of an HTTP/1.0 request. To know where the next header begins, the reader follows the framing
// of the bodies. It also removes empty lines before a request line, which net/http refuses (RFC 9112 §2.2).
//
//	between ─▶ requestLine ─▶ fields ─┬▶ between
//	                                ├▶ content ─▶ between
//	                                └▶ chunkSize ─▶ chunkData ─▶ chunkEnd ─▶ chunkSize … trailers ─▶ between
//
// When it cannot follow the bytes it becomes blind, and the connection ends with the request that caused it.
// The zero value is ready. Safe for concurrent use, but only one goroutine may call Read and Skip at a time.
type Reader struct {
	Late func() bool // says whether a request whose header is whole at this moment comes too late; nil: it does

	mu      sync.Mutex // one goroutine reads, while the handler's asks
	at      place
	line    [48]byte // the beginning of the present line, without its end
	size    int      // of the present line so far
	last    [9]byte  // the last bytes of the request line so far
	left    int64    // how many bytes of the body or chunk are still to come
	skipped int      // bytes of empty lines before this request

	old     bool  // HTTP/1.0
	coded   bool  // there is a Transfer-Encoding
	length  int64 // of the Content-Length; -1: none
	unknown bool  // a Content-Length could not be read
	upgrade bool  // the bytes that follow may be of another protocol

	total  int  // bytes passed on; stops growing at maxTotal
	first  byte // that was passed on
	lines  int  // that are whole
	count  int  // headers that are whole
	early  int  // headers that were whole before it was too late
	bad    int  // number of the request after which the connection ends; 0: none yet
	fault  bool // that request must be rejected
	unseen bool // bytes have come while the reader was blind
}

// maxTotal bounds Reader.total, of which only small values matter.
const maxTotal = 1 << 20

// place is what the next byte belongs to.
type place uint8

const (
	between place = iota
	requestLine
	fields
	content
	chunkSize
	chunkData
	chunkEnd
	trailers
	blind
)

// after returns the place that follows the data of a body or chunk.
func (p place) after() place {
	if p == chunkData {
		return chunkEnd
	}
	return between
}

// maxSkipped is how many bytes of empty lines before a request line are removed.
const maxSkipped = 16

// Read takes the next bytes that have come. It removes empty lines before a request line from b, and returns
// how many bytes are left.
func (r *Reader) Read(b []byte) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := len(b)
	r.unseen = r.unseen || r.at == blind
	for rest := b; len(rest) > 0 && r.at != blind; {
		if r.at == between {
			n := 0
			for n < len(rest) && (rest[n] == '\r' || rest[n] == '\n') && r.skipped < maxSkipped {
				n++
				r.skipped++
			}
			if n > 0 {
				copy(rest, rest[n:])
				rest, kept = rest[:len(rest)-n], kept-n
				continue
			}
			r.begin()
		}
		rest = rest[r.step(rest):]
		r.unseen = r.at == blind && len(rest) > 0
	}
	if r.total == 0 && kept > 0 {
		r.first = b[0]
	}
	r.total = min(r.total+kept, maxTotal)
	return kept
}

// Skip notes that n bytes of a body were moved past the reader.
func (r *Reader) Skip(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at == content && int64(n) <= r.left {
		r.advance(n)
	} else if r.at != blind {
		r.lose()
	}
}

func (r *Reader) begin() {
	r.at, r.size, r.skipped = requestLine, 0, 0
	r.old, r.coded, r.length, r.unknown, r.upgrade = false, false, -1, false, false
	r.last = [9]byte{}
}

// step takes the first bytes of b, those that belong to one place, and returns how many they are.
func (r *Reader) step(b []byte) int {
	if r.at == content || r.at == chunkData {
		n := int(min(r.left, int64(len(b))))
		r.advance(n)
		return n
	}
	n := bytes.IndexByte(b, '\n')
	part := b
	if n >= 0 {
		part = b[:n]
	}
	if r.size < len(r.line) {
		copy(r.line[r.size:], part)
	}
	if r.at == requestLine {
		if len(part) >= len(r.last) {
			copy(r.last[:], part[len(part)-len(r.last):])
		} else {
			copy(r.last[:], r.last[len(part):])
			copy(r.last[len(r.last)-len(part):], part)
		}
	}
	r.size += len(part)
	if n < 0 {
		return len(b)
	}
	r.endLine()
	r.size = 0
	return n + 1
}

// advance takes n bytes of a body or chunk, which has as many left.
func (r *Reader) advance(n int) {
	if r.left -= int64(n); r.left == 0 {
		r.at = r.at.after()
	}
}

// endLine looks at a line that is whole.
func (r *Reader) endLine() {
	r.lines++
	line := r.line[:min(r.size, len(r.line))]
	if r.size <= len(r.line) {
		line = bytes.TrimSuffix(line, []byte("\r"))
	}
	switch r.at {
	case requestLine:
		version := bytes.TrimSuffix(r.last[:], []byte("\r"))
		r.old = bytes.HasSuffix(version, []byte("HTTP/1.0"))
		r.at = fields
		if bytes.HasPrefix(line, []byte("PRI * ")) {
			r.at = blind // HTTP/2
		}
	case fields:
		if len(line) == 0 {
			r.endHeader()
		} else {
			r.field(line)
		}
	case chunkSize:
		digits, _, _ := bytes.Cut(line, []byte(";"))
		n := hexadecimal(bytes.Trim(digits, " \t\r"))
		switch {
		case n < 0:
			r.lose() // net/http refuses it too
		case n == 0:
			r.at = trailers
		default:
			r.at, r.left = chunkData, n
		}
	case chunkEnd:
		r.at = chunkSize
	case trailers:
		if len(line) == 0 {
			r.at = between
		}
	}
}

// field notes what a field says about the framing.
func (r *Reader) field(line []byte) {
	if c := line[0] | 0x20; c != 'c' && c != 't' && c != 'u' {
		return
	}
	name, value, _ := bytes.Cut(line, []byte(":"))
	switch {
	case bytes.EqualFold(name, []byte("Content-Length")):
		r.length = decimal(value)
		r.unknown = r.unknown || r.length < 0 || r.size > len(r.line)
	case bytes.EqualFold(name, []byte("Transfer-Encoding")):
		r.coded = true
	case bytes.EqualFold(name, []byte("Upgrade")):
		r.upgrade = true
	}
}

// endHeader decides what follows a header that is whole.
func (r *Reader) endHeader() {
	r.count++
	if r.Late != nil && !r.Late() {
		r.early = r.count
	}
	switch {
	case r.coded && (r.old || r.length >= 0 || r.unknown): // of HTTP/1.0, or together with a length
		r.fault = true
		r.lose()
	case r.unknown:
		r.lose()
	case r.upgrade:
		r.at = blind // until resume
	case r.coded:
		r.at = chunkSize
	case r.length > 0:
		r.at, r.left = content, r.length
	default:
		r.at = between
	}
}

// lose makes the reader blind, because of the present request.
func (r *Reader) lose() {
	r.at = blind
	if r.bad == 0 {
		r.bad = max(r.count, 1)
	}
}

// Framing reports whether the framing of the nth request on the connection is at fault, and whether it must be
// the last request.
func (r *Reader) Framing(n int) (fault, last bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last = r.bad != 0 && n >= r.bad || r.at == blind && n > r.count
	return r.fault && n == r.bad, last
}

// Early reports whether the header of the nth request on the connection was whole before it was too late.
func (r *Reader) Early(n int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return n <= r.early
}

// Whole reports whether the nth request on the connection has come with its whole body.
func (r *Reader) Whole(n int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return n < r.count || n == r.count && r.at == between
}

// Resume makes the reader go on after a request for an upgrade that got an ordinary response. If the client has
// sent anything since, the reader cannot know where the next header begins, and the next request is the last.
func (r *Reader) Resume() {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.at != blind || r.bad != 0 || !r.upgrade:
	case r.unseen:
		r.bad = r.count + 1
	default:
		r.at = between
	}
}

// Malformed reports whether the bytes that have come cannot begin a request, although net/http still waits for
// more of them, to compare them with the preface of HTTP/2: a line is too short, or the first byte is not one of a
// method.
func (r *Reader) Malformed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total > 0 && r.total < len(prefaceStart) && (r.lines > 0 || !isTokenByte(r.first))
}

const prefaceStart = "PRI * HTTP/2.0"

func isTokenByte(b byte) bool {
	return 'a' <= b|0x20 && b|0x20 <= 'z' || '0' <= b && b <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", b) >= 0
}

// hexadecimal reads a number of at most 15 digits, or -1.
func hexadecimal(b []byte) (n int64) {
	if len(b) == 0 || len(b) > 15 {
		return -1
	}
	for _, c := range b {
		switch {
		case '0' <= c && c <= '9':
			n = n<<4 + int64(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			n = n<<4 + int64(c|0x20-'a'+10)
		default:
			return -1
		}
	}
	return n
}

// decimal reads a decimal of at most 18 digits, or -1.
func decimal(b []byte) (n int64) {
	if b = bytes.Trim(b, " \t"); len(b) == 0 || len(b) > 18 {
		return -1
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return -1
		}
		n = 10*n + int64(c-'0')
	}
	return n
}
