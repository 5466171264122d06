package http2

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/net/http2"

	"pace/proxy/transport"
)

var (
	errGoAway  = transport.NewFault("the backend closes the connection (GOAWAY) and has not processed the request")
	errRefused = transport.NewFault("the backend refused the stream (REFUSED_STREAM) and has not processed the request")

	errMalformed = transport.NewFault("what the backend sent is not valid HTTP/2")
	errShort     = transport.NewFault("the body is shorter than its content-length")
)

// failed returns why net/http has failed, as the first reason of all. c is the connection.
func (x *exchange) failed(c *conn, err error) error {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	switch {
	case x.Cause != nil:
		return x.Cause
	case x.ctx.Err() != nil:
		return x.failLocked(transport.Canceled, context.Cause(x.ctx))
	}
	kind, err := x.kindOf(c, err)
	return x.failLocked(kind, err)
}

// kindOf says what kind of failure it is, by what was read along and the type of the error. x.Mu is held.
func (x *exchange) kindOf(c *conn, err error) (transport.Kind, error) {
	c.mu.Lock()
	w, id, lost := x.wire, x.id, c.lost
	unprocessed := c.goAway && (id == 0 || id > c.last)
	c.mu.Unlock()
	code, isStream := streamError(err)
	switch {
	case x.Final: // something of the body came
		return transport.Truncated, truncatedBy(err, w, code, lost)
	case w.wasReset && isStream && code == http2.ErrCodeRefusedStream:
		return transport.RefusedStream, errRefused
	case w.wasReset:
		return transport.Reset, resetBy(code)
	case unprocessed:
		return transport.GoAway, errGoAway
	case w.headers > int64(x.pool.o.MaxHeaderBytes):
		return transport.HeaderTooLarge, errTooLarge
	case isStream: // net/http did not accept what came for the stream
		return transport.Invalid, errMalformed
	case errors.Is(lost, os.ErrDeadlineExceeded): // a write that made no progress
		return transport.ResponseTimeout, lost
	case lost != nil:
		return transport.Reset, lost
	case id == 0 && c.http.Err() == nil: // net/http did not write it
		return transport.RequestBody, transport.ErrUnfit
	}
	return transport.Invalid, errMalformed // net/http did not accept what came on the connection, and closed it
}

// truncatedBy says why a body did not come to its end: err, unless what was read along says more.
func truncatedBy(err error, w wire, code http2.ErrCode, lost error) error {
	switch {
	case w.wasReset:
		return resetBy(code)
	case lost != nil:
		return lost
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errShort
	}
	return err
}

// streamError returns the code of an error of the stream.
func streamError(err error) (http2.ErrCode, bool) {
	var e http2.StreamError
	if errors.As(err, &e) {
		return e.Code, true
	}
	return 0, false
}

// resetBy is the error for a stream that the backend has reset with this code.
func resetBy(code http2.ErrCode) error {
	return transport.NewFault("the backend reset the stream: " + code.String())
}
