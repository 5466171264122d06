package traces

import (
	"context"
	"encoding/hex"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"go.opentelemetry.io/contrib/propagators/autoprop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"pace/telemetry"
)

// propagator reads the context of a trace from a client's request, and writes it into the requests to
// backends. It does not touch baggage, whatever its encoding: the client's fields pass unchanged. The
// library would drop members that its limits or its grammar do not allow.
type propagator struct {
	propagation.TextMapPropagator
	w3c bool // the default: W3C's trace context, which pace renders itself
}

// newPropagator returns the propagator that value, which is OTEL_PROPAGATORS, names.
func newPropagator(value string) (propagator, error) {
	if value == "" {
		return propagator{propagation.TraceContext{}, true}, nil
	}
	words := slices.DeleteFunc(strings.Split(value, ","), func(word string) bool { return word == "baggage" })
	if len(words) == 0 {
		words = []string{"none"}
	}
	p, err := autoprop.TextMapPropagator(words...)
	return propagator{p, false}, err
}

// Extract implements propagation.TextMapPropagator.
func (p propagator) Extract(ctx context.Context, carrier propagation.TextMapCarrier) context.Context {
	if h, ok := carrier.(propagation.HeaderCarrier); ok {
		carrier = requestFields(h)
	}
	return p.TextMapPropagator.Extract(ctx, carrier)
}

// encodings are the fields in which the encodings that OTEL_PROPAGATORS knows hold the context of a trace.
var encodings = []string{
	parentField, stateField,
	"b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags",
	"uber-trace-id", "x-amzn-trace-id", "ot-tracer-traceid", "ot-tracer-spanid", "ot-tracer-sampled",
}

const (
	parentField = "traceparent"
	stateField  = "tracestate"
)

// PropagationFields implements [telemetry.Tracing]. With OTEL_PROPAGATORS those are the fields of all encodings: a
// backend that reads another one than pace writes would take the client's span for its parent.
func (t *Traces) PropagationFields() []string {
	switch {
	case t.propagator.w3c:
		return []string{parentField, stateField}
	case len(t.propagator.Fields()) == 0: // it writes nothing
		return nil
	}
	return encodings
}

// requestFields reads a request's fields for propagators. They use the first line of a field only, which is
// wrong for a list and for a field that must not come twice.
type requestFields http.Header

// Get returns the value of a field, without blanks around it. A field that must not come twice, and does,
// counts as absent: either of the two may be the wrong one.
func (f requestFields) Get(name string) string {
	switch name {
	case parentField:
		value := single(f["Traceparent"])
		if strings.Contains(value, ",") { // two that somebody joined
			return ""
		}
		return value
	case stateField:
		return joinState(f["Tracestate"])
	}
	return single(f[textproto.CanonicalMIMEHeaderKey(name)])
}

// Set implements propagation.TextMapCarrier; requests are only read.
func (f requestFields) Set(string, string) {}

// Keys implements propagation.TextMapCarrier. Propagators call it to find baggage, so there is none.
func (f requestFields) Keys() []string { return nil }

func single(lines []string) string {
	if len(lines) != 1 {
		return ""
	}
	return strings.Trim(lines[0], " \t")
}

// maxStateMembers is how many members a tracestate may have. A longer one is dropped (W3C Trace Context
// §3.3.1.5).
const maxStateMembers = 32

// joinState joins the lines of tracestate to one list (W3C Trace Context §3.3.1), without empty members. If
// a key comes twice, joinState keeps the first member, because that is the newer one.
func joinState(lines []string) string {
	var members []string
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			member = strings.Trim(member, " \t")
			key, _, _ := strings.Cut(member, "=")
			if member == "" || slices.ContainsFunc(members, func(m string) bool { return isKeyOf(key, m) }) {
				continue
			}
			if len(members) == maxStateMembers {
				return ""
			}
			members = append(members, member)
		}
	}
	return strings.Join(members, ",")
}

func isKeyOf(key, member string) bool {
	return strings.HasPrefix(member, key) && (len(member) == len(key) || member[len(key)] == '=')
}

// fieldLines is a carrier that renders what is set as header lines.
type fieldLines []byte

func (f *fieldLines) Get(string) string { return "" }
func (f *fieldLines) Keys() []string    { return nil }
func (f *fieldLines) Set(name, value string) {
	*f = append(append(append(append(*f, name...), ": "...), value...), "\r\n"...)
}

// AppendPropagation implements [telemetry.Tracing].
func (t *Traces) AppendPropagation(ctx context.Context, b []byte, r *telemetry.Record, a *telemetry.Attempt) []byte {
	c := r.Identity.Context
	if len(r.Attempts) > 1 && t.keeps() { // an attempt has failed: that is interesting, whatever follows
		c = sampled(c)
	}
	c = c.WithSpanID(a.Span)
	if t.propagator.w3c {
		return appendTraceContext(b, c)
	}
	f := fieldLines(b)
	t.propagator.Inject(trace.ContextWithSpanContext(ctx, c), &f)
	return f
}

// sampled returns c as that of a sampled trace. If the head did not sample it, it carries no threshold: it
// was not sampled by chance.
func sampled(c trace.SpanContext) trace.SpanContext {
	if c.IsSampled() {
		return c
	}
	return c.WithTraceFlags(c.TraceFlags().WithSampled(true)).WithTraceState(withThreshold(c.TraceState(), ""))
}

// appendTraceContext renders what propagation.TraceContext would set, without its allocations.
func appendTraceContext(b []byte, c trace.SpanContext) []byte {
	id, span := c.TraceID(), c.SpanID()
	b = hex.AppendEncode(append(b, "traceparent: 00-"...), id[:])
	b = hex.AppendEncode(append(b, '-'), span[:])
	b = hex.AppendEncode(append(b, '-'), []byte{byte(c.TraceFlags())})
	b = append(b, "\r\n"...)
	if state := c.TraceState(); state.Len() > 0 {
		b = append(append(append(b, "tracestate: "...), state.String()...), "\r\n"...)
	}
	return b
}
