package metrics

import (
	"sync/atomic"

	"pace/telemetry"
)

// streams counts the open streams and their bytes.
type streams struct {
	open  [telemetry.StreamKinds]atomic.Int64
	moved [telemetry.StreamKinds]telemetry.Traffic
}

func (s *streams) begin(r *telemetry.Record) {
	s.open[r.Stream].Add(1)
	r.Moving = &s.moved[r.Stream]
}

func (s *streams) end(r *telemetry.Record) { s.open[r.Stream].Add(-1) }
