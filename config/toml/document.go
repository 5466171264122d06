// Package toml reads a TOML file as far as it can be read, and reports everything that is wrong with
// it at once: the library behind it stops at the first error and does not say on which line a key is.
//
// It must not know any key or table of pace, nor what a value means, nor how a fault is printed:
// package config adds what only the key tells. It imports no other package of pace.
package toml

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// MaxFaults bounds the work on a file that is no TOML at all; nobody reads that many.
const MaxFaults = 1000

// Document is what could be read of a file.
type Document struct {
	Tree   map[string]any // as the TOML library decodes it; nil: nothing could be read
	Lines  map[string]int // by dotted path: keys, the tables they imply, elements of lists: a.b[1]
	Faults []Fault        // at most MaxFaults
	Bytes  int            // Faults[:Bytes] are about bytes that TOML does not allow

	index *index
}

// Fault is one thing that is wrong with the syntax.
type Fault struct {
	Line   int    // from 1; 0 when it is not known
	Path   string // of the key or table; "" when none can be made out
	What   string // lower case, no full stop
	Remedy string // what to do, for somebody who does not know the key
	Kind   Kind
	Value  string // of a Kind that is about one: the value as it is written
}

// Kind tells apart the faults for which somebody who knows the key has a better remedy.
type Kind uint8

const (
	Other      Kind = iota
	NoValue         // nothing follows the equals sign
	BadValue        // a value that is not TOML
	Unquoted        // a bare word where only a text in quotes can stand
	AfterValue      // something follows the value; both are in Value
)

// Parse reads a file. It never returns nil.
func Parse(data []byte) *Document {
	d := &Document{}
	if before, _, found := bytes.Cut(data, []byte{0}); found {
		d.add(Fault{
			Line:   1 + bytes.Count(before, []byte("\n")),
			What:   "a NUL byte, so this is not UTF-8 text",
			Remedy: "save the file as UTF-8",
		})
		return d
	}
	d.checkBytes(data)
	d.Bytes = len(d.Faults)
	d.index = indexText(strings.TrimLeft(strings.ToValidUTF8(string(data), "\ufffd"), "\ufeff"))
	d.Lines = d.index.lines
	if d.index.deep > 0 {
		d.add(Fault{
			Line:   d.index.deep,
			What:   fmt.Sprintf("more than %d names, lists and tables inside one another", maxDepth),
			Remedy: "write each table under its own [header]",
		})
		return d
	}
	d.decode()
	return d
}

// Value decodes one value, as it stands after the equals sign.
func Value(text string) (any, error) {
	var doc map[string]any
	_, err := toml.Decode("v = "+text, &doc)
	return doc["v"], err
}

func (d *Document) full() bool { return len(d.Faults) >= MaxFaults }

func (d *Document) add(f Fault) {
	if !d.full() {
		d.Faults = append(d.Faults, f)
	}
}

// checkBytes reports the first byte of each line that TOML does not allow there.
func (d *Document) checkBytes(data []byte) {
	line := 0
	for text := range bytes.Lines(data) {
		line++
		text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
		for len(text) > 0 {
			c, n := utf8.DecodeRune(text)
			switch {
			case c == utf8.RuneError && n == 1:
				d.add(Fault{
					Line:   line,
					What:   fmt.Sprintf("byte 0x%02x is not UTF-8", text[0]),
					Remedy: "save the file as UTF-8",
				})
			case c < ' ' && c != '\t' || c == 0x7f:
				d.add(Fault{
					Line:   line,
					What:   fmt.Sprintf("control character 0x%02x", c),
					Remedy: fmt.Sprintf(`remove it, or write \u%04x in a double-quoted string`, c),
				})
			default:
				text = text[n:]
				continue
			}
			break
		}
	}
}

// decode fills the tree as the TOML library reads it. If the library refuses the document, decode notes
// at least one fault and fills the tree with what can be read.
func (d *Document) decode() {
	var doc map[string]any
	_, err := toml.Decode(d.index.text, &doc)
	if err == nil {
		if d.Tree = doc; doc == nil {
			d.Tree = map[string]any{}
		}
		return
	}
	if name, line := language(d.index.text); name != "" {
		d.Faults, d.Bytes = nil, 0
		d.add(Fault{
			Line:   line,
			What:   "this is " + name,
			Remedy: "pace reads TOML",
		})
		return
	}
	before := len(d.Faults)
	d.Tree = d.pieces()
	if len(d.Faults) == before {
		line, key, message := 0, "", err.Error()
		if e, ok := errors.AsType[toml.ParseError](err); ok {
			line, key, message = max(e.Position.Line, 1), printable(e.LastKey), e.Message
		}
		d.add(Fault{
			Line:   line,
			Path:   key,
			What:   sentence(message),
			Remedy: "define each table once, and use a name either for a value or for a table",
		})
	}
}
