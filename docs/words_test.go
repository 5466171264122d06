package docs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// forbidden is a word of the table's column "not".
type forbidden struct {
	word       string
	better     string // the word of its row
	inComments bool   // not in comments either
}

// TestWords holds the identifiers of all packages, and the comments where the table says so, to the
// table of words in architecture.md.
func TestWords(t *testing.T) {
	raw, err := os.ReadFile("architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	words := forbiddenWords(string(raw))
	if len(words) < 20 {
		t.Fatalf("read only %d words from the table of words: %+v", len(words), words)
	}
	for _, s := range sources(t) {
		for _, b := range breaches(s, words) {
			t.Error(b)
		}
	}
}

// forbiddenWords reads the column "not" of the table under "## The words". A word in code quotes is in
// no identifier; if it is bold, it is in no comment either. Words without quotes have other meanings,
// too: a reviewer looks after them.
func forbiddenWords(page string) (words []forbidden) {
	_, section, _ := strings.Cut(page, "\n## The words\n")
	section, _, _ = strings.Cut(section, "\n## ")
	code := regexp.MustCompile("(\\*\\*)?`([a-z ]+)`")
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "| *") || len(cells) != 3 {
			continue
		}
		for _, m := range code.FindAllStringSubmatch(cells[2], -1) {
			words = append(words, forbidden{m[2], strings.Trim(cells[0], " *"), m[1] != ""})
		}
	}
	return words
}

// goSource is a parsed file and its path from the root.
type goSource struct {
	path  string
	files *token.FileSet
	ast   *ast.File
}

// sources returns the Go files of all modules of the repository.
func sources(t *testing.T) (list []goSource) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(name) != ".go" {
			return err
		}
		files := token.NewFileSet()
		f, err := parser.ParseFile(files, filepath.Join(root, name), nil, parser.ParseComments|parser.SkipObjectResolution)
		list = append(list, goSource{name, files, f})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// breach is one use of a forbidden word.
type breach struct {
	at         string // path:line
	identifier string // "" in a comment
	forbidden
}

func (b breach) String() string {
	where := "a comment"
	if b.identifier != "" {
		where = "the identifier " + b.identifier
	}
	return fmt.Sprintf("%s: %s says %q: the word is %q (docs/architecture.md, The words)", b.at, where, b.word, b.better)
}

func breaches(s goSource, words []forbidden) (list []breach) {
	at := func(p token.Pos) string { return fmt.Sprintf("%s:%d", s.path, s.files.Position(p).Line) }
	for _, name := range declared(s.ast) {
		sentence := strings.HasPrefix(name.Name, "Test") // its name counts as a comment
		for _, w := range words {
			if (w.inComments || !sentence) && w.isIn(split(name.Name)) {
				list = append(list, breach{at(name.Pos()), name.Name, w})
			}
		}
	}
	for _, group := range s.ast.Comments {
		for _, c := range group.List {
			for _, w := range words {
				if w.inComments && w.isIn(strings.FieldsFunc(strings.ToLower(c.Text), func(r rune) bool { return !unicode.IsLetter(r) })) {
					list = append(list, breach{at(c.Pos()), "", w})
				}
			}
		}
	}
	return list
}

// isIn reports whether the word, of which the first part may be inflected, is among the words of a text.
func (f forbidden) isIn(text []string) bool {
	first, rest, _ := strings.Cut(f.word, " ")
	for i, w := range text {
		ending, ok := strings.CutPrefix(w, first)
		if !ok || !slices.Contains([]string{"", "s", "d", "ed", "r", "er", "ing"}, ending) {
			continue
		}
		if rest == "" || strings.HasPrefix(strings.Join(text[i+1:], " ")+" ", rest+" ") {
			return true
		}
	}
	return false
}

// split returns the words of an identifier, in lower case: readHTTPHead is read, http, head.
func split(identifier string) (words []string) {
	runes := []rune(identifier)
	start := 0
	for i := 1; i <= len(runes); i++ {
		switch {
		case i == len(runes):
		case runes[i] == '_' || runes[i-1] == '_':
		case unicode.IsUpper(runes[i]) && !unicode.IsUpper(runes[i-1]):
		case unicode.IsUpper(runes[i]) && i+1 < len(runes) && unicode.IsLower(runes[i+1]):
		default:
			continue
		}
		words = append(words, strings.ToLower(string(runes[start:i])))
		start = i
	}
	return words
}

// declared returns the names that a file gives to something.
func declared(f *ast.File) (names []*ast.Ident) {
	add := func(list ...ast.Expr) {
		for _, x := range list {
			if name, ok := x.(*ast.Ident); ok {
				names = append(names, name)
			}
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Recv == nil || !strings.HasPrefix(n.Doc.Text(), n.Name.Name+" implements ") { // whose interface gives the name
				add(n.Name)
			}
		case *ast.TypeSpec:
			add(n.Name)
		case *ast.ValueSpec:
			names = append(names, n.Names...)
		case *ast.Field:
			names = append(names, n.Names...)
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				add(n.Lhs...)
			}
		case *ast.RangeStmt:
			if n.Tok == token.DEFINE {
				add(n.Key, n.Value)
			}
		}
		return true
	})
	return names
}

func TestBreaches(t *testing.T) {
	const page = "# A page\n\n## The words\n\n| word | means | not |\n|---|---|---|\n" +
		"| *response* | what comes back | `answer`, call |\n| *malformed* | against the syntax | **`rubbish`** |\n" +
		"| *abort* | to end early | `break off` |\n\n## Next\n\n| *a* | b | `other` |\n"
	tests := []struct {
		name string
		text string
		want []string
	}{
		{"the right words are no breach", "// An answer.\nvar response, breakEven, offBreak, swering int", nil},
		{"a word without quotes is no breach", "var call int", nil},
		{"a table below another heading does not count", "var other int", nil},
		{"a word within an identifier is a breach", "var ownAnswerText int", []string{`p.go:2: the identifier ownAnswerText says "answer": the word is "response"`}},
		{"so is an inflected one", "func f() { for _, answered := range x {} }", []string{`p.go:2: the identifier answered says "answer": the word is "response"`}},
		{"so are the words of a phrase", "type T struct { BreaksOffAt int }", []string{`p.go:2: the identifier BreaksOffAt says "break off": the word is "abort"`}},
		{"a bold word is not in comments either", "// RFC 9110: Rubbish!\nvar x int", []string{`p.go:2: a comment says "rubbish": the word is "malformed"`}},
		{"the name of a test counts as a comment", "func TestAnswers_Rubbish() {}", []string{`p.go:2: the identifier TestAnswers_Rubbish says "rubbish": the word is "malformed"`}},
		{"a name that an interface of others gives is no breach", "// Answer implements pkg.Answerer.\nfunc (t T) Answer() {}", nil},
		{"a name that another package declares is no breach", "var x = pkg.Answer", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := token.NewFileSet()
			f, err := parser.ParseFile(files, "p.go", "package p\n"+tt.text, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, b := range breaches(goSource{"p.go", files, f}, forbiddenWords(page)) {
				got = append(got, strings.TrimSuffix(b.String(), " (docs/architecture.md, The words)"))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%s: got %q, want %q", tt.text, got, tt.want)
			}
		})
	}
}
