// Package parse reads an HTTP/1.1 response from bytes: its header ([Head]), and its body with the framing that
// the header announced ([Body]). Where it differs from net/http it is stricter, since a response that two
// programs read differently lets one client read the response of another.
//
// It must not know connections, buffers, time or goroutines: the caller passes bytes, and learns what they mean
// and how many of them were used.
package parse

import (
	"bytes"
	"strings"

	"pace/proxy/transport"
)

// maxFields is how many fields a header may have. In memory a field takes eight times the bytes of the
// shortest one ("a:\r\n"), so the limit on a header's bytes would not be enough.
const maxFields = 1000

// ErrManyFields is the error for a header with more than maxFields fields.
var ErrManyFields = Malformed("too many fields")

// Malformed returns an error that says what was not acceptable in a response.
func Malformed(what string) error { return transport.NewFault("malformed response: " + what) }

// Head is a parsed response header. [Head.Parse] overwrites it, and uses the arrays behind its slices again.
type Head struct {
	Status    int
	HTTP10    bool
	Fields    []transport.Field
	Length    int64  // of the Content-Length field, -1: none
	Chunked   bool   // Transfer-Encoding: chunked
	Close     bool   // Connection: close
	KeepAlive bool   // Connection: keep-alive
	Upgrade   string // value of the Upgrade fields

	// PersistentLogin is "Persistent-Auth: true", by which IIS says that the login holds for the whole
	// connection.
	PersistentLogin bool

	spans []span // of parseFields; kept only for its array
}

// span is where a field is in its block: its name is from:colon, its value start:end.
type span struct{ from, colon, start, end int }

// HeadEnd returns the length of the header block at the start of b, with the blank line that ends it. It
// returns 0 if that line has not come yet. It looks only at lines that end at from or later.
func HeadEnd(b []byte, from int) int {
	for i := from; ; {
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			return 0
		}
		i += n + 1
		switch rest := b[i:]; {
		case len(rest) > 0 && rest[0] == '\n':
			return i + 1
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return i + 2
		}
	}
}

// Plausible reports whether b can be the start of a status line. So a backend that speaks another protocol is
// found out by its first bytes, and not by a blank line that may never come.
func Plausible(b []byte) bool {
	const version = "HTTP/1."
	n := min(len(b), len(version))
	return string(b[:n]) == version[:n]
}

// Parse reads b, a whole block as cut by [HeadEnd], and keeps no part of it. A bare LF ends a line (RFC 9112
// §2.2), as in net/http. Parse rewrites names to canonical form in b itself, so that one copy of the block
// serves all fields.
func (h *Head) Parse(b []byte) error {
	line, next := cutLine(b, 0)
	if err := h.parseStatus(line); err != nil {
		return err
	}
	if err := h.parseFields(b, next); err != nil {
		return err
	}
	return h.readFraming()
}

// cutLine returns the line that starts at i, without its end, and where the next one starts.
func cutLine(b []byte, i int) (line []byte, next int) {
	n := bytes.IndexByte(b[i:], '\n')
	if n < 0 {
		return b[i:], len(b)
	}
	line, next = b[i:i+n], i+n+1
	if n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line, next
}

func (h *Head) parseStatus(line []byte) error {
	if len(line) < 12 || !Plausible(line) || line[7]&^1 != '0' || line[8] != ' ' {
		return Malformed("status line")
	}
	h.HTTP10 = line[7] == '0'
	h.Status = 0
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return Malformed("status code")
		}
		h.Status = h.Status*10 + int(c-'0')
	}
	if h.Status < 100 || len(line) > 12 && line[12] != ' ' {
		return Malformed("status code")
	}
	if !IsText(line[12:]) {
		return Malformed("byte in reason phrase")
	}
	return nil
}

// parseFields sets h.Fields from the lines of b that start at i, up to the blank one.
func (h *Head) parseFields(b []byte, i int) error {
	h.spans = h.spans[:0]
	first := i
	for i < len(b) {
		line, next := cutLine(b, i)
		if len(line) == 0 {
			break
		}
		s, err := parseField(line)
		if err != nil {
			return err
		}
		if len(h.spans) == maxFields {
			return ErrManyFields
		}
		h.spans = append(h.spans, span{i + s.from, i + s.colon, i + s.start, i + s.end})
		i = next
	}
	text := string(b[first:i]) // the only copy
	h.Fields = h.Fields[:0]
	for _, s := range h.spans {
		h.Fields = append(h.Fields, transport.Field{Name: text[s.from-first : s.colon-first], Value: text[s.start-first : s.end-first]})
	}
	return nil
}

// parseField checks one line, and rewrites its name to canonical form in place. A line that starts with
// white space (an obsolete fold) is an error, since white space is not allowed in a name.
func parseField(line []byte) (span, error) {
	colon := 0
	upper := true
	for ; colon < len(line) && line[colon] != ':'; colon++ {
		c := line[colon]
		if !token[c] {
			return span{}, Malformed("byte in field name")
		}
		if upper && 'a' <= c && c <= 'z' {
			line[colon] = c - 'a' + 'A'
		} else if !upper && 'A' <= c && c <= 'Z' {
			line[colon] = c - 'A' + 'a'
		}
		upper = c == '-'
	}
	if colon == 0 || colon == len(line) {
		return span{}, Malformed("field line without name or colon")
	}
	s := span{0, colon, colon + 1, len(line)}
	for s.start < s.end && isBlank(line[s.start]) {
		s.start++
	}
	for s.end > s.start && isBlank(line[s.end-1]) {
		s.end--
	}
	if !IsText(line[s.start:s.end]) {
		return span{}, Malformed("byte in field value")
	}
	return s, nil
}

// readFraming takes from the fields what decides where the message ends (RFC 9112 §6), and whether the
// connection may be used again (§9.3).
func (h *Head) readFraming() error {
	h.Length, h.Chunked, h.Close, h.KeepAlive, h.Upgrade, h.PersistentLogin = -1, false, false, false, "", false
	lengthText, coded := "", false
	for _, f := range h.Fields {
		switch f.Name {
		case "Content-Length":
			// net/http also takes the same length twice. It compares them as texts, so 1 and 01 differ.
			if h.Length >= 0 && f.Value != lengthText {
				return Malformed("two lengths")
			}
			lengthText = f.Value
			if h.Length = parseLength(f.Value); h.Length < 0 {
				return Malformed("content length")
			}
		case "Transfer-Encoding":
			if coded || !strings.EqualFold(f.Value, "chunked") {
				return Malformed("transfer coding")
			}
			coded = true
		case "Connection":
			h.readConnection(f.Value)
		case "Upgrade":
			if h.Upgrade != "" {
				h.Upgrade += ", "
			}
			h.Upgrade += f.Value
		case "Persistent-Auth":
			h.PersistentLogin = !strings.EqualFold(f.Value, "false")
		}
	}
	if coded && (h.HTTP10 || h.Length >= 0) {
		// RFC 9112 §6.1 and §6.3: wrong framing, or an attempt at smuggling. net/http takes the coding and
		// drops the length.
		return Malformed("transfer coding with a length or in HTTP/1.0")
	}
	h.Chunked = coded
	return h.checkTrailerNames()
}

func (h *Head) readConnection(value string) {
	for option := range strings.SplitSeq(value, ",") {
		switch option = strings.Trim(option, " \t"); {
		case strings.EqualFold(option, "close"):
			h.Close = true
		case strings.EqualFold(option, "keep-alive"):
			h.KeepAlive = true
		}
	}
}

// checkTrailerNames returns an error for a chunked message that announces framing in its trailer.
func (h *Head) checkTrailerNames() error {
	if !h.Chunked {
		return nil
	}
	for _, f := range h.Fields {
		if f.Name != "Trailer" {
			continue
		}
		for name := range strings.SplitSeq(f.Value, ",") {
			if IsFraming(strings.Trim(name, " \t")) {
				return Malformed("framing announced as trailer")
			}
		}
	}
	return nil
}

// Lasts reports whether the connection may be used after the message.
func (h *Head) Lasts() bool { return !h.Close && (!h.HTTP10 || h.KeepAlive) }

// parseLength returns the length that s says, or -1 unless s is 1 to 18 digits. 18 digits always fit an int64,
// and are an exabyte.
func parseLength(s string) int64 {
	if len(s) == 0 || len(s) > 18 {
		return -1
	}
	n := int64(0)
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return -1
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n
}
