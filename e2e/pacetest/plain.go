package pacetest

import "testing"

// buildFlags are those that pace is built with.
var buildFlags = []string{"-race"}

// MainPlain is [Main] for a package whose load is too heavy for the race detector, which
// costs pace about ten times its time.
func MainPlain(m *testing.M) {
	buildFlags = nil
	Main(m)
}
