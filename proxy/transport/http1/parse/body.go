package parse

import (
	"bytes"
	"io"

	"pace/proxy/transport"
)

// Limits of chunked framing. A line before a chunk has a size of at most 16 digits, and extensions that nobody
// uses. maxSlack limits how many bytes of framing may come beyond 16 for each chunk and twice the data
// (net/http allows twice as much).
const (
	maxChunkLine = 1 << 10
	maxSlack     = 8 << 10
)

// step is the framing of a body (RFC 9112 §6.3), and what is due within a chunked one.
//
//	            ┌──────────────────────────────┐
//	            ▼                              │
//	start ─▶ chunkSize ─▶ chunkData ─▶ chunkEnd
//	  │         └── size 0 ──▶ trailer ──┐
//	  ├────▶ identity ───────────────────┤
//	  ├────▶ untilEOF ── EndOfInput ─────┤
//	  └──────────────────────────────────┴──▶ whole
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

// Body cuts a response's body out of what was read from the connection. The caller keeps the bytes: it passes
// those that it has not used yet, and drops as many as it is told. The zero value is a body that is whole.
type Body struct {
	step    step
	left    int64 // bytes due in this step
	slack   int64 // bytes of framing that no data has made up for
	scanned int   // bytes of the trailer that are known not to hold its end
	limit   int   // bytes that the trailer may have
	trailer Head  // only its fields are used
}

// Start begins the body of a response with header h to a request with this method. The trailer may have limit
// bytes.
func (b *Body) Start(h *Head, method string, limit int) {
	b.left, b.slack, b.limit = 0, 0, limit
	b.trailer.Fields = b.trailer.Fields[:0]
	switch {
	case method == "HEAD" || h.Status < 200 || h.Status == 204 || h.Status == 304 || h.Length == 0:
		b.step = whole
	case h.Chunked:
		b.step = chunkSize
	case h.Length > 0:
		b.step, b.left = identity, h.Length
	default:
		b.step = untilEOF
	}
}

// Length returns what the framing says of the body that is to come; -1: unknown.
func (b *Body) Length() int64 {
	switch b.step {
	case whole, identity:
		return b.left
	}
	return -1
}

// IsWhole reports whether the whole body was returned.
func (b *Body) IsWhole() bool { return b.step == whole }

// EndsWithInput reports whether only the end of the connection ends the body.
func (b *Body) EndsWithInput() bool { return b.step == untilEOF }

// EndOfInput notes that the connection has ended, and reports whether that is the body's end.
func (b *Body) EndOfInput() bool {
	if b.step == untilEOF {
		b.step = whole
	}
	return b.step == whole
}

// Stop makes the body whole: nothing more of it will be read.
func (b *Body) Stop() { b.step = whole }

// Plain returns how many bytes of the connection are the rest of the body, without any framing between them.
// It returns 0 if that is not known.
func (b *Body) Plain() int64 {
	if b.step == identity {
		return b.left
	}
	return 0
}

// Trailer returns the fields of the trailer, once the body is whole.
func (b *Body) Trailer() []transport.Field { return b.trailer.Fields }

// Advance reads framing from the start of p, the bytes that were read and not used. It used n of them. ready
// says that Next can return without further bytes.
func (b *Body) Advance(p []byte) (n int, ready bool, err error) {
	for {
		rest := p[n:]
		used := 0
		switch b.step {
		case whole:
			return n, true, nil
		case identity, chunkData, untilEOF:
			return n, len(rest) > 0, nil
		case chunkSize:
			used, err = b.readSize(rest)
		case chunkEnd:
			used, err = b.readChunkEnd(rest)
		case trailer:
			used, err = b.readTrailer(rest)
		}
		if used == 0 || err != nil {
			return n, false, err
		}
		n += used
	}
}

// Next returns the bytes of the body at the start of p, after Advance was ready. At the end of the body it
// returns io.EOF.
func (b *Body) Next(p []byte) ([]byte, error) {
	if b.step == whole {
		return nil, io.EOF
	}
	if b.step == untilEOF {
		return p, nil
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	b.Consume(int64(len(p)))
	return p, nil
}

// Consume notes that n bytes of data were used: by Next, or by the kernel, which moved them from connection to
// connection.
func (b *Body) Consume(n int64) {
	b.left -= n
	switch {
	case b.left > 0:
	case b.step == identity:
		b.step = whole
	case b.step == chunkData:
		b.step = chunkEnd
	}
}

// readSize reads a chunk's size line at the start of p and returns its length, or 0 if it is not all there.
// Blanks may follow the size, with or without an extension after them (RFC 9112 §7.1.1); net/http takes them
// only without one. A blank before the size, a sign, and a bare LF are errors.
func (b *Body) readSize(p []byte) (int, error) {
	n := bytes.IndexByte(p, '\n') + 1
	if n == 0 && len(p) <= maxChunkLine {
		return 0, nil
	}
	if n == 0 || n > maxChunkLine {
		return 0, Malformed("chunk size line is too long")
	}
	if n < 2 || p[n-2] != '\r' {
		return 0, Malformed("chunk size line ends with bare LF")
	}
	digits, extension, extended := bytes.Cut(p[:n-2], []byte{';'})
	size, ok := parseHex(bytes.TrimRight(digits, " \t"))
	if !ok || extended && !IsText(extension) {
		return 0, Malformed("chunk size")
	}
	if b.slack = max(0, b.slack+int64(n)-16-2*min(size, 1<<32)); b.slack > maxSlack {
		return 0, Malformed("more chunk framing than data")
	}
	if b.left, b.step = size, chunkData; size == 0 {
		b.step, b.scanned = trailer, 0
	}
	return n, nil
}

// parseHex returns the number that p says. ok is false unless p is 1 to 16 hexadecimal digits that fit an int64.
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

// readChunkEnd reads the CRLF after a chunk's data and returns its length, or 0 if it is not all there.
func (b *Body) readChunkEnd(p []byte) (int, error) {
	if len(p) < 2 {
		return 0, nil
	}
	if p[0] != '\r' || p[1] != '\n' {
		return 0, Malformed("chunk is longer than its size")
	}
	b.step = chunkSize
	return 2, nil
}

// readTrailer reads the trailer section at the start of p and returns its length, or 0 if it is not all there.
// Every line must end in CRLF, and no field may be framing.
func (b *Body) readTrailer(p []byte) (int, error) {
	if len(p) < 2 {
		return 0, nil
	}
	if p[0] == '\r' && p[1] == '\n' {
		b.step = whole
		return 2, nil
	}
	found := bytes.Index(p[b.scanned:], []byte("\r\n\r\n"))
	n := b.scanned + found + 4
	switch {
	case found < 0 && len(p) <= b.limit:
		b.scanned = max(0, len(p)-3)
		return 0, nil
	case found < 0 || n > b.limit:
		return 0, Malformed("trailer is too large")
	}
	if bytes.Count(p[:n], []byte("\n")) != bytes.Count(p[:n], []byte("\r\n")) {
		return 0, Malformed("bare LF in trailer")
	}
	if err := b.trailer.parseFields(p[:n], 0); err != nil {
		return 0, err
	}
	for _, f := range b.trailer.Fields {
		if IsFraming(f.Name) {
			return 0, Malformed("framing in trailer")
		}
	}
	b.step = whole
	return n, nil
}
