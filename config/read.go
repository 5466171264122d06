package config

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// reader moves a decoded TOML document into a Config and notes what is wrong on the way.
type reader struct {
	file   *File
	faults []*Fault
}

// maxFaults bounds the work on a file that is no config at all; nobody reads that many.
const maxFaults = 1000

func (r *reader) full() bool { return len(r.faults) >= maxFaults }

// fault notes a fault at a key, at one where the line is known otherwise.
func (r *reader) fault(key, what, mend string) { r.at(r.file.lines[key], key, what, mend) }

func (r *reader) at(line int, key, what, mend string) {
	if !r.full() {
		r.faults = append(r.faults, &Fault{r.file.name, line, key, what, mend})
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
		r.fault(t.name, kind(raw)+" where a table is wanted", "write ["+t.name+"], and its keys in the lines below")
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

// strays reports what stands in a table, or with no table at the top, and is not known there.
func (r *reader) strays(table string, written map[string]any, known func(string) bool) {
	for _, name := range slices.Sorted(maps.Keys(written)) {
		if r.full() {
			return
		}
		if !known(name) {
			r.stray(join2(table, bareOrQuoted(name)), written[name])
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
	v, bad := k.check(s)
	if bad != nil {
		r.fault(k.Name, bad.what, bad.mend)
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

// fraction takes whole numbers too: sample_ratio = 1 can mean but one thing.
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
		r.within(k, float64(d), quote(text))
	case isNumber(text):
		r.fault(k.Name, quote(text)+" has no unit", "write "+quote(text+"s"))
	default:
		r.fault(k.Name, quote(text)+" is not a duration", `write numbers with units, such as "250ms", "30s" or "1m30s"`)
	}
	return d
}

// within refuses what lies outside the key's bounds. NaN lies outside.
func (r *reader) within(k *key, n float64, text string) {
	low, top, noun := k.low, k.top, "a number"
	if k.wanted == "a duration" {
		low, top, noun = quote(low), quote(top), k.wanted
	}
	mend := fmt.Sprintf("write %s from %s to %s", noun, low, top)
	switch {
	case n >= k.min && n <= k.max:
	case n < 0 && k.min == 0:
		r.fault(k.Name, text+" is negative", mend)
	case n < k.min:
		r.fault(k.Name, text+" is below "+low, mend)
	case n > k.max:
		r.fault(k.Name, text+" is above "+top, mend)
	default:
		r.fault(k.Name, text+" is not a number", mend)
	}
}

// list reads strings, each through one; an element that comes to the same as one before it is
// refused, since a list that says a thing twice was meant to say another.
func list[T comparable](r *reader, k *key, raw any, one func(string) (T, *refusal)) (got []T) {
	elements, ok := raw.([]any)
	if !ok {
		r.wrongType(k, raw)
		return nil
	}
	if len(elements) == 0 && k.fallback == nil {
		r.fault(k.Name, "an empty list", "name one at least, such as "+k.example)
	}
	seen := make(map[T]bool, len(elements))
	for i, e := range elements {
		name := element(k.Name, i)
		s, ok := e.(string)
		if !ok {
			mend := "write a string"
			if kind(e) == "a whole number" || kind(e) == "a fraction" {
				mend = "write " + quote(fmt.Sprint(e))
			}
			r.fault(name, kind(e)+" where a string is wanted", mend)
			continue
		}
		v, bad := one(s)
		if bad == nil && seen[v] {
			bad = &refusal{quote(s) + " stands in the list twice", "remove one of the two"}
		}
		if bad != nil {
			r.fault(name, bad.what, bad.mend)
			continue
		}
		seen[v] = true
		got = append(got, v)
	}
	return got
}

// wrongType reports a value of another type; the remedy keeps what was written if it can.
func (r *reader) wrongType(k *key, raw any) {
	mend := k.remedy()
	text, isText := raw.(string)
	_, whole := raw.(int64)
	_, fraction := raw.(float64)
	_, notWhole := strconv.ParseInt(text, 10, 64)
	switch {
	case k.wanted == "a duration" && (whole || fraction):
		mend = "write " + quote(fmt.Sprint(raw)+"s")
	case k.wanted == "a list of strings" && isText:
		mend = "write [" + redacted(text) + "]"
	case k.wanted == "true or false" && (text == "true" || text == "false"),
		k.wanted == "a whole number" && notWhole == nil, k.wanted == "a number" && isNumber(text):
		mend = "write " + text + ", without quotes"
	}
	r.fault(k.Name, kind(raw)+" where "+k.wanted+" is wanted", mend)
}

// kind names the type of a decoded TOML value.
func kind(raw any) string {
	switch raw.(type) {
	case string:
		return "a string"
	case int64:
		return "a whole number"
	case float64:
		return "a fraction"
	case bool:
		return "true or false"
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

// quote shows a value in one line of bounded length.
func quote(s string) string {
	return strconv.Quote(clipped(s))
}

func clipped(s string) string {
	const most = 100 // bytes
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
