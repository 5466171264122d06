package main

import (
	"bytes"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestPicture_IsOfTheseImports(t *testing.T) {
	const file = "../../docs/picture/packages.svg"
	packages, err := list("../..")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, picture(packages)) {
		t.Errorf("%s is not the picture of today's imports (%v); draw it anew: go generate ./scripts/...", file, err)
	}
}

func TestPlace_PutsEachPackageBelowItsImporters(t *testing.T) {
	boxes := place([]pkg{
		{ImportPath: "pace/a", Imports: []string{"pace/b", "pace/c"}},
		{ImportPath: "pace/b", Imports: []string{"pace/c"}},
		{ImportPath: "pace/c"},
	})
	for i, path := range []string{"pace/a", "pace/b", "pace/c"} {
		if got := boxes[path].rank; got != i {
			t.Errorf("%s is in row %d, want %d", path, got, i)
		}
	}
	if got, want := direct("pace/a", boxes), []string{"pace/b"}; !slices.Equal(got, want) {
		t.Errorf("arrows from a: got %q, want %q: b leads to c already", got, want)
	}
}

func TestTwoMeanings(t *testing.T) {
	const text = `package p
type stream struct{ frames frames }
type frames int
func (stream) run() {}
func (frames) run() {}
func (frames) stream() {}
var run int
`
	got := twoMeanings(parsed(t, text))
	want := []string{"run (method, value)", "stream (method, type)"}
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", text, got, want)
	}
}

func TestDuplicates(t *testing.T) {
	block := strings.Repeat("\tprintln(\"a line\", n)\n\tn += step()\n", blockLines/2)
	tests := []struct {
		name string
		text string
		want int
	}{
		{"a block that stands once", "func f() {\n" + block + "}\n", 0},
		{"a block that stands twice", "func f() {\n" + block + "}\nfunc other() int {\n" + block + "}\n", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := duplicates(parsed(t, "package p\n"+tt.text)); got != tt.want {
				t.Errorf("got %d duplicates, want %d in:\n%s", got, tt.want, tt.text)
			}
		})
	}
}

func parsed(t *testing.T, text string) []source {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "p.go"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	sources, err := parse(token.NewFileSet(), pkg{Dir: dir, GoFiles: []string{"p.go"}})
	if err != nil {
		t.Fatal(err)
	}
	return sources
}
