package telemetrytest

import "testing"

// A signal that tests do not have is not tested.
func TestNew_HasEverySignal(t *testing.T) {
	WantEverySignal(t, "..", New(t, nil).Signals())
}
