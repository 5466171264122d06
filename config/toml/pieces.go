package toml

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// The TOML library stops at the first error. What is here reads the statements of a refused
// document one by one, so that a user sees everything that is wrong at once.

// pieces is the tree of the statements that can be read; the others are noted as faults.
func (d *Document) pieces() map[string]any {
	for _, t := range d.index.twice {
		remedy := "remove one of the two"
		if t.header {
			remedy = "move its keys to the first"
		}
		d.add(Fault{
			Line:   t.line,
			Path:   t.path,
			What:   fmt.Sprintf("defined twice; first on line %d", t.first),
			Remedy: remedy,
		})
	}
	tree := map[string]any{}
	table := tree
	for _, st := range d.index.statements {
		if d.full() {
			break
		}
		var doc map[string]any
		_, err := toml.Decode(st.text+"\n", &doc) // "\r" is allowed only in front of it
		switch {
		case err != nil:
			d.broken(st, err)
			if st.text[0] == '[' {
				table = map[string]any{} // its keys do not belong to the table before it
			}
		case st.header != nil:
			table = enter(tree, st.header, st.array)
		default:
			merge(table, doc)
		}
	}
	return tree
}

// enter finds or makes the table of a header. Where a name is a value already, the keys go into a table
// that nobody reads.
func enter(table map[string]any, names []string, array bool) map[string]any {
	last := len(names) - 1
	for i, name := range names {
		switch next := table[name].(type) {
		case nil:
			made := map[string]any{}
			table[name] = made
			if i == last && array {
				table[name] = []map[string]any{made}
			}
			table = made
		case map[string]any:
			table = next
		case []map[string]any:
			if i == last && array {
				next = append(next, map[string]any{})
				table[name] = next
			}
			table = next[len(next)-1]
		default:
			return map[string]any{}
		}
	}
	return table
}

// merge adds the keys of from to the table; keys that it has already keep their values.
func merge(table, from map[string]any) {
	for name, v := range from {
		old, exists := table[name]
		oldTable, isTable := old.(map[string]any)
		if array, ok := old.([]map[string]any); ok { // the library lets a dotted key into its last one
			oldTable, isTable = array[len(array)-1], true
		}
		newTable, both := v.(map[string]any)
		switch {
		case !exists:
			table[name] = v
		case isTable && both:
			merge(oldTable, newTable)
		}
	}
}

// broken reports a statement that is not TOML.
func (d *Document) broken(st statement, err error) {
	line, message := st.line, err.Error()
	if e, ok := errors.AsType[toml.ParseError](err); ok {
		line, message = st.line+max(e.Position.Line, 1)-1, e.Message
	}
	for _, f := range d.Faults {
		if f.Line >= st.line && f.Line <= line {
			return // defined twice inside an inline table
		}
	}
	if st.open != "" {
		line = st.line
	}
	f := diagnose(st, sentence(message))
	f.Line, f.Path = line, st.path
	d.add(f)
}

// diagnose says what is wrong with a statement in a user's words where it can, else in those of the
// TOML library.
func diagnose(st statement, message string) Fault {
	value := st.value
	bare := st.header == nil && value != "" && !strings.ContainsAny(value[:1], `"'[{`)
	if bare {
		value = strings.TrimSpace(value + st.rest) // a bare word was cut off at a comma or bracket
	}
	switch {
	case st.open == "=" && st.path != "":
		return Fault{
			What:   "expected NAME = VALUE between the braces of " + Redact(firstLine(value)),
			Remedy: anyTOML,
			Kind:   BadValue,
			Value:  value,
		}
	case st.open == "=":
		return Fault{
			What:   "expected KEY = VALUE, found " + Redact(firstLine(st.text)),
			Remedy: "comments start with #",
		}
	case st.open == "name":
		return Fault{
			What:   "expected a table's name in " + Quote(firstLine(st.text)),
			Remedy: "write [NAME]",
		}
	case (st.open == `"` || st.open == "'") && strings.HasPrefix(value, st.open):
		return Fault{
			What:   "the closing " + st.open + " is missing",
			Remedy: "write " + st.open + " at the end of the text",
			Kind:   BadValue,
			Value:  firstLine(value),
		}
	case st.open != "":
		return Fault{
			What:   "the closing " + st.open + " is missing",
			Remedy: "write " + st.open + " where it belongs",
		}
	case st.header != nil:
		return Fault{
			What:   "unexpected " + Redact(st.rest) + " after the header",
			Remedy: "move it to the next line",
		}
	case value == "":
		return Fault{
			What:   "the value is missing",
			Remedy: "write one, or remove the key to use its default",
			Kind:   NoValue,
		}
	case !bare && st.rest != "":
		return Fault{
			What:   "unexpected " + Redact(st.rest) + " after the value",
			Remedy: "remove it, or write # in front of it",
			Kind:   AfterValue,
			Value:  value + " " + st.rest,
		}
	case value[0] == '"' && strings.Contains(value, `\`):
		return Fault{
			What:   message,
			Remedy: `write \\ for each backslash, or use single quotes`,
		}
	case !bare:
		return Fault{
			What:   message,
			Remedy: anyTOML,
			Kind:   BadValue,
			Value:  value,
		}
	case strings.EqualFold(value, "true") || strings.EqualFold(value, "false"):
		return Fault{
			What:   value + " is not TOML",
			Remedy: "write " + strings.ToLower(value),
			Kind:   BadValue,
			Value:  value,
		}
	case strings.Trim(value, "+-._0123456789") == "" && strings.ContainsAny(value, "0123456789"):
		return Fault{
			What:   message,
			Remedy: "write the number as 10, 1_000 or 0.5",
			Kind:   BadValue,
			Value:  value,
		}
	}
	remedy := "put it in double quotes"
	if s := strings.Trim(value, `"'`); Redact(s) == strconv.Quote(s) {
		remedy = "write " + Quote(s)
	}
	return Fault{
		What:   "no quotes around " + strings.Trim(Redact(value), `"`),
		Remedy: remedy,
		Kind:   Unquoted,
		Value:  value,
	}
}

// anyTOML is the remedy where we know nothing better than what the TOML library says.
const anyTOML = "write KEY = VALUE, with text in double quotes and lists in [ ], their elements separated by commas"

// sentence puts a message of the TOML library into our form.
func sentence(s string) string {
	s = strings.TrimRight(strings.Join(strings.Fields(printable(s)), " "), ".")
	if len(s) > 1 && s[1] >= 'a' && s[1] <= 'z' {
		s = strings.ToLower(s[:1]) + s[1:]
	}
	return s
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return strings.TrimSpace(line)
}

var statementStart = regexp.MustCompile(`\n[ \t]*(\[\[?[A-Za-z_][A-Za-z0-9_.-]*\]|[A-Za-z_][A-Za-z0-9_.-]*[ \t]*=)`)

// nextStatement is the end of the statement at the start of text, which lacks its closing bracket or
// quote: it ends before the first line that looks like another statement.
func nextStatement(text string) int {
	if at := statementStart.FindStringIndex(text); at != nil {
		return at[0]
	}
	return len(text)
}

// unquote reads a quoted name.
func unquote(s string) (string, bool) {
	if s[0] == '\'' || !strings.Contains(s, `\`) {
		return s[1 : len(s)-1], true
	}
	var doc map[string]string
	_, err := toml.Decode("v = "+s, &doc)
	return doc["v"], err == nil
}
