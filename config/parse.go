package config

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// Parse is Load for a file's bytes; name is what the faults call it.
func Parse(name string, data []byte) (*File, error) {
	r := &reader{file: &File{name: name}}
	readable := r.parse(data)
	if r.full() {
		r.faults = append(r.faults, &Fault{name, 0, "", fmt.Sprintf("more than %d faults, and these are only the first found", maxFaults-1), "mend them and check again"})
	}
	if !readable {
		return nil, join(r.faults)
	}
	return r.file, join(r.faults)
}

// parse reports whether there is a document to speak of; what is wrong with it is in r.faults.
func (r *reader) parse(data []byte) (readable bool) {
	if len(data) > maxBytes {
		r.at(0, "", fmt.Sprintf("the file has more than %d bytes", maxBytes), "name a configuration of pace")
		return false
	}
	if before, _, found := bytes.Cut(data, []byte{0}); found {
		r.at(1+bytes.Count(before, []byte("\n")), "", "a NUL byte, so this is not UTF-8 text", "save the file as UTF-8")
		return false
	}
	r.unreadable(data)
	odd := len(r.faults)
	x := indexText(strings.TrimLeft(strings.ToValidUTF8(string(data), "\ufffd"), "\ufeff"))
	r.file.lines = x.lines
	if x.deep > 0 {
		r.at(x.deep, "", fmt.Sprintf("more than %d names, lists and tables inside one another", maxDepth), "write each table under its own [header]")
		return false
	}
	r.document(r.decode(x))
	r.together()
	// What else is wrong in an unreadable line is most likely the same mistake.
	rest := slices.DeleteFunc(r.faults[odd:], func(f *Fault) bool {
		return slices.ContainsFunc(r.faults[:odd], func(o *Fault) bool { return o.Line == f.Line })
	})
	r.faults = r.faults[:odd+len(rest)]
	return true
}

// unreadable reports the first byte of each line that TOML does not allow there.
func (r *reader) unreadable(data []byte) {
	line := 0
	for text := range bytes.Lines(data) {
		line++
		text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
		for len(text) > 0 {
			c, n := utf8.DecodeRune(text)
			switch {
			case c == utf8.RuneError && n == 1:
				r.at(line, "", fmt.Sprintf("byte 0x%02x is not UTF-8", text[0]), "save the file as UTF-8")
			case c < ' ' && c != '\t' || c == 0x7f:
				r.at(line, "", fmt.Sprintf("control character 0x%02x", c), fmt.Sprintf(`remove it, or write \u%04x in a double-quoted string`, c))
			default:
				text = text[n:]
				continue
			}
			break
		}
	}
}

// decode gives the document as the TOML library reads it; of one that the library refuses,
// what can be read, after noting at least one fault.
func (r *reader) decode(x *index) map[string]any {
	var doc map[string]any
	_, err := toml.Decode(x.text, &doc)
	if err == nil {
		return doc
	}
	before := len(r.faults)
	doc = r.pieces(x)
	if len(r.faults) == before {
		line, key, message := 0, "", err.Error()
		if e, ok := errors.AsType[toml.ParseError](err); ok {
			line, key, message = max(e.Position.Line, 1), printable(e.LastKey), e.Message
		}
		r.at(line, key, sentence(message), "write each table once, and a name either as a value or as a table")
	}
	return doc
}
