package recent

import (
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"time"

	"pace/telemetry"
)

// object is a JSON object whose members have an order.
type object []member

type member struct {
	name  string
	value any
}

func (o *object) add(name string, value any) { *o = append(*o, member{name, value}) }

// addFact adds what a fact or a detail says, unless it is absent.
func (o *object) addFact(name string, v slog.Value) {
	if !telemetry.Absent(v) {
		o.add(name, v.Any())
	}
}

// MarshalJSON implements json.Marshaler.
func (o object) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(telemetry.AppendQuoted(b, m.name), ':')
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		b = append(b, value...)
	}
	return append(b, '}'), nil
}

// unlisted are the fields of the access line that a record has in another form.
var unlisted = []string{"trace_id", "attempts", "route", "route_name"}

// objectOf is all that is known of an ended exchange. Names and values are those of the access line, where it has
// them.
func objectOf(r *telemetry.Record) object {
	info := r.Outcome.Info()
	var o object
	o.add("trace_id", r.Trace)
	o.add("at", r.Start.Format(time.RFC3339Nano))
	for _, f := range telemetry.Facts() {
		switch {
		case f.Field != "" && !strings.HasPrefix(f.Attribute, "pace.phase.") && !slices.Contains(unlisted, f.Field):
			o.addFact(f.Field, f.Value(r))
		case f.Attribute == "url.query":
			o.addFact("query", f.Value(r))
		case f.Attribute == "user_agent.original":
			o.addFact("user_agent", f.Value(r))
		}
		switch f.Field {
		case "outcome":
			o.add("side", string(info.Side))
		case "route_name": // the name, by which the API asks; a pattern's path may be of several routes
			o.addFact("route", f.Value(r))
		case "route":
			o.addFact("http_route", f.Value(r))
		}
	}
	if r.Reason != telemetry.Ordinary {
		o.add("reason", r.Reason.String())
	}
	o.add("trace", r.Export.String())
	o.add("attempts", attempts(r))
	o.add("phases", phases(r))
	o.add("events", events(r))
	o.add("cause", info.Cause)
	o.add("remedy", info.Remedy)
	o.add("explanation", Explain(r))
	return o
}

func attempts(r *telemetry.Record) []object {
	list := []object{}
	for i := range r.Attempts {
		a := &r.Attempts[i]
		var o object
		o.add("backend", a.Backend)
		if a.Status > 0 {
			o.add("status", a.Status)
		}
		if a.GRPCCode != telemetry.NoGRPCCode {
			o.add("grpc_status", a.GRPCCode.Number())
		}
		if a.Failure != telemetry.Unset {
			o.add("failure", a.Failure.String())
		}
		if a.Error != "" {
			o.add("error", telemetry.Printable(a.Error))
		}
		o.add("duration_ms", telemetry.Milliseconds(a.End.Sub(a.Start)))
		o.add("wait_ms", telemetry.Milliseconds(a.Waited))
		o.add("reused", a.Reused)
		o.add("bytes_sent", a.BytesSent)
		o.add("span_id", a.Span.String())
		list = append(list, o)
	}
	return list
}

// phases are the milliseconds in each phase that the exchange was in.
func phases(r *telemetry.Record) object {
	o := object{}
	for p, d := range r.Phases {
		if d > 0 {
			o.add(telemetry.Phase(p).String(), telemetry.Milliseconds(d))
		}
	}
	return o
}

// events are those of the SERVER span, in the order of time.
func events(r *telemetry.Record) []object {
	list := []object{}
	for _, h := range r.Happenings() {
		o := object{{"name", h.Name}, {"at", h.At.Format(time.RFC3339Nano)}}
		for name, v := range h.Details {
			o.addFact(name, v)
		}
		list = append(list, o)
	}
	return list
}
