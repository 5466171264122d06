package transport

import (
	"io"
	"net/http"
	"net/netip"
	"time"
)

// Field is one line of a header or trailer. Name is in canonical form ("Content-Type"), Value is
// trimmed; both are parts of one string that holds the whole header.
type Field struct{ Name, Value string }

// Request is what to send. The transport only reads it, and it must not change before the response is
// closed. "Do" is the transport's call that takes it, "Close" that of the response.
type Request struct {
	Method, Target, Host string

	// Fields is the end-to-end field lines ("Name: value\r\n"…), written as they are. They must hold
	// none that the transport writes itself: Host, Content-Length, Transfer-Encoding, Connection,
	// Upgrade, Expect, TE, Trailer.
	Fields []byte

	// Body is read on Do's goroutine or another one, from Do's start until Body ends, Do fails or Close returns,
	// whichever is first. nil: no body.
	Body io.Reader

	// BodyReady reports whether the next Body.Read returns without waiting for the client, or almost: what it returns may
	// still be on its way within pace. Only the goroutine that reads Body calls it. nil: that is never known.
	BodyReady func() bool

	// ContentLength is Body's exact length, or -1 to send it chunked. A Body that is shorter or longer is a
	// RequestBody error.
	ContentLength int64

	// TakeBack is given all that was read of Body if the backend has certainly not processed the request, and the transport
	// still has it: before Do fails, and when nobody reads Body any more. read is valid until it returns. nil: that is lost.
	TakeBack func(read []byte)

	Trailer          func() http.Header // called after Body's io.EOF: sent after the last chunk; nil: none
	AnnouncedTrailer string             // value of the Trailer field; "": none

	Upgrade    string // "": none. "h2c" is never asked for: what it carries would bypass the proxy.
	TrailersOK bool   // sends "TE: trailers"

	// Expect sends "Expect: 100-continue" and holds Body back until a 100 has come, or for 1 s. If a final
	// response comes first, Body is never sent.
	Expect bool

	ResponseTimeout time.Duration // instead of the transport's own; 0: that

	NewConnection bool // never use a pooled or pinned connection
	Repeatable    bool // it may be sent again, so that a 408 on a reused connection need not be its response

	// Login says that the request is part of a login that holds for the connection. After it, the connection
	// goes to Pin, and serves Client only. Without a Pin it is closed.
	Login  bool
	Pin    *Pin
	Client netip.Addr

	// On1xx is given each interim response except 101, on Do's goroutine. It is given a 100 before Body is
	// read because of that 100. fields are valid until On1xx returns, and may include hop-by-hop ones.
	// nil: interim responses are dropped.
	On1xx func(status int, fields []Field)

	// OnPhase is called with each phase that begins, until the final header was parsed. Several goroutines
	// call it, one at a time. It must not call the transport. It may be nil.
	OnPhase func(Phase)

	// StopBody makes a Body.Read in progress return. It is called if the exchange ends before Body does.
	// nil: the exchange waits for Body.Read.
	StopBody func()
}

// HasBody reports whether there is a body to read. An empty one of known length is only a field.
func (r *Request) HasBody() bool { return r.Body != nil && r.ContentLength != 0 }
