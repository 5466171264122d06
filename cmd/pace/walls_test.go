package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// walls say which package may import what. They are read from docs/architecture.md, so that the page and
// the test cannot disagree. They are allow lists: what a row does not name is forbidden.
type walls struct {
	packages map[string][]string // what a package may import of pace; nil: nothing
	reserved map[string][]string // a path outside pace, and the only packages that may import it
}

// everything in a row's last cell allows every import.
const everything = "everything"

// listed is a package as go list describes it.
type listed struct {
	ImportPath string
	Imports    []string
}

func TestWalls(t *testing.T) {
	page, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	w := readWalls(string(page))
	if len(w.packages) == 0 || len(w.reserved) == 0 {
		t.Fatalf("read no walls from docs/architecture.md: %+v", w)
	}
	for _, breach := range w.breaches(listPackages(t)) {
		t.Error(breach)
	}
}

// readWalls reads the tables under "## Packages" and "## Walls": the names in code quotes of a row's
// first and last cell.
func readWalls(page string) walls {
	w := walls{map[string][]string{}, map[string][]string{}}
	section := ""
	for line := range strings.Lines(page) {
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			section = strings.TrimSpace(heading)
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		first, last := quoted(cells[0]), quoted(cells[len(cells)-1])
		if strings.TrimSpace(cells[len(cells)-1]) == everything {
			last = []string{everything}
		}
		for _, name := range first {
			switch {
			case !strings.HasPrefix(line, "|"):
			case section == "Packages":
				w.packages[name] = last
			case section == "Walls":
				w.reserved[name] = quoted(cells[1])
			}
		}
	}
	return w
}

// quoted returns the names between code quotes.
func quoted(cell string) (names []string) {
	for i, part := range strings.Split(cell, "`") {
		if i%2 == 1 {
			names = append(names, part)
		}
	}
	return names
}

// breaches returns the imports that break the walls, and the rows that name packages that are gone.
func (w walls) breaches(packages []listed) (list []string) {
	exists := map[string]bool{}
	for _, p := range packages {
		exists[own(p.ImportPath)] = true
	}
	for _, p := range packages {
		list = append(list, w.of(p)...)
	}
	for name, may := range w.packages {
		for _, path := range append([]string{name}, may...) {
			if path = strings.TrimSuffix(path, "/…"); path != everything && !exists[path] {
				list = append(list, fmt.Sprintf("the row of %s names %s, which is gone: remove it, or name what came instead", name, path))
			}
		}
	}
	for path, only := range w.reserved {
		for _, name := range only {
			if !exists[strings.TrimSuffix(name, "/…")] {
				list = append(list, fmt.Sprintf("the wall around %s names %s, which is gone: remove it, or name what came instead", path, name))
			}
		}
	}
	slices.Sort(list)
	return list
}

func (w walls) of(p listed) (list []string) {
	name := own(p.ImportPath)
	may, known := w.packages[name]
	if !known {
		return []string{name + " has no row in the table of packages: add it, with what it may import"}
	}
	for _, path := range p.Imports {
		switch inside := strings.HasPrefix(path, "pace/"); {
		case inside && !slices.Contains(may, everything) && !matchesAny(own(path), may):
			list = append(list, fmt.Sprintf("%s must not import %s: its row allows %s", name, own(path), orNothing(may)))
		case !inside:
			for reserved, only := range w.reserved {
				if matches(path, reserved) && !matchesAny(name, only) {
					list = append(list, fmt.Sprintf("%s must not import %s: only %s may", name, path, strings.Join(only, ", ")))
				}
			}
		}
	}
	return list
}

// own is a package's path without the module's name.
func own(path string) string { return strings.TrimPrefix(path, "pace/") }

func orNothing(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

func matchesAny(path string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return matches(path, pattern) })
}

// matches reports whether path is the pattern, or below it if the pattern ends in "/…".
func matches(path, pattern string) bool {
	tree, ok := strings.CutSuffix(pattern, "/…")
	return path == tree || ok && strings.HasPrefix(path, tree+"/")
}

func listPackages(t *testing.T) (list []listed) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "pace/...").Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		t.Fatalf("go list: %v: %s", err, exit.Stderr)
	} else if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); err == io.EOF {
			return list
		} else if err != nil {
			t.Fatalf("reading go list: %v", err)
		}
		if !matches(p.ImportPath, "pace/scripts/…") && p.ImportPath != "pace/docs" {
			list = append(list, p)
		}
	}
}

func TestWalls_Breaches(t *testing.T) {
	const page = "## Packages\n\n| package | purpose | may import |\n|---|---|---|\n" +
		"| `app` | runs | everything |\n| `lib`, `lib/part` | decides | nothing |\n| `mid` | joins | `lib/…` |\n" +
		"\n## Walls\n\n| path | only in | why |\n|---|---|---|\n| `net` | `app` | sockets |\n"
	whole := []listed{{ImportPath: "pace/app"}, {ImportPath: "pace/lib"}, {ImportPath: "pace/lib/part"}, {ImportPath: "pace/mid"}}
	tests := []struct {
		name    string
		imports map[string][]string
		want    []string
	}{
		{"what the rows allow is no breach", map[string][]string{"pace/app": {"pace/mid", "net"}, "pace/mid": {"pace/lib", "pace/lib/part", "os"}}, nil},
		{"a package whose row says nothing imports nothing of pace", map[string][]string{"pace/lib": {"pace/mid"}},
			[]string{"lib must not import mid: its row allows nothing"}},
		{"a package imports only what its row names", map[string][]string{"pace/mid": {"pace/app"}},
			[]string{"mid must not import app: its row allows lib/…"}},
		{"a reserved path is closed to all others", map[string][]string{"pace/mid": {"net"}}, []string{"mid must not import net: only app may"}},
		{"a path that only begins like a reserved one is free", map[string][]string{"pace/mid": {"net/netip"}}, nil},
		{"a package without a row is a breach", map[string][]string{"pace/new": nil},
			[]string{"new has no row in the table of packages: add it, with what it may import"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			packages := slices.Clone(whole)
			for _, path := range slices.Sorted(maps.Keys(tt.imports)) {
				i := slices.IndexFunc(packages, func(p listed) bool { return p.ImportPath == path })
				if i < 0 {
					packages, i = append(packages, listed{ImportPath: path}), len(packages)
				}
				packages[i].Imports = tt.imports[path]
			}
			if got := readWalls(page).breaches(packages); !slices.Equal(got, tt.want) {
				t.Errorf("imports %v: got %q, want %q", tt.imports, got, tt.want)
			}
		})
	}
	t.Run("a row of a package that is gone is a breach", func(t *testing.T) {
		want := []string{
			"the row of lib/part names lib/part, which is gone: remove it, or name what came instead",
		}
		if got := readWalls(page).breaches(slices.Delete(slices.Clone(whole), 2, 3)); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
