package telemetry

import (
	"context"
	"net/http"
	"net/textproto"
	"os"
	"slices"
	"strings"

	"go.opentelemetry.io/contrib/propagators/autoprop"
	"go.opentelemetry.io/otel/propagation"
)

// propagator reads a trace's context from requests and writes it into others. Baggage it leaves alone:
// that goes on as the client sent it, whatever its encoding, since to read and write it anew loses what
// the library's limits and grammar do not allow.
type propagator struct {
	propagation.TextMapPropagator
	w3c bool // the default: W3C's trace context, which pace renders itself
}

// newPropagator returns the propagator that OTEL_PROPAGATORS names; checkEnvironment has looked at it.
func newPropagator() (propagator, error) {
	value := strings.TrimSpace(os.Getenv("OTEL_PROPAGATORS"))
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

// PropagationFields names the header fields of a client that must not go on beside what
// [Record.AppendPropagation] writes. With OTEL_PROPAGATORS those are the fields of all encodings: a
// backend that reads another one than pace writes would take the client's span for its parent.
func (t *Telemetry) PropagationFields() []string {
	switch {
	case t.propagator.w3c:
		return []string{parentField, stateField}
	case len(t.propagator.Fields()) == 0: // it writes nothing
		return nil
	}
	return encodings
}

// requestFields reads fields as propagators want them, which know lists and doubled fields not at all.
type requestFields http.Header

// Get returns the field's value without blanks around it. Of a field that may stand in a request once
// only and stands there twice nobody knows which is right: it counts as absent.
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

// Keys implements propagation.TextMapCarrier. It is asked for by who looks for baggage.
func (f requestFields) Keys() []string { return nil }

func single(lines []string) string {
	if len(lines) != 1 {
		return ""
	}
	return strings.Trim(lines[0], " \t")
}

// maxStateMembers is how many members a tracestate may have; one with more is dropped as a whole (W3C
// Trace Context §3.3.1.5).
const maxStateMembers = 32

// joinState makes one list of the lines of tracestate (W3C Trace Context §3.3.1). Members that are empty or
// blank are none; of a key that is there twice the first member stays, which is the later one in time.
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
