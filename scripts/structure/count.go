package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// source is a parsed file.
type source struct {
	path string
	text []byte
	ast  *ast.File
}

// size is how much there is to read.
type size struct{ code, comments int } // lines

// count returns the tables of what a reader has to live with.
func count(packages []pkg) (string, error) {
	var b strings.Builder
	b.WriteString("| package | files | lines of code | of comments | imports of pace | identifiers with two meanings |\n|---|---:|---:|---:|---:|---:|\n")
	files := token.NewFileSet()
	var all []source
	var total size
	methods, double := 0, map[string][]string{}
	for _, p := range packages {
		sources, err := parse(files, p)
		if err != nil {
			return "", err
		}
		all = append(all, sources...)
		var s size
		for _, f := range sources {
			s = s.plus(f.size(files))
			methods += methodsOf(f.ast, "request")
		}
		double[p.ImportPath] = twoMeanings(sources)
		total = total.plus(s)
		fmt.Fprintf(&b, "| `%s` | %d | %d | %d | %d | %d |\n",
			short(p.ImportPath), len(sources), s.code, s.comments, len(p.Imports), len(double[p.ImportPath]))
	}
	fmt.Fprintf(&b, "| all | %d | %d | %d | | |\n\n", len(all), total.code, total.comments)
	fmt.Fprintf(&b, "Methods on `request`: %d. Blocks of %d lines or more that stand twice: %d.\n", methods, blockLines, duplicates(all))
	for _, path := range slices.Sorted(maps.Keys(double)) {
		if len(double[path]) > 0 {
			fmt.Fprintf(&b, "\nTwo meanings in `%s`: %s\n", short(path), strings.Join(double[path], ", "))
		}
	}
	return b.String(), nil
}

func parse(files *token.FileSet, p pkg) (list []source, err error) {
	for _, name := range p.GoFiles {
		path := filepath.Join(p.Dir, name)
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		f, err := parser.ParseFile(files, path, text, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		list = append(list, source{path, text, f})
	}
	return list, nil
}

func (s size) plus(o size) size { return size{s.code + o.code, s.comments + o.comments} }

// size counts lines; one with code and a comment is both.
func (s source) size(files *token.FileSet) (n size) {
	commented := map[int]bool{}
	for _, group := range s.ast.Comments {
		for line := files.Position(group.Pos()).Line; line <= files.Position(group.End()).Line; line++ {
			commented[line] = true
		}
	}
	n.comments = len(commented)
	for line := range bytes.Lines(s.text) {
		if line = bytes.TrimSpace(line); len(line) > 0 && !bytes.HasPrefix(line, []byte("//")) {
			n.code++
		}
	}
	return n
}

func methodsOf(f *ast.File, receiver string) (n int) {
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && receiverOf(fn) == receiver {
			n++
		}
	}
	return n
}

func receiverOf(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return ""
	}
	t := fn.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if generic, ok := t.(*ast.IndexExpr); ok {
		t = generic.X
	}
	if name, ok := t.(*ast.Ident); ok {
		return name.Name
	}
	return ""
}

// twoMeanings returns the names that stand for things of two kinds in one package: a type and a
// function, a method of one type and a field of another, a package's variable and a method.
// Methods of one name on several types are not a second meaning, and neither is a field that is named for
// its type.
func twoMeanings(sources []source) (names []string) {
	kinds := map[string]map[string]bool{}
	note := func(name *ast.Ident, kind string) {
		if name.Name == "_" {
			return
		}
		if kinds[name.Name] == nil {
			kinds[name.Name] = map[string]bool{}
		}
		kinds[name.Name][kind] = true
	}
	for _, s := range sources {
		for _, d := range s.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					note(d.Name, "function")
				} else {
					note(d.Name, "method")
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch spec := spec.(type) {
					case *ast.TypeSpec:
						note(spec.Name, "type")
						if of, ok := spec.Type.(*ast.StructType); ok {
							for _, field := range of.Fields.List {
								for _, name := range field.Names {
									note(name, "field")
								}
							}
						}
					case *ast.ValueSpec:
						for _, name := range spec.Names {
							note(name, "value")
						}
					}
				}
			}
		}
	}
	for name, of := range kinds {
		if len(of) == 2 && of["field"] && of["type"] {
			continue
		}
		if len(of) > 1 {
			names = append(names, name+" ("+strings.Join(slices.Sorted(maps.Keys(of)), ", ")+")")
		}
	}
	slices.Sort(names)
	return names
}

// blockLines is how many lines in a row make a block worth to be written once.
const blockLines = 6

// duplicates counts the places where a run of at least blockLines lines stands that also stands
// before, without blank lines, comments, lone brackets and imports.
func duplicates(all []source) (n int) {
	seen := map[string]bool{}
	for _, s := range all {
		var lines []string
		for line := range bytes.Lines(s.text) {
			text := string(bytes.TrimSpace(line))
			if len(text) > 3 && !strings.HasPrefix(text, "//") && !strings.HasPrefix(text, `"`) {
				lines = append(lines, text)
			}
		}
		inside := false
		for i := 0; i+blockLines <= len(lines); i++ {
			block := strings.Join(lines[i:i+blockLines], "\n")
			if seen[block] && !inside {
				n++
			}
			inside = seen[block]
			seen[block] = true
		}
	}
	return n
}
