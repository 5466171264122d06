package config

import (
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"pace/config/check"
	"pace/config/meant"
	"pace/config/toml"
)

// A remedy names a value that passes, whenever one can be named: TestRemedies writes it into the file
// and wants the fault to be gone.

// remedyOf returns the remedy of a refusal.
func (k *key) remedyOf(bad *check.Refusal) string {
	if v := literal(bad.Instead); v != "" {
		if _, again := k.check(bad.Instead, k.sample); again == nil {
			return "write " + v + bad.Note
		}
	}
	return "write " + bad.Form + ", such as " + strconv.Quote(k.sample)
}

// like is what the value is, with an example.
func (k *key) like() string {
	if k.wanted == aDuration {
		return k.wanted + " like " + k.example
	}
	return k.wanted
}

// remedy says what to write, for who wrote something that tells nothing.
func (k *key) remedy() string {
	low, top := k.bounds()
	switch {
	case k.wanted == aBoolean:
		return "write " + aBoolean
	case len(k.among) > 0:
		return "write one of " + strings.Join(k.among, ", ")
	case low != "":
		return "write " + k.wanted + " from " + low + " to " + top
	case k.wanted == aTableOfStrings:
		return "write " + k.wanted + ", such as { " + k.sample + ` = "1" }`
	case k.wanted == aTableOfWeights:
		return "write " + k.wanted + ", such as { " + DefaultName + " = 1 }"
	case k.wanted == aList && !k.required:
		return "write " + k.wanted + ", such as [" + strconv.Quote(k.sample) + "]"
	case k.wanted == aList:
		return "write " + k.wanted + ", such as " + k.example
	}
	return "write " + k.wanted + ", such as " + strconv.Quote(k.sample)
}

// bounds are the least and the greatest value as TOML writes them; "" if the key has none.
func (k *key) bounds() (low, top string) {
	if k.wanted == aDuration {
		return strconv.Quote(k.low), strconv.Quote(k.top)
	}
	return k.low, k.top
}

// remedyFor says what to write for somebody who wrote text, as a value of whatever type.
func (k *key) remedyFor(r *reader, text string) string {
	if r.trial {
		return "" // nobody reads it, and looking for one would come back to here
	}
	if v := k.proposal(text); v != "" {
		return "write " + v
	}
	return k.remedy()
}

// elementRemedy says what to write as an element of a list, for somebody who wrote text.
func (k *key) elementRemedy(text string) string {
	if v := k.element(text); v != "" {
		return "write " + v
	}
	return "write a string, such as " + strconv.Quote(k.sample)
}

// proposal is the value that passes and comes closest to text, which is TOML or what stood in its
// place; "" if there is none.
func (k *key) proposal(text string) (value string) {
	text = strings.TrimSpace(text)
	if text == "" {
		return ""
	}
	bare := strings.NewReplacer(`"`, "", "'", "").Replace(text)
	switch k.wanted {
	case aBoolean:
		value = meant.Boolean(bare)
	case aWhole:
		value = meant.Whole(bare)
	case aNumber:
		if n, err := strconv.ParseFloat(bare, 64); err == nil && meant.IsNumber(bare) {
			value = strconv.FormatFloat(n, 'f', -1, 64)
		}
	case aDuration:
		if s := meant.Duration(bare); s != "" {
			value = strconv.Quote(s)
		}
	case aList:
		value = k.proposedList(text)
	case aTableOfStrings, aTableOfWeights:
	default:
		value = k.element(bare)
	}
	if value == "" || !k.accepts(value) {
		return ""
	}
	return value
}

// accepts reports whether the key takes a value without a fault.
func (k *key) accepts(value string) bool {
	raw, err := toml.Value(value)
	if err != nil {
		return false
	}
	r := &reader{file: &File{}, trial: true}
	r.readValue(k, raw, reflect.New(k.typ).Elem())
	return len(r.faults) == 0
}

// there ends the remedy of a value that stands elsewhere.
const there = " there"

// remedyThere says what the key at a path takes, without a value that must not be shown.
func remedyThere(path string) string {
	list := strings.TrimRight(strings.TrimSuffix(path, ".url"), "[]0123456789")
	if k := keyNamed(list); k == nil {
		return "write another value" + there
	} else if list != path {
		return "write a string, such as " + strconv.Quote(k.sample) + there
	} else {
		return k.remedy() + there
	}
}

// element is text, or what it is most likely to mean, as a string that passes the check; "" if none does.
func (k *key) element(text string) string {
	_, bad := k.check(text, k.sample)
	switch {
	case bad == nil && hasCredentials(text), k.isWord && !word.MatchString(text):
		return "" // faults go to terminals and logs; and a word of a list looks otherwise
	case bad == nil:
		return literal(text)
	}
	if _, again := k.check(bad.Instead, k.sample); again == nil {
		return literal(bad.Instead)
	}
	return ""
}

// word is what one of a list of words may look like; the list itself is known to another part of pace.
var word = regexp.MustCompile(`^[a-z][a-z0-9_/-]*$`)

var listed = regexp.MustCompile(`"[^"]*"|'[^']*'|[^\s,\[\]"']+`)

// proposedList is the list of all words in text, each as element has it.
func (k *key) proposedList(text string) string {
	var all []string
	for _, word := range listed.FindAllString(text, 100) {
		v := k.element(strings.Trim(word, `"'`))
		if v == "" {
			return ""
		}
		if !slices.Contains(all, v) {
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		return ""
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// literal is s as TOML writes it; "" if it is empty or better not repeated.
func literal(s string) string {
	if s == "" || s != toml.Clip(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return ""
	}
	return strconv.Quote(s)
}

func hasCredentials(s string) bool { return toml.Redact(s) != toml.Quote(s) }
