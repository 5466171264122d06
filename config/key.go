package config

import (
	"fmt"
	"iter"
	"math"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"pace/config/toml"
)

// Key describes one key, for documentation and for tests that no key is forgotten.
type Key struct {
	Name    string // dotted: server.listen
	Default string // as TOML writes it; "" when the key is required
	Doc     string // its meaning, in sentences
	Meaning string // Doc, and what else binds the value
}

// Table describes one table and its keys, for documentation.
type Table struct {
	Name, Doc string
	Keys      []Key
}

// Tables returns the tables that a file may hold, in the order of Config.
func Tables() (all []Table) {
	for _, t := range tables {
		described := Table{Name: t.name, Doc: t.doc}
		for _, k := range t.keys {
			described.Keys = append(described.Keys, k.Key)
		}
		all = append(all, described)
	}
	return all
}

// Keys yields every key that a file may hold, table by table in the order of Config.
func Keys() iter.Seq[Key] {
	return func(yield func(Key) bool) {
		for _, t := range tables {
			for _, k := range t.keys {
				if !yield(k.Key) {
					return
				}
			}
		}
	}
}

// table is one field of Config, key one field of a table, as their tags describe them.
type (
	table struct {
		name, doc string
		field     int  // in Config
		optional  bool // its absence means something: no defaults then
		keys      []*key
	}
	key struct {
		Key
		leaf     string // the name without its table
		wanted   string // what its value is: "a duration"
		field    int    // in the table's struct
		example  string // as TOML: the default, or what a required key may look like
		fallback any    // the default as the TOML library decodes it; nil: required
		typ      reflect.Type
		check    check
		isWord   bool    // it has no check: another part knows the list of words that it may be
		sample   string  // a string that passes the check, or an element of a list that does
		min, max float64 // of a number, or of a duration in nanoseconds
		low, top string  // the same as written
	}
)

var tables = describe(reflect.TypeFor[Config]())

// describe reads the tags. A tag that makes no sense is a bug of ours and panics at start.
func describe(config reflect.Type) (all []table) {
	for i := range config.NumField() {
		f := config.Field(i)
		t := table{name: f.Tag.Get("toml"), doc: f.Tag.Get("doc"), field: i, optional: f.Type.Kind() == reflect.Pointer}
		typ := f.Type
		if t.optional {
			typ = typ.Elem()
		}
		for j := range typ.NumField() {
			t.keys = append(t.keys, describeKey(t.name, j, typ.Field(j)))
		}
		all = append(all, t)
	}
	return all
}

func describeKey(table string, i int, f reflect.StructField) *key {
	k := &key{leaf: f.Tag.Get("toml"), field: i, low: f.Tag.Get("min"), top: f.Tag.Get("max")}
	k.Name, k.Doc = table+"."+k.leaf, f.Tag.Get("doc")
	if k.leaf == "" || k.Doc == "" {
		panic("pace: BUG: " + table + "." + f.Name + " lacks its toml or doc tag")
	}
	k.wanted, k.typ = wanted[f.Type], f.Type
	k.check = checkNamed(f.Tag.Get("is"))
	if f.Type == reflect.TypeFor[[]netip.Prefix]() {
		k.check = func(s, sample string) (string, *refusal) {
			p, bad := network(s, sample)
			return p.String(), bad
		}
	}
	k.sample = sampleOf(f)
	k.isWord = f.Type.Kind() == reflect.String && f.Tag.Get("is") == ""
	k.min, k.max = bound(f.Type, k.low), bound(f.Type, k.top)
	if text, ok := f.Tag.Lookup("default"); ok {
		k.Default = asTOML(f.Type, text)
		k.example, k.fallback = k.Default, decodeValue(k.Default)
	} else {
		k.example = asTOML(f.Type, f.Tag.Get("example"))
	}
	k.Meaning = k.meaning()
	return k
}

// meaning is the key's doc with what else binds its value.
func (k *key) meaning() string {
	switch {
	case k.fallback == nil:
		return k.Doc + " Required: at least one."
	case k.low != "":
		return k.Doc + " From " + k.low + " to " + k.top + "."
	}
	return k.Doc
}

// wanted are the types that a field may have, as users call them.
var wanted = map[reflect.Type]string{
	reflect.TypeFor[bool]():           aBoolean,
	reflect.TypeFor[string]():         "a string",
	reflect.TypeFor[int]():            aWhole,
	reflect.TypeFor[int64]():          aWhole,
	reflect.TypeFor[float64]():        aNumber,
	reflect.TypeFor[time.Duration]():  aDuration,
	reflect.TypeFor[[]string]():       aList,
	reflect.TypeFor[[]netip.Prefix](): aList,
}

const (
	aBoolean  = "true or false"
	aWhole    = "a whole number"
	aNumber   = "a number"
	aDuration = "a duration"
	aList     = "a list of strings"
)

// bound reads a min or max tag. Numbers without one are a bug, so that none is unbounded.
// A float64 holds every bound exactly: all are below 2^53.
func bound(typ reflect.Type, text string) float64 {
	var n float64
	var err error
	switch {
	case typ == reflect.TypeFor[time.Duration]():
		var d time.Duration
		d, err = time.ParseDuration(text)
		n = float64(d)
	case typ.Kind() == reflect.Int || typ.Kind() == reflect.Int64 || typ.Kind() == reflect.Float64:
		n, err = strconv.ParseFloat(text, 64)
	default:
		return math.NaN()
	}
	if err != nil {
		panic(fmt.Sprintf("pace: BUG: bound %q of a %v: %v", text, typ, err))
	}
	return n
}

// asTOML writes a default or example as TOML does.
func asTOML(typ reflect.Type, text string) string {
	switch {
	case typ.Kind() == reflect.Slice:
		var quoted []string
		for s := range strings.FieldsSeq(text) {
			quoted = append(quoted, strconv.Quote(s))
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	case typ.Kind() == reflect.String || typ == reflect.TypeFor[time.Duration]():
		return strconv.Quote(text)
	}
	return text
}

// keyNamed is nil if there is none of that dotted name.
func keyNamed(name string) *key {
	for _, t := range tables {
		for _, k := range t.keys {
			if k.Name == name {
				return k
			}
		}
	}
	return nil
}

func decodeValue(text string) any {
	v, err := toml.Value(text)
	if err != nil {
		panic(fmt.Sprintf("pace: BUG: default %s: %v", text, err))
	}
	return v
}
