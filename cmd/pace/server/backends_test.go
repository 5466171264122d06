package server

import (
	"slices"
	"testing"

	"pace/lb/health"
	"pace/telemetry"
)

// The words of the metrics are those of the machine, in the order in which it counts.
func TestBackendStates_AreThoseOfTheMachine(t *testing.T) {
	if got, want := telemetry.BackendStates, health.StateWords(); !slices.Equal(got, want) {
		t.Errorf("metrics have %v, the machine has %v", got, want)
	}
}
