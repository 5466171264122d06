package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// Parse is Load for a file's bytes; name is what the faults call it.
func Parse(name string, data []byte) (*File, error) {
	f := &File{name: name}
	r := &reader{file: f}
	if len(data) > maxBytes {
		r.fault("", fmt.Sprintf("the file has more than %d bytes", maxBytes), "name a pace configuration")
		return nil, join(r.faults)
	}
	if !utf8.Valid(data) {
		r.notUTF8(data)
		return nil, join(r.faults)
	}
	var doc map[string]any
	if _, err := toml.Decode(string(data), &doc); err != nil {
		if e, ok := errors.AsType[toml.ParseError](err); ok {
			r.faults = append(r.faults, &Fault{name, e.Position.Line, e.LastKey, e.Message, "mend the TOML"})
		}
		return nil, join(r.faults)
	}
	r.document(doc)
	r.together()
	if len(r.faults) > 0 {
		return nil, join(r.faults)
	}
	return f, nil
}

// notUTF8 reports the first byte of each line that is not UTF-8.
func (r *reader) notUTF8(data []byte) {
	line := 0
	for text := range bytes.Lines(data) {
		line++
		for len(text) > 0 {
			c, n := utf8.DecodeRune(text)
			if c == utf8.RuneError && n == 1 {
				r.faults = append(r.faults, &Fault{r.file.name, line, "", fmt.Sprintf("byte 0x%02x is not UTF-8", text[0]), "save the file as UTF-8"})
				break
			}
			text = text[n:]
		}
	}
}

// Fault is a fault at a key, for what only the part that acts on the key can know. The line is
// 0 when the key is not written in the file.
func (f *File) Fault(key, what, mend string) *Fault {
	return &Fault{File: f.name, Line: f.lines[key], Key: key, What: what, Mend: mend}
}

func join2(table, leaf string) string {
	if table == "" {
		return leaf
	}
	return table + "." + leaf
}

var _ = strings.Cut
