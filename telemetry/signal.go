package telemetry

import (
	"context"
	"net/http"
)

// Moment is a moment in the life of a record at which it is published.
type Moment uint8

// The moments, in their order. A request that becomes no stream has the first and the last.
const (
	Begun        Moment = iota // the request has come; little is known yet
	BecameStream               // its header has been answered: that was the request, and what follows is a stream
	Ended                      // nothing of the record changes any more
)

// Signal is one thing that is derived from records: the metrics, the spans, the access log.
//
// Publish is called on the goroutine of the handler, so it must not wait for anybody; what it cannot
// take it loses, and counts. It may keep r beyond its return only from [Ended] on, if it has called
// [Record.Retain] before it returns.
type Signal interface {
	Publish(m Moment, r *Record)
}

// Tracing gives requests their place in a trace, and hands it on to backends. The proxy knows it by this
// interface, since it must not know OpenTelemetry.
type Tracing interface {
	// Wrap returns a handler that gives each request its [Identity], and then calls h. It continues the
	// trace that a request brings, or begins one. public reports whether a request comes from outside the
	// trust boundary, so that its trace is linked to instead of continued; nil means never.
	Wrap(h http.Handler, public func(*http.Request) bool) http.Handler

	// Identify returns ctx with the identity of a new root, for a request that failed before it got one by
	// Wrap.
	Identify(ctx context.Context) context.Context

	// PropagationFields names the header fields of a client that must not go on beside what
	// AppendPropagation writes.
	PropagationFields() []string

	// AppendPropagation appends the header lines that make the attempt's span the parent of what the
	// backend does.
	AppendPropagation(ctx context.Context, b []byte, r *Record, a *Attempt) []byte
}
