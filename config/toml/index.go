package toml

import (
	"strconv"
	"strings"
)

// maxDepth is how many names, lists and inline tables may lie inside one another; a config
// needs three. The TOML library recurses without a limit and compares every prefix of a
// dotted key, so that a hostile file would exhaust the stack or take hours.
const maxDepth = 32

// index finds the line of every key in a TOML document, which the TOML library does not report.
// It is at least as lenient as the library: each document that the library reads is indexed
// in full, and one it refuses as far as can be made out, broken statements included.
type index struct {
	text       string
	pos        int
	line       int // of counted
	counted    int // counted <= pos
	deep       int // line of what exceeds maxDepth; 0: nothing does
	statements []statement
	keys       []string       // all that are written, in file order; an element of a list is none
	lines      map[string]int // by path: keys, the tables they imply, elements
	written    map[string]bool
	twice      []repeat
	elements   map[string]int // how many [[path]] there were
	table      string         // path and depth of the last header
	tableDepth int
	open       string // what the statement still lacks at the end of its line or of the file
	resumed    int    // statements that ran to the end of the file, and were cut short; <= maxResumed
}

// maxResumed keeps a file of many open brackets from being read to its end for each of them.
const maxResumed = 8

// statement is a header or a key with its value: all of its lines, to the end of the last.
type statement struct {
	line   int
	text   string
	path   string   // "" if no key can be made out
	header []string // the names in [a.b], nil for a key
	array  bool     // [[a.b]]
	value  string   // of a key, from its first byte
	open   string   // what it lacks: a closing "]", "]]", "}" or quotes, "=", or "name"
	rest   string   // what follows in its last line and is no comment
}

// repeat is a key that was written before.
type repeat struct {
	path        string
	line, first int
	header      bool // it is a table's header
}

func indexText(text string) *index {
	x := &index{text: text, line: 1, lines: map[string]int{}, written: map[string]bool{}, elements: map[string]int{}}
	for x.skipSpace(); x.pos < len(x.text) && x.deep == 0; x.skipSpace() {
		x.readStatement()
	}
	return x
}

func (x *index) readStatement() {
	start := x.pos
	st := statement{line: x.here()}
	x.open = ""
	if x.text[x.pos] == '[' {
		x.readHeader(&st)
	} else {
		x.readPair(&st)
	}
	st.open = x.open
	if x.pos == len(x.text) && x.open != "" && x.resumed < maxResumed {
		x.resumed++
		x.pos = start + nextStatement(x.text[start:])
		x.line, x.counted = st.line, start
	} else {
		end := x.pos
		x.toLineEnd()
		st.rest, _, _ = strings.Cut(x.text[end:x.pos], "#")
		st.rest = strings.TrimSpace(st.rest)
	}
	st.text = x.text[start:x.pos]
	x.statements = append(x.statements, st)
}

// readHeader reads [a.b] or [[a.b]].
func (x *index) readHeader(st *statement) {
	x.pos++
	if x.at('[') {
		st.array = true
		x.pos++
	}
	names, ok := x.readNames()
	if !ok {
		x.open = "name"
		return
	}
	end := "]"
	if st.array {
		end = "]]"
	}
	if strings.HasPrefix(x.text[x.pos:], end) {
		x.pos += len(end)
	} else {
		x.open = end
	}
	st.header = names
	path := x.descend("", names[:len(names)-1])
	path = Join(path, Name(names[len(names)-1]))
	if st.array {
		x.mark(path)
		x.elements[path]++
		path = Element(path, x.elements[path]-1)
	}
	st.path, x.table, x.tableDepth = path, path, len(names)
	x.stopIfDeeper(len(names))
	x.add(path, true)
}

// readPair reads a.b = value.
func (x *index) readPair(st *statement) {
	names, ok := x.readNames()
	if !ok || !x.at('=') {
		x.open = "="
		return
	}
	if x.stopIfDeeper(x.tableDepth + len(names)) {
		return
	}
	st.path = x.pathOf(x.table, names)
	x.add(st.path, false)
	x.pos++
	x.skipBlanks()
	start := x.pos
	x.readValue(st.path, x.tableDepth+len(names))
	st.value = x.text[start:x.pos]
}

// pathOf descends from a table along the names of a key.
func (x *index) pathOf(table string, names []string) string {
	last := len(names) - 1
	return Join(x.descend(table, names[:last]), Name(names[last]))
}

// descend follows names from path, into the last element where there is an array of tables.
func (x *index) descend(path string, names []string) string {
	for _, name := range names {
		path = Join(path, Name(name))
		x.mark(path)
		if n := x.elements[path]; n > 0 {
			path = Element(path, n-1)
		}
	}
	return path
}

// readValue skips a value and indexes its contents. Afterwards pos is after the value; or, if the value has
// no end, where reading stopped, and open says what is missing.
func (x *index) readValue(path string, depth int) {
	x.skipBlanks()
	switch {
	case x.stopIfDeeper(depth):
	case x.pos == len(x.text):
	case x.at('['):
		x.readList(path, depth+1)
	case x.at('{'):
		x.readInline(path, depth+1)
	case x.at('"'), x.at('\''):
		x.quoted()
	default:
		x.pos += run(x.text[x.pos:], func(c byte) bool { return !strings.ContainsRune(",]}#\n", rune(c)) })
	}
}

func (x *index) readList(path string, depth int) {
	x.pos++
	for i := 0; ; {
		x.skipSpace()
		switch start := x.pos; {
		case x.pos == len(x.text):
			x.open = "]"
			return
		case x.at(']'):
			x.pos++
			return
		case x.at(','):
			x.pos++
		default:
			name := Element(path, i)
			x.mark(name)
			x.readValue(name, depth)
			i++
			if x.open != "" || x.deep > 0 {
				return
			}
			if x.pos == start { // a stray brace
				x.pos++
			}
		}
	}
}

func (x *index) readInline(path string, depth int) {
	line := x.here()
	x.pos++
	for {
		x.skipSpace()
		switch {
		case x.pos == len(x.text):
			x.open = "}"
			return
		case x.at('}'):
			x.pos++
			return
		case x.at(','):
			x.pos++
		default:
			names, ok := x.readNames()
			if !ok || !x.at('=') {
				x.open = "="
				if line < x.here() { // more likely it was meant to end before
					x.open, x.pos = "}", len(x.text)
				}
				return
			}
			if x.stopIfDeeper(depth + len(names)) {
				return
			}
			key := x.pathOf(path, names)
			x.add(key, false)
			x.pos++
			if x.readValue(key, depth+len(names)); x.open != "" || x.deep > 0 {
				return
			}
		}
	}
}

// readNames reads a dotted key and the blanks after it.
func (x *index) readNames() (names []string, ok bool) {
	for {
		x.skipBlanks()
		start := x.pos
		if x.at('"') || x.at('\'') {
			if x.quoted(); x.open != "" {
				return nil, false
			}
			name, ok := unquote(x.text[start:x.pos])
			if !ok {
				return nil, false
			}
			names = append(names, name)
		} else {
			x.pos += run(x.text[x.pos:], isBare)
			if x.pos == start {
				return nil, false
			}
			names = append(names, x.text[start:x.pos])
		}
		x.skipBlanks()
		if !x.at('.') {
			return names, true
		}
		x.pos++
	}
}

// quoted skips a string of any of the four kinds.
func (x *index) quoted() {
	q := x.text[x.pos : x.pos+1]
	escapes := q == `"`
	if strings.HasPrefix(x.text[x.pos:], q+q+q) {
		x.pos += 3
		x.multiline(q[0], escapes)
		return
	}
	for x.pos++; x.pos < len(x.text) && x.text[x.pos] != '\n'; x.pos++ {
		switch {
		case x.at(q[0]):
			x.pos++
			return
		case escapes && x.at('\\') && x.pos+1 < len(x.text) && x.text[x.pos+1] != '\n':
			x.pos++
		}
	}
	x.open = q
}

// multiline skips to the end of the text: after the first three quotes in a row, and up to two more,
// which still belong to the text.
func (x *index) multiline(q byte, escapes bool) {
	for x.pos < len(x.text) {
		n := run(x.text[x.pos:], func(c byte) bool { return c == q })
		x.pos += n
		switch {
		case n >= 3:
			return
		case n > 0:
		case escapes && x.at('\\'):
			x.pos = min(x.pos+2, len(x.text))
		default:
			x.pos++
		}
	}
	x.open = strings.Repeat(string(q), 3)
}

func (x *index) at(c byte) bool { return x.pos < len(x.text) && x.text[x.pos] == c }

func (x *index) skipBlanks() {
	x.pos += run(x.text[x.pos:], func(c byte) bool { return c == ' ' || c == '\t' })
}

// skipSpace skips blanks, line ends and comments.
func (x *index) skipSpace() {
	for {
		x.pos += run(x.text[x.pos:], func(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' })
		if !x.at('#') {
			return
		}
		x.toLineEnd()
	}
}

func (x *index) toLineEnd() {
	x.pos += run(x.text[x.pos:], func(c byte) bool { return c != '\n' })
}

// here is the line of pos.
func (x *index) here() int {
	x.line += strings.Count(x.text[x.counted:x.pos], "\n")
	x.counted = x.pos
	return x.line
}

// stopIfDeeper stops the indexing if depth exceeds maxDepth, and reports whether it is stopped.
func (x *index) stopIfDeeper(depth int) bool {
	if depth > maxDepth && x.deep == 0 {
		x.deep = x.here()
	}
	return x.deep > 0
}

// add notes a key on this line. A key that was added before keeps its first line.
func (x *index) add(path string, header bool) {
	if x.written[path] {
		x.twice = append(x.twice, repeat{path, x.here(), x.lines[path], header})
		return
	}
	x.keys = append(x.keys, path)
	x.written[path] = true
	x.lines[path] = x.here()
}

// mark notes the line of something that is not a key: an element, or a table that a key implies.
func (x *index) mark(path string) {
	if _, ok := x.lines[path]; !ok {
		x.lines[path] = x.here()
	}
}

// run counts the bytes at the start of s for which is holds.
func run(s string, is func(byte) bool) int {
	for i := range len(s) {
		if !is(s[i]) {
			return i
		}
	}
	return len(s)
}

func isBare(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// Element is the path of the i-th element of a list.
func Element(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// Join is the path of a name, as Name spells it, in a table ("" at the top).
func Join(table, name string) string {
	if table == "" {
		return name
	}
	return table + "." + name
}

// Name spells a name as in a path: in quotes if it could be read as several names.
func Name(name string) string {
	if name != "" && run(name, isBare) == len(name) {
		return name
	}
	return strconv.Quote(name)
}

// Split takes a path apart: the names, each as Name spells it, and with the number of its element.
func Split(path string) (names []string) {
	start, quoted := 0, false
	for i := 0; i < len(path); i++ {
		switch {
		case quoted && path[i] == '\\':
			i++
		case path[i] == '"':
			quoted = !quoted
		case path[i] == '.' && !quoted:
			names = append(names, path[start:i])
			start = i + 1
		}
	}
	if path == "" {
		return nil
	}
	return append(names, path[start:])
}
