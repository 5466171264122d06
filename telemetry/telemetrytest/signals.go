package telemetrytest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pace/telemetry"
)

// WantEverySignal fails unless got has one of each type that implements [telemetry.Signal]. dir is the folder
// of package telemetry; the signals are in the packages below it.
func WantEverySignal(t *testing.T, dir string, got []telemetry.Signal) {
	t.Helper()
	var wired []string
	for _, s := range got {
		wired = append(wired, fmt.Sprintf("%T", s))
	}
	all := signalTypes(t, dir)
	if len(all) < 3 {
		t.Fatalf("found only the signals %v below %s: the test looks in the wrong place", all, dir)
	}
	for _, name := range all {
		if !slices.Contains(wired, name) {
			t.Errorf("no record is published to %s, which implements telemetry.Signal: records go to %v", name, wired)
		}
	}
}

// signalTypes returns the types with the method of [telemetry.Signal], as %T prints them.
func signalTypes(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv == nil || f.Name.Name != "Publish" || len(f.Type.Params.List) != 2 ||
				types.ExprString(f.Type.Params.List[1].Type) != "*telemetry.Record" {
				continue
			}
			of, pointer := strings.CutPrefix(types.ExprString(f.Recv.List[0].Type), "*")
			names = append(names, map[bool]string{true: "*"}[pointer]+file.Name.Name+"."+of)
		}
	}
	return names
}
