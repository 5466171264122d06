package main

import (
	"go/ast"
	"go/token"
	"path"
	"path/filepath"
)

// functions has the functions of each file, by the file's path with the module's name.
type functions map[string][]function

type function struct {
	name     string
	from, to int // lines
}

func functionsByLine(dir string) (functions, error) {
	packages, err := list(dir)
	if err != nil {
		return nil, err
	}
	found, files := functions{}, token.NewFileSet()
	for _, p := range packages {
		sources, err := parse(files, p)
		if err != nil {
			return nil, err
		}
		for _, s := range sources {
			file := path.Join(p.ImportPath, filepath.Base(s.path))
			for _, d := range s.ast.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok {
					continue
				}
				name := fn.Name.Name
				if of := receiverOf(fn); of != "" {
					name = of + "." + name
				}
				found[file] = append(found[file], function{name, files.Position(fn.Pos()).Line, files.Position(fn.End()).Line})
			}
		}
	}
	return found, nil
}

// at returns the function that stands at the line, "" if there is none: a literal of a package's variable.
func (f functions) at(file string, line int) string {
	for _, fn := range f[file] {
		if fn.from <= line && line <= fn.to {
			return fn.name
		}
	}
	return ""
}
