package h3

import (
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/quic-go/quic-go"
)

// numberOf returns the number of a request on its connection, from 1.
func numberOf(r *http.Request) uint32 {
	return number(r.Body.(interface{ StreamID() quic.StreamID }).StreamID())
}

// number returns the number of the request on a stream. Every fourth stream is one that a client begins for a request.
func number(id quic.StreamID) uint32 { return uint32(id/4) + 1 }

// writer is quic-go's response writer, which does not say which request it responds to.
type writer struct {
	http.ResponseWriter
	id uint32
}

// RequestNumber returns the number of the request on its connection to which w responds, 0 if that is not one over
// HTTP/3.
func RequestNumber(w http.ResponseWriter) uint32 {
	if w, ok := w.(*writer); ok {
		return w.id
	}
	return 0
}

// controlled is what quic-go's response writer does for an http.ResponseController.
type controlled interface {
	FlushError() error
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// connectionFields are for the connection, and make a response over HTTP/3 malformed (RFC 9114 §4.2). net/http drops them
// over HTTP/2, but quic-go does not.
var connectionFields = [...]string{"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade"}

// WriteHeader implements http.ResponseWriter. The fields are sent later, so they must stay until the next flush.
func (w *writer) WriteHeader(status int) {
	h := w.Header()
	for _, name := range connectionFields {
		delete(h, name)
	}
	w.ResponseWriter.WriteHeader(status)
}

// Flush implements http.Flusher.
func (w *writer) Flush() { w.FlushError() }

// FlushError is for [http.ResponseController].
func (w *writer) FlushError() error { return w.ResponseWriter.(controlled).FlushError() }

// SetReadDeadline is for [http.ResponseController].
func (w *writer) SetReadDeadline(t time.Time) error {
	return w.ResponseWriter.(controlled).SetReadDeadline(t)
}

// SetWriteDeadline is for [http.ResponseController].
func (w *writer) SetWriteDeadline(t time.Time) error {
	return w.ResponseWriter.(controlled).SetWriteDeadline(t)
}

// requestBody is quic-go's body of a request. At its end it puts the trailer into a map that all copies of the request
// share: quic-go sets the trailer of the one request that it knows.
type requestBody struct {
	io.ReadCloser
	request *http.Request // quic-go's
	trailer http.Header
	stream  *stream
}

// withTrailer returns a copy of r whose trailer is complete at the end of its body.
func withTrailer(r *http.Request, s *stream) *http.Request {
	next := new(http.Request)
	*next = *r
	b := &requestBody{r.Body, r, http.Header{}, s}
	maps.Copy(b.trailer, r.Trailer) // the names that are announced
	next.Body, next.Trailer = b, b.trailer
	return next
}

// Read implements io.Reader.
func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == nil:
	case err == io.EOF:
		maps.Copy(b.trailer, b.request.Trailer)
	case bodyBroke(err):
		b.stream.broke.Store(true)
	case isReset(err):
		b.stream.reset.Store(true)
	}
	return n, err
}

// isReset reports whether the client gave its body up.
func isReset(err error) bool {
	e, ok := errors.AsType[*quic.StreamError](err)
	return ok && e.Remote
}

// bodyBroke reports whether the client broke a rule, so that its body cannot be read any more. Of a body that is longer
// or shorter than announced, and of a bad trailer, quic-go returns plain errors.
func bodyBroke(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	_, stream := errors.AsType[*quic.StreamError](err)
	if stream || errors.Is(err, net.ErrClosed) { // the stream or the connection has ended
		return brokeRules(err)
	}
	return true
}
