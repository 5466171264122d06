package server

import (
	"maps"
	"slices"
	"testing"

	"pace/config"
)

func TestActions_AreThoseOfTheConfiguration(t *testing.T) {
	want := config.Actions()
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(actions)); !slices.Equal(got, want) {
		t.Errorf("actions are made for %v, the configuration has %v", got, want)
	}
}
