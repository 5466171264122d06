package route

import (
	"fmt"
	"net/textproto"
	"slices"
	"strings"
)

// Condition is a field that a request's header must have once, with this value.
type Condition struct {
	Field string // that of a Route is in its canonical spelling
	Value string
}

// conditions returns the conditions of an entry in the order of their fields, and what is wrong with them.
func conditions(when []Condition) (list []Condition, faults []Fault) {
	fault := func(what, remedy string, args ...any) {
		faults = append(faults, Fault{Other: None, Key: "when", What: fmt.Sprintf(what, args...), Remedy: remedy})
	}
	for _, c := range when {
		name := c.Field
		c.Field = textproto.CanonicalMIMEHeaderKey(name)
		switch {
		case name == "" || strings.ContainsFunc(name, func(r rune) bool { return !isToken(r) }):
			fault("%q is not the name of a header field", "write letters, digits and hyphens", name)
		case c.Field == "Host":
			fault("the field Host is part of the pattern", `write "HOST/PATH" in match`)
		case slices.ContainsFunc(list, func(other Condition) bool { return other.Field == c.Field }):
			fault("the field %s stands there twice", "remove one", c.Field)
		case c.Value != strings.Trim(c.Value, " \t") || strings.ContainsFunc(c.Value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			fault("no field can have the value %q", "write it without spaces around it and without control characters", c.Value)
		default:
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b Condition) int { return strings.Compare(a.Field, b.Field) })
	return list, faults
}

// met reports whether a header meets all conditions. A repeated field meets none: backends differ in which of
// its lines they read.
func met(when []Condition, header map[string][]string) bool {
	for _, c := range when {
		if lines := header[c.Field]; len(lines) != 1 || lines[0] != c.Value {
			return false
		}
	}
	return true
}
