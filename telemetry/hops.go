package telemetry

// Hops are the failovers of a request as the access line has them: the backend that failed, and the reason.
type Hops []Failover

// MarshalJSON implements json.Marshaler.
func (h Hops) MarshalJSON() ([]byte, error) { return h.AppendJSON(nil), nil }

// AppendJSON appends an array of objects.
func (h Hops) AppendJSON(b []byte) []byte {
	b = append(b, '[')
	for i, f := range h {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendQuoted(append(b, `{"from":`...), Printable(f.From))
		b = AppendQuoted(append(b, `,"reason":`...), f.Reason)
		b = append(b, '}')
	}
	return append(b, ']')
}

// MarshalText implements encoding.TextMarshaler.
func (h Hops) MarshalText() ([]byte, error) {
	var b []byte
	for i, f := range h {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(append(append(b, Printable(f.From)...), ' '), f.Reason...)
	}
	return b, nil
}
