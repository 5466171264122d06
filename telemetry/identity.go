package telemetry

import (
	"context"
	"encoding/binary"
	"math/rand/v2"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Identity is the place of a request in its trace. The request's context has it as a span that records nothing:
// the span that is exported is made from the ended record.
type Identity struct {
	noop.Span

	Context trace.SpanContext
	Parent  trace.SpanContext // remote; invalid for a root
	Links   []trace.Link
}

// SpanContext implements trace.Span.
func (i *Identity) SpanContext() trace.SpanContext { return i.Context }

// IdentityFrom returns the identity that [Tracing] gave to the request.
func IdentityFrom(ctx context.Context) Identity {
	if i, ok := trace.SpanFromContext(ctx).(*Identity); ok {
		return *i
	}
	panic("pace: BUG: a request that did not pass through Telemetry.Wrap")
}

// NewSpanID returns a random id.
func NewSpanID() (id trace.SpanID) {
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:], rand.Uint64())
	}
	return id
}
