package telemetry

import "time"

// Since returns the present phase and when it began. Safe for concurrent use.
func (r *Record) Since() (Phase, time.Time) {
	s := r.clock.state()
	return s.phase, s.since
}
