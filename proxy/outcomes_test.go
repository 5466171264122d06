package proxy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pace/proxy/body"
	"pace/telemetry"
)

// Outcomes are decided in one file. No other one names an outcome, or writes one into a record.
func TestOutcomesAreDecidedInOneFile(t *testing.T) {
	names := outcomeNames(t)
	if !slices.Contains(names, "OK") || !slices.Contains(names, "InternalError") || len(names) != len(telemetry.Outcomes())+1 {
		t.Fatalf("read %d names of outcomes in package telemetry, want %d and Unset: %v", len(names), len(telemetry.Outcomes()), names)
	}
	files := token.NewFileSet()
	here, err := fs.Glob(os.DirFS("."), "*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range here {
		if strings.HasSuffix(name, "_test.go") || name == "outcome.go" {
			continue
		}
		file, err := parser.ParseFile(files, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if p, ok := n.X.(*ast.Ident); ok && p.Name == "telemetry" && slices.Contains(names, n.Sel.Name) {
					t.Errorf("%v names the outcome %s: only outcome.go may", files.Position(n.Pos()), n.Sel.Name)
				}
			case *ast.AssignStmt:
				for _, to := range n.Lhs {
					if s, ok := to.(*ast.SelectorExpr); ok && s.Sel.Name == "Outcome" {
						t.Errorf("%v writes an outcome: only outcome.go may", files.Position(n.Pos()))
					}
				}
			}
			return true
		})
	}
}

// outcomeNames returns the names of the constants of type Outcome in package telemetry, in their order.
func outcomeNames(t *testing.T) (names []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../telemetry/outcome.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		typed := false
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			if v.Type != nil {
				word, ok := v.Type.(*ast.Ident)
				typed = ok && word.Name == "Outcome"
			}
			if typed && v.Names[0].Name != "OutcomeCount" {
				names = append(names, v.Names[0].Name)
			}
		}
	}
	return names
}

// Each outcome ends some exchange.
func TestOutcomesAreDecided(t *testing.T) {
	decides, err := os.ReadFile("outcome.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range outcomeNames(t) {
		if !regexp.MustCompile(`\btelemetry\.` + name + `\b`).Match(decides) {
			t.Errorf("no exchange ends as %s: outcome.go does not name it", name)
		}
	}
}

// A cause or a fault without an outcome would end as one that means a bug.
func TestCausesHaveOutcomes(t *testing.T) {
	for c := causeDraining; c < causeCount; c++ {
		if causes[c] == telemetry.Unset || causes[c].Info().Sentence == "" {
			t.Errorf("cause %d: %v tells a client nothing", c, causes[c])
		}
	}
	for _, f := range body.Faults {
		if int(f) >= len(faults) || faults[f] == telemetry.Unset {
			t.Errorf("fault %d has no outcome", f)
		}
	}
}

// A cause that nobody gives is an outcome with which nothing ends.
func TestCausesAreGiven(t *testing.T) {
	here, err := fs.Glob(os.DirFS("."), "*.go")
	if err != nil {
		t.Fatal(err)
	}
	given, decides := map[string]bool{}, ""
	for _, name := range here {
		text, err := os.ReadFile(name)
		switch {
		case err != nil:
			t.Fatal(err)
		case name == "outcome.go":
			decides = string(text)
		case !strings.HasSuffix(name, "_test.go"):
			for _, cause := range regexp.MustCompile(`\bcause[A-Z]\w+`).FindAllString(string(text), -1) {
				given[cause] = true
			}
		}
	}
	rows := regexp.MustCompile(`(?m)^\t(cause[A-Z]\w+): `).FindAllStringSubmatch(decides, -1)
	if len(rows) != int(causeCount)-1 {
		t.Fatalf("read %d causes in outcome.go, want %d", len(rows), causeCount-1)
	}
	for _, row := range rows {
		if !given[row[1]] {
			t.Errorf("no file but outcome.go names %s", row[1])
		}
	}
}
