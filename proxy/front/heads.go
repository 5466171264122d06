package front

import (
	"bytes"
	"strings"
	"sync"
)

// heads reads along what a client sends by HTTP/1, for what net/http does not tell the handler: it
// deletes a Content-Length beside a Transfer-Encoding, and a Transfer-Encoding of HTTP/1.0. To know where
// the next header begins it follows the framing of the bodies. It also takes out empty lines before a
// request line, which net/http refuses (RFC 9112 §2.2).
//
//	between ─▶ requestLine ─▶ fields ─┬▶ between
//	                                ├▶ content ─▶ between
//	                                └▶ chunkSize ─▶ chunkData ─▶ chunkEnd ─▶ chunkSize … trailers ─▶ between
//
// Whatever it cannot follow makes it blind: then the connection ends with the request that did it.
type heads struct {
	mu    sync.Mutex // one goroutine reads at a time, but the handler asks beside it
	at    place
	line  [48]byte // how the present line begins, without its end
	size  int      // of the present line so far
	last  [9]byte  // with which bytes the request line ended so far
	left  int64    // due of a body or chunk
	blank int      // bytes of empty lines before this request

	old     bool  // HTTP/1.0
	coded   bool  // there is a Transfer-Encoding
	length  int64 // of the Content-Length; -1: none
	unknown bool  // a Content-Length could not be read
	upgrade bool  // the bytes that follow may be of another protocol

	total  int // bytes passed on, as long as they are few
	first  byte
	lines  int  // that are whole
	count  int  // headers that are whole
	bad    int  // number of the request after which the connection ends; 0: none yet
	fault  bool // that one is refused
	unseen bool // bytes have come in blindness
}

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

// after returns what follows the data of a body or chunk.
func (p place) after() place {
	if p == chunkData {
		return chunkEnd
	}
	return between
}

// maxBlank bounds the empty lines before a request line, in bytes.
const maxBlank = 16

// read takes the next bytes that have come. It returns how many of them there are without the empty
// lines before a request line, which it takes out of b.
func (h *heads) read(b []byte) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	kept := len(b)
	h.unseen = h.unseen || h.at == blind
	for rest := b; len(rest) > 0 && h.at != blind; {
		if h.at == between {
			n := 0
			for n < len(rest) && (rest[n] == '\r' || rest[n] == '\n') && h.blank < maxBlank {
				n++
				h.blank++
			}
			if n > 0 {
				copy(rest, rest[n:])
				rest, kept = rest[:len(rest)-n], kept-n
				continue
			}
			h.begin()
		}
		rest = rest[h.step(rest):]
		h.unseen = h.at == blind && len(rest) > 0
	}
	if h.total == 0 && kept > 0 {
		h.first = b[0]
	}
	h.total = min(h.total+kept, 1<<20)
	return kept
}

// skip notes that n bytes of a body went by unseen.
func (h *heads) skip(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.at == content && int64(n) <= h.left {
		h.step(elsewhere[:n])
	} else if h.at != blind {
		h.lose()
	}
}

func (h *heads) begin() {
	h.at, h.size, h.blank = requestLine, 0, 0
	h.old, h.coded, h.length, h.unknown, h.upgrade = false, false, -1, false, false
	h.last = [9]byte{}
}

// step takes the next bytes of one place, and returns how many.
func (h *heads) step(b []byte) int {
	if h.at == content || h.at == chunkData {
		n := int(min(h.left, int64(len(b))))
		if h.left -= int64(n); h.left == 0 {
			h.at = h.at.after()
		}
		return n
	}
	n := bytes.IndexByte(b, '\n')
	part := b
	if n >= 0 {
		part = b[:n]
	}
	if h.size < len(h.line) {
		copy(h.line[h.size:], part)
	}
	if h.at == requestLine {
		if len(part) >= len(h.last) {
			copy(h.last[:], part[len(part)-len(h.last):])
		} else {
			copy(h.last[:], h.last[len(part):])
			copy(h.last[len(h.last)-len(part):], part)
		}
	}
	h.size += len(part)
	if n < 0 {
		return len(b)
	}
	h.endLine()
	h.size = 0
	return n + 1
}

// endLine judges a line that is whole.
func (h *heads) endLine() {
	h.lines++
	line := h.line[:min(h.size, len(h.line))]
	if h.size <= len(h.line) {
		line = bytes.TrimSuffix(line, []byte("\r"))
	}
	switch h.at {
	case requestLine:
		version := bytes.TrimSuffix(h.last[:], []byte("\r"))
		h.old = bytes.HasSuffix(version, []byte("HTTP/1.0"))
		h.at = fields
		if bytes.HasPrefix(line, []byte("PRI * ")) {
			h.at = blind // HTTP/2
		}
	case fields:
		if len(line) == 0 {
			h.endHead()
		} else {
			h.field(line)
		}
	case chunkSize:
		digits, _, _ := bytes.Cut(line, []byte(";"))
		n := hexadecimal(bytes.Trim(digits, " \t\r"))
		switch {
		case n < 0:
			h.lose() // net/http refuses it, too
		case n == 0:
			h.at = trailers
		default:
			h.at, h.left = chunkData, n
		}
	case chunkEnd:
		h.at = chunkSize
	case trailers:
		if len(line) == 0 {
			h.at = between
		}
	}
}

// field notes what a field says of the framing.
func (h *heads) field(line []byte) {
	if c := line[0] | 0x20; c != 'c' && c != 't' && c != 'u' {
		return
	}
	name, value, _ := bytes.Cut(line, []byte(":"))
	switch {
	case bytes.EqualFold(name, []byte("Content-Length")):
		h.length = decimal(value)
		h.unknown = h.unknown || h.length < 0 || h.size > len(h.line)
	case bytes.EqualFold(name, []byte("Transfer-Encoding")):
		h.coded = true
	case bytes.EqualFold(name, []byte("Upgrade")):
		h.upgrade = true
	}
}

// endHead judges a header that is whole.
func (h *heads) endHead() {
	h.count++
	switch {
	case h.coded && (h.old || h.length >= 0 || h.unknown): // of HTTP/1.0, or beside a length
		h.fault = true
		h.lose()
	case h.unknown:
		h.lose()
	case h.upgrade:
		h.at = blind // until resume
	case h.coded:
		h.at = chunkSize
	case h.length > 0:
		h.at, h.left = content, h.length
	default:
		h.at = between
	}
}

// lose ends the reading along, at the present request.
func (h *heads) lose() {
	h.at = blind
	if h.bad == 0 {
		h.bad = max(h.count, 1)
	}
}

// framing says of the nth request on the connection whether its framing is at fault, and whether the
// connection may stay open after it.
func (h *heads) framing(n int) (fault, last bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	last = h.bad != 0 && n >= h.bad || h.at == blind && n > h.count
	return h.fault && n == h.bad, last
}

// resume reads on after a request for an upgrade that got an ordinary response. If the client has sent
// anything since, nobody knows where the next header begins, and the next request is the last.
func (h *heads) resume() {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.at != blind || h.bad != 0 || !h.upgrade:
	case h.unseen:
		h.bad = h.count + 1
	default:
		h.at = between
	}
}

// malformed reports whether what has come cannot be a request, though it is shorter than what net/http
// waits for, the beginning of HTTP/2's preface: it has a line that is too short, or begins no method.
func (h *heads) malformed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.total > 0 && h.total < len(prefaceStart) && (h.lines > 0 || !isTokenByte(h.first))
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
