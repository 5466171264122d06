package telemetry

// Marked reports whether the record bears a mark of the list of requests in flight.
func Marked(r *Record) bool { return r.listed || r.slow }

// MarkSlow marks the record as one whose slowness was logged.
func MarkSlow(r *Record) { r.slow = true }
