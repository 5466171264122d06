package main

import (
	"io/fs"
	"os"
	"strings"
	"testing"
)

var checkout = os.DirFS("../..")

func TestPages_AreOfToday(t *testing.T) {
	for _, p := range pages {
		want, err := p.text(checkout)
		if err != nil {
			t.Fatalf("%s: %v", p.file, err)
		}
		if line, differs := firstDifference(want, read(t, p.file)); differs {
			t.Errorf("%s is stale: run go generate ./scripts/..., and read the difference; it begins with\n%s", p.file, line)
		}
	}
}

func firstDifference(got, want string) (string, bool) {
	old := strings.Split(want, "\n")
	for i, line := range strings.Split(got, "\n") {
		if i >= len(old) || line != old[i] {
			return line, true
		}
	}
	return "(lines that are gone)", len(got) != len(want)
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := fs.ReadFile(checkout, file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
