package http1

import (
	"bytes"
	"strings"

	"pace/proxy/transport"
)

// Field is one line of a header or trailer. Name is in canonical form ("Content-Type"), Value is
// trimmed; both are parts of one string that holds the whole header.
type Field struct{ Name, Value string }

// maxFields bounds the fields of one header; a bomb of a:\r\n lines would otherwise cost eight
// times its bytes in memory.
const maxFields = 1000

var errManyFields = malformed("too many fields")

// malformed returns an error that says what was not acceptable in a response.
func malformed(what string) error { return transport.NewFault("malformed response: " + what) }

// head is a parsed response header. It is reused: fields and spans keep their arrays.
type head struct {
	status    int
	http10    bool
	fields    []transport.Field
	length    int64  // of the Content-Length field, -1: none
	chunked   bool   // Transfer-Encoding: chunked
	close     bool   // Connection: close
	keepAlive bool   // Connection: keep-alive
	upgrade   string // value of the Upgrade fields
	spans     []span

	persistentLogin bool // Persistent-Auth: true, by which IIS says that who logged in is known for the whole connection
}

// span is where a field stands in its block: name from:colon, value start:end.
type span struct{ from, colon, start, end int }

// headEnd returns the length of the header block at the start of b, its blank line included, or 0
// if that line has not come yet; no line that ends before from is looked at twice.
func headEnd(b []byte, from int) int {
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

// parse reads b, a whole block as cut by headEnd, and keeps no part of it. It is stricter than
// http.ReadResponse wherever the two differ; a bare LF ends a line (RFC 9112 §2.2), as there.
// Names are rewritten to canonical form in b itself, so that one copy serves all.
func (h *head) parse(b []byte) error {
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

// plausible reports whether b may be the start of a status line, so that a backend that talks
// something else is refused at its first bytes, not when a blank line happens to come.
func plausible(b []byte) bool {
	const version = "HTTP/1."
	n := min(len(b), len(version))
	return string(b[:n]) == version[:n]
}

func (h *head) parseStatus(line []byte) error {
	if len(line) < 12 || !plausible(line) || line[7]&^1 != '0' || line[8] != ' ' {
		return malformed("status line")
	}
	h.http10 = line[7] == '0'
	h.status = 0
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return malformed("status code")
		}
		h.status = h.status*10 + int(c-'0')
	}
	if h.status < 100 || len(line) > 12 && line[12] != ' ' {
		return malformed("status code")
	}
	if !validValue(line[12:]) {
		return malformed("byte in reason phrase")
	}
	return nil
}

// parseFields fills h.fields from the lines of b that start at i, up to the blank one.
func (h *head) parseFields(b []byte, i int) error {
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
			return errManyFields
		}
		h.spans = append(h.spans, span{i + s.from, i + s.colon, i + s.start, i + s.end})
		i = next
	}
	text := string(b[first:i]) // the only copy
	h.fields = h.fields[:0]
	for _, s := range h.spans {
		h.fields = append(h.fields, transport.Field{Name: text[s.from-first : s.colon-first], Value: text[s.start-first : s.end-first]})
	}
	return nil
}

// parseField checks one line and makes its name canonical in place. A line that starts with
// white space (an obsolete fold) fails for its name.
func parseField(line []byte) (span, error) {
	colon := 0
	upper := true
	for ; colon < len(line) && line[colon] != ':'; colon++ {
		c := line[colon]
		if !token[c] {
			return span{}, malformed("byte in field name")
		}
		if upper && 'a' <= c && c <= 'z' {
			line[colon] = c - 'a' + 'A'
		} else if !upper && 'A' <= c && c <= 'Z' {
			line[colon] = c - 'A' + 'a'
		}
		upper = c == '-'
	}
	if colon == 0 || colon == len(line) {
		return span{}, malformed("field line without name or colon")
	}
	s := span{0, colon, colon + 1, len(line)}
	for s.start < s.end && isBlank(line[s.start]) {
		s.start++
	}
	for s.end > s.start && isBlank(line[s.end-1]) {
		s.end--
	}
	if !validValue(line[s.start:s.end]) {
		return span{}, malformed("byte in field value")
	}
	return s, nil
}

// readFraming takes from the fields what decides where the message ends (RFC 9112 §6) and
// whether the connection may be used again (§9.3).
func (h *head) readFraming() error {
	h.length, h.chunked, h.close, h.keepAlive, h.upgrade, h.persistentLogin = -1, false, false, false, "", false
	lengthText, coded := "", false
	for _, f := range h.fields {
		switch f.Name {
		case "Content-Length":
			// The same length twice is what net/http takes too; as texts, so that 1 and 01 differ.
			if h.length >= 0 && f.Value != lengthText {
				return malformed("two lengths")
			}
			lengthText = f.Value
			if h.length = parseLength(f.Value); h.length < 0 {
				return malformed("content length")
			}
		case "Transfer-Encoding":
			if coded || !strings.EqualFold(f.Value, "chunked") {
				return malformed("transfer coding")
			}
			coded = true
		case "Connection":
			h.readConnection(f.Value)
		case "Upgrade":
			if h.upgrade != "" {
				h.upgrade += ", "
			}
			h.upgrade += f.Value
		case "Persistent-Auth":
			h.persistentLogin = !strings.EqualFold(f.Value, "false")
		}
	}
	if coded && (h.http10 || h.length >= 0) {
		// RFC 9112 §6.1 and §6.3: faulty framing, or an attempt at smuggling. net/http lets the
		// coding win and drops the length.
		return malformed("transfer coding with a length or in HTTP/1.0")
	}
	h.chunked = coded
	return h.checkTrailerNames()
}

func (h *head) readConnection(value string) {
	for option := range strings.SplitSeq(value, ",") {
		switch option = strings.Trim(option, " \t"); {
		case strings.EqualFold(option, "close"):
			h.close = true
		case strings.EqualFold(option, "keep-alive"):
			h.keepAlive = true
		}
	}
}

// checkTrailerNames refuses a chunked message that announces framing in its trailer.
func (h *head) checkTrailerNames() error {
	if !h.chunked {
		return nil
	}
	for _, f := range h.fields {
		if f.Name != "Trailer" {
			continue
		}
		for name := range strings.SplitSeq(f.Value, ",") {
			if framing(strings.Trim(name, " \t")) {
				return malformed("framing announced as trailer")
			}
		}
	}
	return nil
}

// framing reports whether a field of this name, in any case, says where a message ends.
func framing(name string) bool {
	return strings.EqualFold(name, "Content-Length") || strings.EqualFold(name, "Transfer-Encoding") || strings.EqualFold(name, "Trailer")
}

// lasts reports whether the connection may outlive the message.
func (h *head) lasts() bool { return !h.close && (!h.http10 || h.keepAlive) }

// parseLength returns the length that s says, or -1 if it is not 1 to 18 digits and nothing else.
func parseLength(s string) int64 {
	if len(s) == 0 || len(s) > 18 { // 18 digits always fit, and are an exabyte
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

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// validValue reports whether b holds only what RFC 9110 §5.5 allows in a field's value: no
// control but the tab.
func validValue(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// token tells the bytes of a token (RFC 9110 §5.6.2).
var token = func() (t [256]bool) {
	for c := '0'; c <= 'z'; c++ {
		t[c] = '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()
