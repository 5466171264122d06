package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestNames_OfArchitectureExist: whoever follows a request by architecture.md finds every file, test, type and
// function that it names in code quotes. A word without a capital, such as `dns`, is no name.
func TestNames_OfArchitectureExist(t *testing.T) {
	page, err := os.ReadFile("architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, walk, _ := strings.Cut(string(page), "## The walk of a request")
	walk, rest, _ := strings.Cut(walk, "## The words")
	_, add, ok := strings.Cut(rest, "## Where to add things")
	if !ok {
		t.Fatal("architecture.md has other headings")
	}
	code := readCode(t)
	n := 0
	for _, quoted := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(walk+add, -1) {
		name := strings.TrimPrefix(quoted[1], "*")
		if missing, isName := code.lack(name); isName {
			n++
			if missing {
				t.Errorf("architecture.md names %s, which is not in the code", name)
			}
		}
	}
	if n < 100 {
		t.Errorf("read %d names from architecture.md, want 100 at least", n)
	}
}

func TestLack(t *testing.T) {
	code := source{"proxy/a.go": "package proxy\n\ntype Handler struct {\n\tplan int\n}\n\nfunc (h *Handler) serve() {}\n\nfunc NewPlan() {}\n"}
	for _, tt := range []struct {
		name            string
		missing, isName bool
	}{
		{"a.go", false, true}, {"proxy/a.go", false, true}, {"xy/a.go", true, true}, {"b.go", true, true},
		{"Handler", false, true}, {"Handler.serve", false, true}, {"Handler.plan", false, true}, {"proxy.NewPlan", false, true},
		{"proxy.Handler.serve", false, true}, {"Handler.Serve", true, true}, {"Server.serve", true, true}, {"NewPlans", true, true},
		{"http.Server", false, false}, {"dns", false, false}, {"go generate ./...", false, false}, {"net/http", false, false},
	} {
		if missing, isName := code.lack(tt.name); missing != tt.missing || isName != tt.isName {
			t.Errorf("%s: missing %t, is a name %t; want %t, %t", tt.name, missing, isName, tt.missing, tt.isName)
		}
	}
}

// source is the text of every Go file, by its path.
type source map[string]string

func readCode(t *testing.T) source {
	code := source{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		text, err := os.ReadFile(path)
		code[strings.TrimPrefix(filepath.ToSlash(path), root+"/")] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return code
}

var (
	goFile    = regexp.MustCompile(`^[\w/]+\.go$`)
	qualified = regexp.MustCompile(`^(?:\w+\.)*(\w+)\.(\w+)$`)
	capital   = regexp.MustCompile(`^\w*[A-Z]\w*$`)
	outside   = regexp.MustCompile(`^(http|metric)\.`)
	someFile  = regexp.MustCompile(`[A-Z]{4}`) // lb/NAME.go
)

// lack reports whether a name is missing, and whether it is a name of code at all.
func (s source) lack(name string) (missing, isName bool) {
	switch q := qualified.FindStringSubmatch(name); {
	case someFile.MatchString(name), outside.MatchString(name):
		return false, false
	case goFile.MatchString(name):
		return !s.has(func(file, _ string) bool { return file == name || strings.HasSuffix(file, "/"+name) }), true
	case q != nil:
		of, last := q[1], q[2]
		method := regexp.MustCompile(`(?m)^func \((?:\w+ )?\*?` + of + `(?:\[\w+\])?\) ` + last + `\(`)
		field := regexp.MustCompile(`(?m)^type ` + of + ` (?:struct|interface) \{\n(?:(?:\t.*)?\n)*?\t` + last + `\b`)
		return !s.has(func(_, text string) bool {
			switch {
			case !strings.Contains(text, last):
				return false
			case strings.Contains("\n"+text, "\npackage "+of+"\n"):
				return declares(text, last)
			}
			return method.MatchString(text) || strings.Contains(text, "type "+of) && field.MatchString(text)
		}), true
	case capital.MatchString(name):
		return !s.has(func(_, text string) bool { return strings.Contains(text, name) && declares(text, name) }), true
	}
	return false, false
}

// declares reports whether a file declares a function, a method, a type, a value or a field with this name.
func declares(text, name string) bool {
	return regexp.MustCompile(`(?m)^(?:func (?:\([^)]*\) )?|type |var |const |\t)` + name + `\b`).MatchString(text)
}

func (s source) has(is func(file, text string) bool) bool {
	for file, text := range s {
		if is(file, text) {
			return true
		}
	}
	return false
}
