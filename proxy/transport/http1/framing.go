package http1

import (
	"bytes"
	"io"
)

// Bounds of chunked framing. A chunk line holds a size of at most 16 digits and extensions that
// nobody uses; slack is how much framing beyond 16 bytes a chunk and twice the data may add up
// to (net/http allows twice as much).
const (
	maxChunkLine = 1 << 10
	maxSlack     = 8 << 10
)

// framing of a body (RFC 9112 §6.3), and the steps within a chunked one.
type step uint8

const (
	whole     step = iota // nothing is due: there is no body, or all of it was returned
	identity              // left bytes are due
	untilEOF              // the connection's end ends the body
	chunkSize             // a line with the next chunk's size is due
	chunkData             // left bytes of a chunk are due
	chunkEnd              // the CRLF after a chunk's data is due
	trailer               // trailer fields and a blank line are due
)

// incoming cuts a response's body out of what was read. It does no input or output itself: buf[pos:end]
// is what has been read and not yet returned.
type incoming struct {
	buf      []byte // nil while nothing is read; from the pools
	pos, end int
	large    bool // a buffer was filled: the next is a large one
	step     step
	left     int64
	slack    int64
	scanned  int // bytes of buf[pos:end] known to hold no end of the trailer
	most     int // bytes that the trailer may have
	trailer  head
}

// start sets the framing that h asks for in the answer to a request with this method, with a
// trailer of most bytes.
func (b *incoming) start(h *head, method string, most int) {
	b.left, b.slack, b.most = 0, 0, most
	b.trailer.fields = b.trailer.fields[:0]
	switch {
	case method == "HEAD" || h.status < 200 || h.status == 204 || h.status == 304 || h.length == 0:
		b.step = whole
	case h.chunked:
		b.step = chunkSize
	case h.length > 0:
		b.step, b.left = identity, h.length
	default:
		b.step = untilEOF
	}
}

// length is what the framing says of the body that is to come: -1 unknown.
func (b *incoming) length() int64 {
	switch b.step {
	case whole, identity:
		return b.left
	}
	return -1
}

// advance consumes framing as far as it was read. It reports whether next can return without
// reading more.
func (b *incoming) advance() (ready bool, err error) {
	for {
		have := b.end - b.pos
		switch b.step {
		case whole:
			return true, nil
		case identity, chunkData, untilEOF:
			return have > 0, nil
		case chunkSize:
			n, err := b.readSize(b.buf[b.pos:b.end])
			if n == 0 || err != nil {
				return false, err
			}
			b.pos += n
		case chunkEnd:
			if have < 2 {
				return false, nil
			}
			if b.buf[b.pos] != '\r' || b.buf[b.pos+1] != '\n' {
				return false, malformed("chunk is longer than its size")
			}
			b.pos += 2
			b.step = chunkSize
		case trailer:
			n, err := b.readTrailer(b.buf[b.pos:b.end])
			if n == 0 || err != nil {
				return false, err
			}
			b.pos += n
			b.step = whole
		}
	}
}

// next returns body bytes after advance was ready; io.EOF at the end. They are valid until more
// is read.
func (b *incoming) next() ([]byte, error) {
	if b.step == whole {
		return nil, io.EOF
	}
	p := b.buf[b.pos:b.end]
	if b.step == untilEOF {
		b.pos = b.end
		return p, nil
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	b.consume(int64(len(p)))
	b.pos += len(p)
	return p, nil
}

// consume notes that n bytes of data have gone out, from buf or by the kernel's own ways.
func (b *incoming) consume(n int64) {
	b.left -= n
	switch {
	case b.left > 0:
	case b.step == identity:
		b.step = whole
	case b.step == chunkData:
		b.step = chunkEnd
	}
}

// readSize reads a chunk's size line at the start of p and returns its length, 0 if it has not
// all come. Blanks may follow the size, with or without an extension behind them (RFC 9112 §7.1.1);
// net/http takes them only without. No blank before the size, no sign, no bare LF.
func (b *incoming) readSize(p []byte) (int, error) {
	n := bytes.IndexByte(p, '\n') + 1
	if n == 0 && len(p) <= maxChunkLine {
		return 0, nil
	}
	if n == 0 || n > maxChunkLine {
		return 0, malformed("chunk size line is too long")
	}
	if n < 2 || p[n-2] != '\r' {
		return 0, malformed("chunk size line ends with bare LF")
	}
	digits, extension, extended := bytes.Cut(p[:n-2], []byte{';'})
	size, ok := parseHex(bytes.TrimRight(digits, " \t"))
	if !ok || extended && !validValue(extension) {
		return 0, malformed("chunk size")
	}
	if b.slack = max(0, b.slack+int64(n)-16-2*min(size, 1<<32)); b.slack > maxSlack {
		return 0, malformed("more chunk framing than data")
	}
	if b.left, b.step = size, chunkData; size == 0 {
		b.step, b.scanned = trailer, 0
	}
	return n, nil
}

// parseHex reads 1 to 16 hexadecimal digits, nothing else, that fit an int64.
func parseHex(p []byte) (n int64, ok bool) {
	if len(p) == 0 || len(p) > 16 {
		return 0, false
	}
	for _, c := range p {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		n = n<<4 | int64(c)
	}
	return n, n >= 0
}

// readTrailer reads the trailer section at the start of p and returns its length, 0 if it has
// not all come. Every line must end in CRLF, and none may be framing.
func (b *incoming) readTrailer(p []byte) (int, error) {
	if len(p) < 2 {
		return 0, nil
	}
	if p[0] == '\r' && p[1] == '\n' {
		return 2, nil
	}
	found := bytes.Index(p[b.scanned:], []byte("\r\n\r\n"))
	n := b.scanned + found + 4
	switch {
	case found < 0 && len(p) <= b.most:
		b.scanned = max(0, len(p)-3)
		return 0, nil
	case found < 0 || n > b.most:
		return 0, malformed("trailer is too large")
	}
	if bytes.Count(p[:n], []byte("\n")) != bytes.Count(p[:n], []byte("\r\n")) {
		return 0, malformed("bare LF in trailer")
	}
	if err := b.trailer.parseFields(p[:n], 0); err != nil {
		return 0, err
	}
	for _, f := range b.trailer.fields {
		if framing(f.Name) {
			return 0, malformed("framing in trailer")
		}
	}
	return n, nil
}
