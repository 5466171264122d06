package traces

import (
	"slices"
	"testing"
	"time"

	"pace/telemetry"
)

// The record holds the spans' order and numbers: events in time, attempts counted.
func TestEvents_AreInOrderOfTime(t *testing.T) {
	at := time.Unix(1000, 0)
	r := &telemetry.Record{
		Limited:   []telemetry.Limited{{At: at.Add(3)}},
		Failovers: []telemetry.Failover{{At: at.Add(2)}, {At: at.Add(4)}},
		Retries:   []telemetry.Retry{{At: at.Add(1)}},
	}
	var got []string
	for _, e := range events(r) {
		got = append(got, e.Name)
	}
	if want := []string{telemetry.EventRetry, telemetry.EventFailover, telemetry.EventLimited, telemetry.EventFailover}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
