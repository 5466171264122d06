package main

import (
	"slices"
	"testing"
)

// Later work adds names, and never renames or removes one.
func TestPromises_AreKept(t *testing.T) {
	list, err := readPromises(checkout)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 250 {
		t.Fatalf("%s has only %d lines", promisesFile, len(list))
	}
	now := published()
	for _, p := range list {
		if !slices.Contains(now, p) {
			t.Errorf("docs/interface.md promised this, and the tables of telemetry have it no more: %s", p)
		}
	}
}
