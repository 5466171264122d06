// Package header renders the headers and trailers of requests for HTTP/2, and reads those of responses. It knows HPACK (RFC
// 7541) and which fields HTTP/2 allows, and nothing of frames, streams or connections.
package header

import (
	"bytes"
	"cmp"
	"net/http"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/net/http/httpguts"

	"pace/proxy/transport"
)

// This file renders the header and the trailer of a request. No field is kept in the table of those
// that were sent before: in each request the ids, and the fields about its client, are new, and would push everything
// else out of it. Without a table, the length of a request also says nothing about the requests of other clients (RFC
// 7541 §7.1).

// noTable begins each header: the table has no room (RFC 7541 §6.3). A backend that has made its table smaller must be sent
// this before the next field (§4.2).
const noTable = 0x20

// Fits reports whether the request can be written as it is. CONNECT cannot: it would make a tunnel.
func Fits(r *transport.Request) bool {
	return r.Method != "" && r.Method != http.MethodConnect && httpguts.ValidHeaderFieldName(r.Method) &&
		(r.Target == "*" || strings.HasPrefix(r.Target, "/")) && isPrintable(r.Target) &&
		httpguts.ValidHostHeader(r.Host) && httpguts.ValidHeaderFieldValue(r.AnnouncedTrailer)
}

// isPrintable reports whether s has no blank or control byte.
func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// Rendered is a header, or a trailer, as a header block. The zero value is ready.
type Rendered struct {
	Bytes []byte
	Size  int  // as RFC 9113 §6.5.2 counts it; 0: there is no field
	Unfit bool // it has something that HTTP/2 cannot carry
}

func (r *Rendered) begin() { r.Bytes, r.Size, r.Unfit = append(r.Bytes[:0], noTable), 0, false }

// fieldOverhead is what HTTP/2 counts for each field beside its name and value (RFC 9113 §6.5.2).
const fieldOverhead = 32

// Render makes r the header of a request. Host becomes :authority, and the fields of the connection are left out:
// HTTP/2 has none of them, and an upgrade is not possible.
func (r *Rendered) Render(req *transport.Request, scheme string) {
	r.begin()
	r.pseudo(":method", req.Method)
	r.pseudo(":scheme", scheme)
	r.pseudo(":authority", cmp.Or(req.Host, "localhost")) // some servers reset what has none
	r.pseudo(":path", req.Target)
	for rest := req.Fields; len(rest) > 0; {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte{'\n'})
		name, value, _ := bytes.Cut(bytes.TrimSuffix(line, []byte{'\r'}), []byte{':'})
		if !isOfConnection(string(name)) {
			renderField(r, name, bytes.Trim(value, " \t"))
		}
	}
	r.renderFraming(req)
}

// renderFraming renders the fields that are about the request's body and trailer.
func (r *Rendered) renderFraming(req *transport.Request) {
	switch {
	case req.Body != nil && req.ContentLength >= 0:
		renderField(r, "content-length", strconv.FormatInt(req.ContentLength, 10))
	case req.Body == nil && (req.Method == "POST" || req.Method == "PUT" || req.Method == "PATCH"):
		renderField(r, "content-length", "0") // RFC 9110 §8.6: these are expected to have one
	}
	if req.HasBody() && req.Trailer != nil && req.AnnouncedTrailer != "" {
		renderField(r, "trailer", req.AnnouncedTrailer)
	}
	if req.TrailersOK {
		renderField(r, "te", "trailers")
	}
	if req.Expect && req.HasBody() {
		renderField(r, "expect", "100-continue")
	}
}

// RenderTrailer makes r the trailer of a request, without the fields that may not stand in one.
func (r *Rendered) RenderTrailer(trailer http.Header) {
	r.begin()
	for name, values := range trailer {
		if !mayTrail(name) {
			continue
		}
		for _, v := range values {
			if v = strings.Trim(v, " \t"); httpguts.ValidHeaderFieldValue(v) {
				renderField(r, name, v)
			}
		}
	}
}

// mayTrail reports whether a field with this name may stand in a trailer.
func mayTrail(name string) bool {
	return httpguts.ValidHeaderFieldName(name) && httpguts.ValidTrailerHeader(name) && !isOfConnection(name)
}

// pseudo renders one of the fields that are the request line in HTTP/1.1.
func (r *Rendered) pseudo(name, value string) {
	r.Size += len(name) + len(value) + fieldOverhead
	for i, known := range pseudos {
		if known.name == name && known.value == value {
			r.Bytes = append(r.Bytes, byte(0x80|i+1))
			return
		}
	}
	r.Bytes = append(r.Bytes, pseudoIndex(name))
	renderValue(r, value)
}

// pseudos begin the static table of HPACK, at index 1 (RFC 7541, appendix A).
var pseudos = [...]struct{ name, value string }{
	{":authority", ""}, {":method", "GET"}, {":method", "POST"}, {":path", "/"}, {":path", "/index.html"}, {":scheme", "http"}, {":scheme", "https"},
}

// pseudoIndex returns where a name is first among the pseudos.
func pseudoIndex(name string) byte {
	for i, known := range pseudos {
		if known.name == name {
			return byte(i + 1)
		}
	}
	panic("pace: BUG: no pseudo-header " + name)
}

// How a field is rendered that does not go into the table. A proxy on the way may not put the second kind into its own,
// either (RFC 7541 §6.2.2 and §6.2.3).
const (
	literal      = 0x00
	neverIndexed = 0x10
)

// text is how the parts of a field come.
type text interface{ string | []byte }

// renderField renders a field.
func renderField[T text](r *Rendered, name, value T) {
	r.Size += len(name) + len(value) + fieldOverhead
	kind := byte(literal)
	if isSecret(string(name)) {
		kind = neverIndexed
	}
	r.Bytes = append(r.Bytes, kind)
	renderName(r, name)
	renderValue(r, value)
}

// renderName renders the name of a field, in lower case.
func renderName[T text](r *Rendered, name T) {
	r.Bytes = appendLength(r.Bytes, len(name))
	r.Unfit = r.Unfit || len(name) == 0
	for i := range len(name) {
		b := lower[name[i]]
		r.Unfit = r.Unfit || b == 0
		r.Bytes = append(r.Bytes, b)
	}
}

// lower has each byte that a name may have in lower case, and 0 for each other one.
var lower = func() (t [256]byte) {
	for b := range t {
		if httpguts.IsTokenRune(rune(b)) {
			t[b] = byte(unicode.ToLower(rune(b)))
		}
	}
	return t
}()

// renderValue renders a value. It is not compressed: that would cost more than the bytes do.
func renderValue[T text](r *Rendered, value T) {
	for i := range len(value) {
		if b := value[i]; b < ' ' && b != '\t' || b == 0x7f {
			r.Unfit = true
		}
	}
	r.Bytes = append(appendLength(r.Bytes, len(value)), value...)
}

// isSecret reports whether the values of fields with this name are worth to be guessed (RFC 7541 §7.1.3).
func isSecret(name string) bool {
	switch len(name) {
	case len("Cookie"):
		return strings.EqualFold(name, "Cookie")
	case len("Authorization"):
		return strings.EqualFold(name, "Authorization")
	case len("Proxy-Authorization"):
		return strings.EqualFold(name, "Proxy-Authorization")
	}
	return false
}

// appendLength appends the length of a text that is not compressed (RFC 7541 §5.1, §5.2).
func appendLength(b []byte, n int) []byte {
	if n < 127 {
		return append(b, byte(n))
	}
	b = append(b, 127)
	for n -= 127; n >= 128; n >>= 7 {
		b = append(b, byte(0x80|n&0x7f))
	}
	return append(b, byte(n))
}

// isOfConnection reports whether HTTP/2 must not carry a field with this name (RFC 9113 §8.2.2).
func isOfConnection(name string) bool {
	for _, one := range [...]string{"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade", "Te", "Http2-Settings"} {
		if len(one) == len(name) && strings.EqualFold(name, one) {
			return true
		}
	}
	return false
}
