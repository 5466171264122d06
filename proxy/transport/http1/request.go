package http1

import (
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

// Request is what to send. It is only read, and must not change before [Response.Close].
type Request struct {
	Method, Target, Host string

	// Fields is the end-to-end field lines ("Name: value\r\n"…), written as they are. They must hold
	// none that the exchange writes itself: Host, Content-Length, Transfer-Encoding, Connection,
	// Upgrade, Expect, TE, Trailer.
	Fields []byte

	// Body is read by another goroutine, from Do's start until it ends or Do fails or
	// Response.Close returns, whichever is first. nil: no body.
	Body          io.Reader
	ContentLength int64 // of Body: exact, or -1 to send it chunked. A Body that is shorter or longer is a RequestBody error.

	Trailer          func() http.Header // called after Body's io.EOF: sent after the last chunk; nil: none
	AnnouncedTrailer string             // value of the Trailer field; "": none

	Upgrade       string // "": none. "h2c" is never asked for: its tunnel would get around the proxy.
	TrailersOK    bool   // sends "TE: trailers"
	Expect        bool   // sends "Expect: 100-continue" and holds Body back until 100 or 1 s have come; a final answer means it is never sent
	NewConnection bool   // never use a pooled or pinned one
	Repeatable    bool   // it may be sent again: a 408 on a reused connection is then never taken for its response

	// Login says that the request is part of a login that holds for the connection: after it, the connection
	// goes to Pin and serves Client only. nil: it is closed.
	Login  bool
	Pin    *Pin
	Client netip.Addr

	// On1xx is given each interim response except 101, on Do's goroutine, and 100 before Body is read
	// because of it. fields are valid until it returns, and may include hop-by-hop ones. nil: they are
	// dropped.
	On1xx func(status int, fields []Field)

	// OnPhase is told each change of phase until the final header was parsed, from one goroutine
	// at a time. It must not call into the exchange. nil: nobody is told.
	OnPhase func(Phase)

	// StopBody makes a Body.Read in progress return; called if the exchange ends before Body does.
	// nil: the exchange waits for Body.Read.
	StopBody func()
}

// hasBody reports whether there is anything to read. An empty Body of known length is only a field.
func (r *Request) hasBody() bool { return r.Body != nil && r.ContentLength != 0 }

// fit refuses what would end the request line or a field early: one request must not become two.
func (r *Request) fit() bool {
	return isToken(r.Method) && isWord(r.Target) && (r.Host == "" || isWord(r.Host)) &&
		validText(r.Upgrade) && validText(r.AnnouncedTrailer)
}

func isToken(s string) bool {
	for i := range len(s) {
		if !token[s[i]] {
			return false
		}
	}
	return s != ""
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

func validText(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// appendHead appends the request's header block.
func (r *Request) appendHead(b []byte) []byte {
	b = append(append(b, r.Method...), ' ')
	b = append(append(b, r.Target...), " HTTP/1.1\r\nHost: "...)
	b = append(append(b, r.Host...), '\r', '\n')
	b = append(b, r.Fields...)
	b = r.appendFraming(b)
	b = r.appendConnection(b)
	if r.Expect && r.hasBody() {
		b = append(b, "Expect: 100-continue\r\n"...)
	}
	return append(b, '\r', '\n')
}

func (r *Request) appendFraming(b []byte) []byte {
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

func (r *Request) appendConnection(b []byte) []byte {
	upgrade := r.asksUpgrade()
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

func (r *Request) asksUpgrade() bool { return r.Upgrade != "" && !lists(r.Upgrade, "h2c") }

// accepts reports whether a switch to protocols, a list, is one that the request asked for.
func (r *Request) accepts(protocols string) bool {
	if !r.asksUpgrade() || protocols == "" {
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
