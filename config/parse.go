package config

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"pace/config/toml"
)

// Parse is Load for a file's bytes; name is what the faults call it.
func Parse(name string, data []byte) (*File, error) {
	r := &reader{file: &File{name: name, SHA256: fmt.Sprintf("%x", sha256.Sum256(data))}}
	readable := r.parse(data)
	if r.full() {
		what := fmt.Sprintf("more than %d faults, and these are only the first found", toml.MaxFaults-1)
		r.faults = append(r.faults, &Fault{name, 0, "", what, "fix them and check again"})
	}
	if !readable {
		return nil, Join(nil, r.faults...)
	}
	return r.file, Join(nil, r.faults...)
}

// parse reports whether there is a document to speak of; what is wrong with it is in r.faults.
func (r *reader) parse(data []byte) (readable bool) {
	if len(data) > maxBytes {
		r.at(0, "", fmt.Sprintf("the file has more than %d bytes", maxBytes), "name a configuration of pace")
		return false
	}
	doc := toml.Parse(data)
	r.file.lines = doc.Lines
	for _, f := range doc.Faults {
		r.syntax(f)
	}
	r.syntaxFaults = len(r.faults)
	if doc.Tree == nil {
		return false
	}
	r.expand(doc.Tree)
	r.document(doc.Tree)
	r.together()
	r.dropFollowing(doc.Bytes)
	return true
}

// dropFollowing drops the faults on lines that have one of the first n: what else is wrong on a line
// that is not even text is most likely the same mistake.
func (r *reader) dropFollowing(n int) {
	rest := slices.DeleteFunc(r.faults[n:], func(f *Fault) bool {
		return slices.ContainsFunc(r.faults[:n], func(o *Fault) bool { return o.Line == f.Line })
	})
	r.faults = r.faults[:n+len(rest)]
}

// syntax notes a fault of the syntax, in the words of the key that it is about.
func (r *reader) syntax(f toml.Fault) {
	what, remedy := f.What, f.Remedy
	k := keyNamed(f.Path)
	if in, name, t := r.tableOf(f.Path); k == nil && t != nil && f.Kind != toml.Other && !strings.Contains(name, `"`) {
		r.unknown(t, in, name, "key") // a value that can be read would not help
		return
	}
	if k != nil {
		switch v := k.proposal(f.Value); {
		case v != "":
			remedy = "write " + v
		case f.Kind == toml.NoValue:
			remedy = k.remedy() + ", or remove the key to use its default"
		case f.Kind == toml.BadValue, f.Kind == toml.Unquoted:
			remedy = k.remedy()
		}
		if f.Kind == toml.Unquoted && (k.wanted == aBoolean || k.wanted == aWhole || k.wanted == aNumber) {
			what = "expected " + k.wanted + ", got " + toml.Redact(f.Value)
		}
	}
	r.at(f.Line, f.Path, what, remedy)
}

// tableOf is the table of pace's that a path is in; nil if it is in none, or is a table itself.
func (r *reader) tableOf(path string) (in, name string, t *table) {
	names := toml.Split(path)
	if len(names) == 0 {
		return "", "", nil
	}
	name = names[len(names)-1]
	in = strings.TrimSuffix(strings.TrimSuffix(path, name), ".")
	if t = tableAt(in); t == nil || t.inner(name) != nil {
		return in, name, nil
	}
	return in, name, t
}
