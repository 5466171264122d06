package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"pace/config/meant"
	"pace/config/toml"
)

// A string of a file may refer to what stands elsewhere: ${env:NAME} to a variable of the environment, and
// ${file:PATH} to a file. What a reference stands for is not read for references again. $${ are the characters ${.
//
// Whoever writes a reference most likely has a reason not to write the value into the file, so it is taken for a
// secret: nothing shows it (secret.go).

// The limits of what references stand for, in bytes: of a file, and of all together.
const (
	maxReferenced     = 64 << 10
	maxAllReferenced  = 1 << 20
	theCharacters     = "$${ for the characters ${"
	orTheCharacters   = ", or " + theCharacters
	forms             = "${env:NAME} or ${file:PATH}"
	opening, escaping = "${", "$${"
)

// sources are where a value may come from, in the order in which they are named.
var sources = []string{"env", "file"}

// reference is what a file refers to.
type reference struct {
	source, name string
}

func (ref reference) String() string { return "${" + toml.Clip(ref.source+":"+ref.name) + "}" }

// unresolved takes the place of a string with a reference that stands for nothing. No key accepts it, and
// [reader.at] drops what is found wrong with it beyond that.
type unresolved struct{}

// expander puts what a file refers to in the place of the references.
type expander struct {
	r    *reader
	read map[reference]resolved // so that two references to one file stand for the same
	size int                    // of what all references stand for
}

// resolved is what a reference stands for, or why it stands for nothing.
type resolved struct {
	text string
	bad  *Fault // only What and Remedy
}

// expand replaces the references in a document.
func (r *reader) expand(doc map[string]any) {
	if !refers(doc) { // most files have none, and a path for every value of a large one takes time
		return
	}
	x := &expander{r: r, read: map[reference]resolved{}}
	x.expand("", doc)
	r.file.secrets.learn()
}

// refers reports whether there may be a reference in a value.
func refers(v any) bool {
	switch v := v.(type) {
	case string:
		return strings.Contains(v, opening)
	case map[string]any:
		for _, inner := range v {
			if refers(inner) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, refers)
	case []map[string]any:
		return slices.ContainsFunc(v, func(inner map[string]any) bool { return refers(inner) })
	}
	return false
}

// expand returns what takes the place of the value at a path. It changes tables and lists where they are.
func (x *expander) expand(path string, v any) any {
	switch v := v.(type) {
	case string:
		return x.text(path, v)
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			v[name] = x.expand(toml.Join(path, toml.Name(name)), v[name])
		}
	case []any:
		for i := range v {
			v[i] = x.expand(toml.Element(path, i), v[i])
		}
	case []map[string]any:
		for i := range v {
			x.expand(toml.Element(path, i), v[i])
		}
	}
	return v
}

// text returns the string at a path with what its references stand for.
func (x *expander) text(path, written string) any {
	if !strings.Contains(written, opening) {
		return written
	}
	var b strings.Builder
	var from reference
	var texts []string
	for rest := written; ; {
		before, after, found := strings.Cut(rest, opening)
		if !found {
			b.WriteString(rest)
			break
		}
		if plain, escaped := strings.CutSuffix(before, "$"); escaped {
			b.WriteString(plain + opening)
			rest = after
			continue
		}
		b.WriteString(before)
		ref, size, bad := parseReference(after)
		if bad == nil {
			value := x.resolve(path, ref)
			if x.size += len(value.text); x.size > maxAllReferenced && value.bad == nil {
				value = resolved{bad: &Fault{What: "what all references stand for has more than 1 MiB", Remedy: "refer to less"}}
			}
			b.WriteString(value.text)
			from, texts, bad = cmp.Or(from, ref), append(texts, value.text), value.bad
		}
		if bad != nil {
			x.r.fault(path, bad.What, bad.Remedy)
			x.r.file.secrets.unresolved(path)
			return unresolved{}
		}
		rest = after[size:]
	}
	if len(texts) > 0 {
		x.r.file.secrets.add(path, from, append(texts, b.String())...)
	}
	return b.String()
}

// parseReference reads a reference behind its opening, and returns how long it is.
func parseReference(text string) (ref reference, size int, bad *Fault) {
	inside, _, closed := strings.Cut(text, "}")
	source, name, hasSource := strings.Cut(inside, ":")
	shown := toml.Quote(opening + inside + "}")
	switch near := meant.Word(source, sources); {
	case !closed:
		bad = &Fault{What: "the } of a reference is missing in " + toml.Quote(opening+text), Remedy: "write " + forms + orTheCharacters}
	case strings.Contains(inside, opening):
		bad = &Fault{What: "a reference inside a reference", Remedy: "write " + forms + " with the name itself"}
	case !hasSource && inside != "":
		bad = &Fault{What: shown + " does not say where the value comes from", Remedy: "write ${env:" + inside + "} or ${file:" + inside + "}" + orTheCharacters}
	case !slices.Contains(sources, source) && near != "" && name != "":
		bad = &Fault{What: "unknown source " + toml.Quote(source) + " in " + shown, Remedy: "write " + reference{near, name}.String() + orTheCharacters}
	case !slices.Contains(sources, source):
		bad = &Fault{What: "unknown source " + toml.Quote(source) + " in " + shown, Remedy: "write " + forms + orTheCharacters}
	case name == "":
		bad = &Fault{What: shown + " names nothing", Remedy: "write " + forms + orTheCharacters}
	}
	return reference{source, name}, len(inside) + 1, bad
}

// resolve returns what the reference in the value at a path stands for.
func (x *expander) resolve(path string, ref reference) resolved {
	if known, ok := x.read[ref]; ok {
		return known
	}
	var value resolved
	switch ref.source {
	case "env":
		text, isSet := os.LookupEnv(ref.name)
		if value.text = text; !isSet {
			value.bad = &Fault{What: "the variable " + toml.Quote(ref.name) + " is not set", Remedy: "set it in the environment of pace"}
		}
	case "file":
		x.r.file.secrets.files = append(x.r.file.secrets.files, ReferencedFile{Key: path, Path: ref.name})
		text, err := readReferenced(ref.name)
		if value.text = text; err != nil {
			value.bad = &Fault{What: err.Error(), Remedy: "name a file that holds the value alone, and that pace may read"}
		}
	}
	switch {
	case value.bad != nil:
	case !utf8.ValidString(value.text) || strings.ContainsRune(value.text, 0):
		value.bad = &Fault{What: "what " + ref.String() + " stands for is not text in UTF-8", Remedy: "write text there"}
	}
	x.read[ref] = value
	return value
}

// readReferenced returns the content of a file without the newline at its end.
func readReferenced(name string) (string, error) {
	if i, err := os.Stat(name); err == nil && !i.Mode().IsRegular() { // a pipe may block its reader for ever
		return "", fmt.Errorf("%s is no regular file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("%s cannot be read: %w", name, withoutPath(err))
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxReferenced+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("%s cannot be read: %w", name, withoutPath(err))
	case len(content) > maxReferenced:
		return "", fmt.Errorf("%s is larger than 64 KiB", name)
	}
	text, _ := strings.CutSuffix(string(content), "\n")
	text, _ = strings.CutSuffix(text, "\r")
	return text, nil
}

// withoutPath returns an error of a file without the file's name.
func withoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
