package telemetry

// hops are the failovers of a request as the access line has them: from where, and why.
type hops []Failover

// MarshalJSON implements json.Marshaler.
func (h hops) MarshalJSON() ([]byte, error) { return h.appendJSON(nil), nil }

func (h hops) appendJSON(b []byte) []byte {
	b = append(b, '[')
	for i, f := range h {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSONString(append(b, `{"from":`...), printable(f.From))
		b = appendJSONString(append(b, `,"reason":`...), f.Reason.String())
		b = append(b, '}')
	}
	return append(b, ']')
}

// MarshalText implements encoding.TextMarshaler.
func (h hops) MarshalText() ([]byte, error) {
	var b []byte
	for i, f := range h {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(append(append(b, printable(f.From)...), ' '), f.Reason.String()...)
	}
	return b, nil
}
