package config

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"pace/config/toml"
)

// reader moves a decoded TOML document into a Config and notes what is wrong on the way.
type reader struct {
	file         *File
	faults       []*Fault
	syntaxFaults int      // how many of faults, at its start, are about the syntax
	meant        []string // what unknown keys were most likely meant to be
	trial        bool     // only whether there are faults matters; nobody reads them
}

func (r *reader) full() bool { return len(r.faults) >= toml.MaxFaults }

// fault notes a fault on the line of a key; at notes one on a line that is known otherwise.
func (r *reader) fault(key, what, remedy string) { r.at(r.file.lines[key], key, what, remedy) }

func (r *reader) at(line int, key, what, remedy string) {
	if !r.full() {
		r.faults = append(r.faults, &Fault{r.file.name, line, key, what, remedy})
	}
}

// document reads all tables; a table or key that is not in doc gets its defaults.
func (r *reader) document(doc map[string]any) {
	config := reflect.ValueOf(&r.file.Config).Elem()
	for _, t := range tables {
		raw, written := doc[t.name]
		to := config.Field(t.field)
		if t.optional {
			if !written {
				continue
			}
			to.Set(reflect.New(to.Type().Elem()))
			to = to.Elem()
		}
		r.table(t, raw, to)
	}
	r.strays("", doc, func(name string) bool {
		return slices.ContainsFunc(tables, func(t table) bool { return t.name == name })
	})
}

func (r *reader) table(t table, raw any, to reflect.Value) {
	written, ok := raw.(map[string]any)
	if raw != nil && !ok {
		r.fault(t.name, "expected a table, got "+shown(raw), "write ["+t.name+"], and its keys on the lines below")
	}
	for _, k := range t.keys {
		field := to.Field(k.field)
		if k.fallback != nil {
			r.value(k, k.fallback, field)
		}
		if v, ok := written[k.leaf]; ok {
			r.value(k, v, field)
		}
	}
	r.strays(t.name, written, func(name string) bool {
		return slices.ContainsFunc(t.keys, func(k *key) bool { return k.leaf == name })
	})
}

// strays reports the names in a table ("": the top of the file) that are not known there.
func (r *reader) strays(table string, written map[string]any, known func(string) bool) {
	for _, name := range slices.Sorted(maps.Keys(written)) {
		if r.full() {
			return
		}
		if !known(name) {
			r.stray(table, name, written[name])
		}
	}
}

// value sets one key's field, or says why not.
func (r *reader) value(k *key, raw any, field reflect.Value) {
	switch to := field.Addr().Interface().(type) {
	case *bool:
		if v, ok := raw.(bool); ok {
			*to = v
		} else {
			r.wrongType(k, raw)
		}
	case *string:
		if v, ok := raw.(string); ok {
			*to = r.text(k, v)
		} else {
			r.wrongType(k, raw)
		}
	case *int:
		*to = int(r.whole(k, raw))
	case *int64:
		*to = r.whole(k, raw)
	case *float64:
		*to = r.fraction(k, raw)
	case *time.Duration:
		*to = r.duration(k, raw)
	case *[]string:
		*to = list(r, k, raw, k.check)
	case *[]netip.Prefix:
		*to = list(r, k, raw, network)
	default:
		panic("pace: BUG: no reader for the type of " + k.Name)
	}
}

func (r *reader) text(k *key, s string) string {
	v, bad := k.check(s, k.sample)
	if bad != nil {
		r.fault(k.Name, bad.what, k.cure(bad))
	}
	return v
}

func (r *reader) whole(k *key, raw any) int64 {
	n, ok := raw.(int64)
	if !ok {
		r.wrongType(k, raw)
	} else {
		r.within(k, float64(n), strconv.FormatInt(n, 10))
	}
	return n
}

// fraction accepts whole numbers, too: sample_ratio = 1 can only mean 1.0.
func (r *reader) fraction(k *key, raw any) float64 {
	n, ok := raw.(float64)
	if whole, is := raw.(int64); is {
		n, ok = float64(whole), true
	}
	if !ok {
		r.wrongType(k, raw)
	} else {
		r.within(k, n, strconv.FormatFloat(n, 'g', -1, 64))
	}
	return n
}

func (r *reader) duration(k *key, raw any) time.Duration {
	text, ok := raw.(string)
	if !ok {
		r.wrongType(k, raw)
		return 0
	}
	d, err := time.ParseDuration(text)
	switch {
	case err == nil:
		r.within(k, float64(d), toml.Quote(text))
	case isNumber(text):
		r.fault(k.Name, toml.Quote(text)+" has no unit", k.remedyFor(r, text))
	default:
		r.fault(k.Name, toml.Quote(text)+" is not a duration", k.remedyFor(r, text))
	}
	return d
}

// within refuses what lies outside the key's bounds. NaN lies outside.
func (r *reader) within(k *key, n float64, text string) {
	low, top := k.bounds()
	switch {
	case n >= k.min && n <= k.max:
	case n < 0 && k.min == 0:
		r.fault(k.Name, text+" is negative", k.remedy())
	case n < k.min:
		r.fault(k.Name, text+" is below "+low, k.remedy())
	case n > k.max:
		r.fault(k.Name, text+" is above "+top, k.remedy())
	default:
		r.fault(k.Name, text+" is not a number", k.remedy())
	}
}

// list reads a list of strings and checks each with one. An element that equals an earlier one is
// refused: somebody who writes a thing twice most likely meant another one.
func list[T comparable](r *reader, k *key, raw any, one func(s, sample string) (T, *refusal)) (got []T) {
	elements, ok := raw.([]any)
	if !ok {
		r.wrongType(k, raw)
		return nil
	}
	if len(elements) == 0 && k.fallback == nil {
		r.fault(k.Name, "the list is empty", "write at least one, such as "+k.example)
	}
	seen := make(map[T]int, len(elements))
	for i, e := range elements {
		name := toml.Element(k.Name, i)
		s, ok := e.(string)
		if !ok {
			r.fault(name, "expected a string, got "+shown(e), k.elementRemedy(plain(e)))
			continue
		}
		v, bad := one(s, k.sample)
		if bad != nil {
			r.fault(name, bad.what, k.cure(bad))
			continue
		}
		if first, twice := seen[v]; twice {
			r.fault(name, toml.Quote(s)+" is the same as "+toml.Element(k.Name, first), "remove one of the two")
			continue
		}
		seen[v] = i
		got = append(got, v)
	}
	return got
}

// wrongType reports a value of another type; the remedy keeps what was written if it can.
func (r *reader) wrongType(k *key, raw any) {
	r.fault(k.Name, "expected "+k.like()+", got "+shown(raw), k.remedyFor(r, plain(raw)))
}

// plain is a string or number as a user would write it in quotes; "" for any other value.
func plain(raw any) string {
	switch v := raw.(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return ""
}

// shown is how faults describe a value.
func shown(raw any) string {
	switch v := raw.(type) {
	case string:
		return "the string " + toml.Redact(v)
	case int64:
		return "the integer " + strconv.FormatInt(v, 10)
	case float64:
		s := strconv.FormatFloat(v, 'g', -1, 64)
		if strings.Trim(s, "-0123456789") == "" {
			s += ".0" // as it was written, or else it looks like an integer
		}
		return "the decimal number " + s
	case bool:
		return "the boolean " + strconv.FormatBool(v)
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	case []map[string]any:
		return "an array of tables"
	default:
		return "a date or time"
	}
}

// isNumber reports whether s is a decimal number; ParseFloat alone would take "inf" as well.
func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil && strings.Trim(s, "+-.0123456789") == ""
}
