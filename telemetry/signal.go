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
	BecameStream               // its header has been sent; what follows is a stream
	Ended                      // nothing of the record changes any more
	MirrorEnded                // the same of the record of a mirror, which has no other moment
)

// Signal is one thing that is derived from records: the metrics, the spans, the access log.
//
// Publish runs on the goroutine of the handler, so it must not wait for anybody. It drops what it cannot
// take, and counts it. It may keep r after it returns only if m is [Ended] or [MirrorEnded] and it has called [Record.Retain].
type Signal interface {
	Publish(m Moment, r *Record)
}

// Tracing gives requests their place in a trace, and passes it on to backends. The proxy knows it by this
// interface, because it must not know OpenTelemetry.
type Tracing interface {
	// Wrap returns a handler that gives each request its [Identity], and then calls h. It continues the
	// trace that a request brings, or begins one. public reports whether a request comes from outside the
	// trust boundary, so that its trace is linked to instead of continued; nil means never.
	Wrap(h http.Handler, public func(*http.Request) bool) http.Handler

	// Identify returns ctx with the identity of a new root, for a request that failed before it got one by
	// Wrap.
	Identify(ctx context.Context) context.Context

	// Exports decides whether the spans of r leave pace, by r's identity and reason. A trace that is kept
	// takes a place in a queue until its record has ended and is published.
	Exports(r *Record) Export

	// Resample decides again whether the trace is sampled, if it begins here and the route has a ratio of its
	// own. Nothing of the trace has left pace yet.
	Resample(i *Identity, route *Route)

	// PropagationFields returns the names of the client's header fields that must not be passed on, because
	// AppendPropagation writes its own.
	PropagationFields() []string

	// AppendPropagation appends the header lines that make the attempt's span the parent of the backend's
	// spans.
	AppendPropagation(ctx context.Context, b []byte, r *Record, a *Attempt) []byte
}
