package http1

import (
	"strconv"
	"strings"

	"pace/proxy/transport"
	"pace/proxy/transport/http1/parse"
)

// This file renders a request: its head, the chunks of its body, and its trailer.

const (
	sizeRoom  = 6                  // a chunk's size line: "8000\r\n"
	lastChunk = "\r\n0\r\n"        // ends the last chunk's data and the body; the trailer follows
	tailRoom  = len(lastChunk) + 2 // after a chunk's data, if the trailer is empty
)

// fit reports whether the parts of r can be written as they are. A part with a line break in it would end the
// request line or a field early, and one request would become two.
func fit(r *transport.Request) bool {
	return parse.IsToken(r.Method) && isWord(r.Target) && (r.Host == "" || isWord(r.Host)) &&
		parse.IsText(r.Upgrade) && parse.IsText(r.AnnouncedTrailer)
}

// isWord reports whether s is not empty and has no blank or control byte.
func isWord(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return s != ""
}

// appendHead appends the request's header block to b. Fields come rendered; the fields that belong to the
// connection are rendered here.
func appendHead(b []byte, r *transport.Request) []byte {
	b = append(append(b, r.Method...), ' ')
	b = append(append(b, r.Target...), " HTTP/1.1\r\nHost: "...)
	b = append(append(b, r.Host...), '\r', '\n')
	b = append(b, r.Fields...)
	b = appendFraming(b, r)
	b = appendConnection(b, r)
	if r.Expect && r.HasBody() {
		b = append(b, "Expect: 100-continue\r\n"...)
	}
	return append(b, '\r', '\n')
}

// appendFraming appends the fields that say where the body ends.
func appendFraming(b []byte, r *transport.Request) []byte {
	switch {
	case r.Body != nil && r.ContentLength < 0:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
		if r.AnnouncedTrailer != "" {
			b = append(append(append(b, "Trailer: "...), r.AnnouncedTrailer...), '\r', '\n')
		}
	case r.Body != nil:
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), r.ContentLength, 10), '\r', '\n')
	case r.Method == "POST" || r.Method == "PUT" || r.Method == "PATCH":
		b = append(b, "Content-Length: 0\r\n"...) // RFC 9110 §8.6: these are expected to have one
	}
	return b
}

// appendConnection appends the fields that are about this connection only.
func appendConnection(b []byte, r *transport.Request) []byte {
	upgrade := asksUpgrade(r)
	switch {
	case upgrade && r.TrailersOK:
		b = append(b, "Connection: Upgrade, TE\r\n"...)
	case upgrade:
		b = append(b, "Connection: Upgrade\r\n"...)
	case r.TrailersOK:
		b = append(b, "Connection: TE\r\n"...)
	}
	if upgrade {
		b = append(append(append(b, "Upgrade: "...), r.Upgrade...), '\r', '\n')
	}
	if r.TrailersOK {
		b = append(b, "TE: trailers\r\n"...)
	}
	return b
}

// asksUpgrade reports whether the request asks for a protocol that it may switch to. h2c is none: see
// [transport.Request].
func asksUpgrade(r *transport.Request) bool { return r.Upgrade != "" && !lists(r.Upgrade, "h2c") }

// accepts reports whether the request asked for each of the protocols, a comma-separated list that the backend
// switches to.
func accepts(r *transport.Request, protocols string) bool {
	if !asksUpgrade(r) || protocols == "" {
		return false
	}
	for protocol := range strings.SplitSeq(protocols, ",") {
		if !lists(r.Upgrade, strings.Trim(protocol, " \t")) {
			return false
		}
	}
	return true
}

// lists reports whether the comma-separated list has this word, in any case.
func lists(list, word string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if w = strings.Trim(w, " \t"); w != "" && strings.EqualFold(w, word) {
			return true
		}
	}
	return false
}

// frameChunk makes a chunk of the n bytes that were read to buf[at:]. The size line must stand right before
// them, and its length is known only now. So they were read sizeRoom bytes behind what is due (the head, if it
// was not sent yet), and what is due is moved up to the size line. One write then takes all of it.
//
//	before:  due │ sizeRoom bytes │ n bytes
//	after:       shift │ due │ size line │ n bytes │ CRLF
//
// This would be unnecessary with a vectored write (writev), which net.Buffers offers, but which costs more for
// pieces as small as these.
func (o *outgoing) frameChunk(at, n int) {
	if n == 0 {
		return
	}
	var size [sizeRoom]byte
	line := append(strconv.AppendInt(size[:0], int64(n), 16), '\r', '\n')
	start := at - len(line)
	copy(o.buf[start:], line)
	shift := start - o.to
	copy(o.buf[o.from+shift:], o.buf[o.from:o.to])
	o.from += shift
	o.to = at + n + copy(o.buf[at+n:], "\r\n")
}

// frameLastChunk ends the body, with its trailer. The CRLF at the start of lastChunk is there already: it ended
// the chunk before.
func (o *outgoing) frameLastChunk(req *transport.Request) {
	o.ended = true
	b := append(o.buf[:o.to], lastChunk[2:]...)
	if req.Trailer != nil {
		b = appendTrailer(b, req.Trailer())
	}
	b = append(b, '\r', '\n')
	o.buf, o.to = b[:cap(b)], len(b)
}

// appendTrailer appends the fields of h to b, without those that may not stand in a trailer.
func appendTrailer(b []byte, h map[string][]string) []byte {
	for name, values := range h {
		if !parse.IsToken(name) || parse.IsFraming(name) {
			continue
		}
		for _, v := range values {
			if parse.IsText(v) {
				b = append(append(append(append(b, name...), ": "...), v...), '\r', '\n')
			}
		}
	}
	return b
}
