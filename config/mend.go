package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/BurntSushi/toml"
)

// The TOML library stops at the first error. What is here reads the statements of a refused
// document one by one, so that a user sees everything that is wrong at once.

// pieces is the tree of the statements that can be read, and the faults of the others.
func (r *reader) pieces(x *index) map[string]any {
	for _, t := range x.twice {
		r.at(t.line, t.path, fmt.Sprintf("written twice, first in line %d", t.first), "keep one of the two")
	}
	tree := map[string]any{}
	table := tree
	for _, st := range x.statements {
		if r.full() {
			break
		}
		var doc map[string]any
		_, err := toml.Decode(st.text+"\n", &doc) // "\r" is allowed only in front of it
		switch {
		case err != nil:
			r.broken(st, err)
			if st.text[0] == '[' {
				table = map[string]any{} // its keys are not for the table before
			}
		case st.header != nil:
			table = enter(tree, st.header, st.array)
		default:
			merge(table, doc)
		}
	}
	return tree
}

// enter finds or makes the table of a header. Where a value stands in its way, the keys go
// into a table that nobody reads.
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

// merge moves the keys of from into the table; what is already there stays.
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
func (r *reader) broken(st statement, err error) {
	line, message := st.line, err.Error()
	if e, ok := errors.AsType[toml.ParseError](err); ok {
		line, message = st.line+max(e.Position.Line, 1)-1, e.Message
	}
	for _, f := range r.faults {
		if f.Line >= st.line && f.Line <= line {
			return // written twice inside an inline table
		}
	}
	what, mend := diagnose(st, sentence(message))
	if st.open != "" {
		line = st.line
	}
	r.at(line, st.path, what, mend)
}

// diagnose says what is wrong with a statement in a user's words where it can, else in those
// of the TOML library.
func diagnose(st statement, message string) (what, mend string) {
	value := st.value
	if st.header == nil && value != "" && !strings.ContainsAny(value[:1], `"'[{`) {
		value = strings.TrimSpace(value + st.rest) // a bare word was cut off at a comma or bracket
	}
	shown := strings.Trim(redacted(value), `"`)
	switch {
	case st.open == "=":
		return "no KEY = VALUE in " + redacted(firstLine(st.text)), "write it so, a comment behind #"
	case st.open == "name":
		return "no table's name in " + quote(firstLine(st.text)), "write [NAME], or [[NAME]] for one of several"
	case st.open != "":
		return "no closing " + st.open, "write " + st.open + " where it ends"
	case st.header != nil:
		return redacted(st.rest) + " behind the header", "write it into the next line"
	case value == "":
		return "no value", "write one, or remove the key for its default"
	case strings.ContainsAny(value[:1], `"'[{`) && st.rest != "":
		return redacted(st.rest) + " behind the value", "remove it, or write # in front of it"
	case value[0] == '"' && strings.Contains(value, `\`):
		return message, `write \\ for a backslash, or put the text into single quotes`
	case strings.ContainsAny(value[:1], `"'[{`):
		return message, anyTOML
	case strings.EqualFold(value, "true") || strings.EqualFold(value, "false"):
		return shown + " is not TOML", "write " + strings.ToLower(value)
	case isNumber(strings.ReplaceAll(value, "_", "")):
		return message, "write it like 10, 1_000 or 0.5"
	}
	if k := keyNamed(st.path); k != nil && (k.wanted == "true or false" || strings.HasSuffix(k.wanted, "number")) {
		return shown + " is not " + k.wanted, k.remedy()
	}
	return "no quotes around " + shown, "write " + redacted(strings.Trim(value, `"'`))
}

// anyTOML is the remedy where we know nothing better than what the TOML library says.
const anyTOML = "write KEY = VALUE, with text in double quotes and lists in [ ], their elements apart by commas"

// sentence puts a message of the TOML library into our form.
func sentence(s string) string {
	s = strings.TrimRight(strings.Join(strings.Fields(printable(s)), " "), ".")
	if len(s) > 1 && s[1] >= 'a' && s[1] <= 'z' {
		s = strings.ToLower(s[:1]) + s[1:]
	}
	return s
}

// printable keeps the file's control characters out of terminals.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return strings.TrimSpace(line)
}

var statementStart = regexp.MustCompile(`\n[ \t]*(\[\[?[A-Za-z_][A-Za-z0-9_.-]*\]|[A-Za-z_][A-Za-z0-9_.-]*[ \t]*=)`)

// nextStatement is where the statement at the start of text ends if it lacks its closing
// bracket or quote: before the first line that looks like another statement.
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
