package main

import (
	"slices"
	"testing"
)

// TestInterface holds the tables to the contract: nothing of it is missing or differs.
func TestInterface(t *testing.T) {
	ours := published()
	for _, promised := range contract(read(t, "docs/interface.md")) {
		i := slices.IndexFunc(ours, func(s signal) bool { return s.kind == promised.kind && s.name == promised.name })
		if i < 0 {
			t.Errorf("%s %s of interface.md is missing", promised.kind, promised.name)
		} else if promised.detail != "" && promised.detail != ours[i].detail {
			t.Errorf("%s %s: got %s, interface.md says %s", promised.kind, promised.name, ours[i].detail, promised.detail)
		}
	}
}

// A test that reads a page must notice when it no longer finds anything there.
func TestInterface_IsRead(t *testing.T) {
	count := map[string]int{}
	for _, s := range contract(read(t, "docs/interface.md")) {
		count[s.kind]++
	}
	for kind, least := range map[string]int{"metric": 18, "outcome": 22, "attribute of SERVER": 28, "attribute of CLIENT": 11,
		"event": 3, "attribute of pace.failover": 5, "field": 30, "word of pace_refused_total reason": 6} {
		if count[kind] < least {
			t.Errorf("%d of kind %s are read from interface.md, want at least %d: %v", count[kind], kind, least, count)
		}
	}
}
