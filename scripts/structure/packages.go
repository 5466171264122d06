package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// module is pace's own path; packages below it are pace's.
const module = "pace"

// pkg is a package of pace as go list describes it.
type pkg struct {
	ImportPath string
	Dir        string
	Doc        string   // first sentence of the package comment
	GoFiles    []string // without tests
	Imports    []string // all that it imports; list leaves pace's own
}

// list returns the packages of pace in a checkout, without its scripts, in the order of their paths.
func list(dir string) (packages []pkg, err error) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,GoFiles,Imports", module+"/...")
	cmd.Dir = dir
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, fmt.Errorf("go list: %w: %s", err, exit.Stderr)
	} else if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		switch err := d.Decode(&p); {
		case err == io.EOF:
			return packages, nil
		case err != nil:
			return nil, fmt.Errorf("reading go list: %w", err)
		case strings.HasPrefix(p.ImportPath, module+"/scripts") || len(p.GoFiles) == 0:
			continue
		}
		var own []string
		for _, path := range p.Imports {
			if strings.HasPrefix(path, module+"/") {
				own = append(own, path)
			}
		}
		p.Imports = own
		packages = append(packages, p)
	}
}

// short is a package's path without the module's name.
func short(path string) string { return strings.TrimPrefix(path, module+"/") }
