package http2

import (
	"golang.org/x/net/http2"

	"pace/proxy/transport"
)

var (
	errGoAway  = transport.NewFault("the backend closes the connection (GOAWAY) and has not processed the request")
	errRefused = transport.NewFault("the backend refused the stream (REFUSED_STREAM) and has not processed the request")

	errMalformed = transport.NewFault("what the backend sent is not valid HTTP/2")
)

// failStreamLocked ends the exchange because of what its stream, or its connection, has come to. Once the header has come,
// what is missing is a part of the body, whatever the reason. x.Mu is held.
func (x *exchange) failStreamLocked(kind transport.Kind, why error) {
	if x.Final && kind != transport.Panicked {
		kind = transport.Truncated
	}
	x.failLocked(kind, why)
}

// malformedLocked ends the exchange because what has come on its stream is not valid. x.Mu is held.
func (x *exchange) malformedLocked() {
	x.code = http2.ErrCodeProtocol
	x.failStreamLocked(transport.Invalid, errMalformed)
}

// refuse ends the exchange of a stream because of what has come on it. The stream will be reset with this code.
func (x *exchange) refuse(s stream, kind transport.Kind, why error, code http2.ErrCode) {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	if x.isAbout(s) && !x.body.ended {
		x.responded = true
		x.code = code
		x.failStreamLocked(kind, why)
	}
}

// cutOff ends the exchange of a stream that has ended with its connection, or by the backend. If the response is whole, only
// the rest of the request is not sent.
func (x *exchange) cutOff(s stream, kind transport.Kind, why error) {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	if !x.isAbout(s) {
		return
	}
	x.isReset = true
	if x.body.ended {
		x.upload.closeLocked()
		return
	}
	x.failStreamLocked(kind, why)
}

// wasReset ends the exchange of a stream that the backend has reset.
func (x *exchange) wasReset(s stream, code http2.ErrCode) {
	if code == http2.ErrCodeRefusedStream {
		x.cutOff(s, transport.RefusedStream, errRefused)
		return
	}
	x.cutOff(s, transport.Reset, transport.NewFault("the backend reset the stream: "+code.String()))
}
