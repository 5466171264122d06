package config

import (
	"cmp"
	"fmt"
	"iter"
	"math"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"pace/config/check"
	"pace/config/toml"
)

// Key describes one key, for documentation and for tests that no key is forgotten.
type Key struct {
	Name     string // dotted: server.listen, upstream.NAME.backends, route.match
	Default  string // as TOML writes it; "" when the key is required or Inherits
	Inherits string // in words, where the value comes from when it is not written
	Doc      string // its meaning, in sentences
	Meaning  string // Doc, and what else binds the value
}

// Table describes one table and its keys, for documentation.
type Table struct {
	Header    string // [server], [upstream.NAME], [[route]]
	Name, Doc string
	Keys      []Key // those of tables inside it as well
}

// Tables returns the tables that a file may hold, in the order of Config.
func Tables() (all []Table) {
	for _, t := range root.tables {
		described := Table{Header: t.header(), Name: t.path, Doc: t.doc}
		for k := range t.every() {
			described.Keys = append(described.Keys, k.Key)
		}
		all = append(all, described)
	}
	return all
}

// Keys yields every key that a file may hold, table by table in the order of Config.
func Keys() iter.Seq[Key] {
	return func(yield func(Key) bool) {
		for k := range root.every() {
			if !yield(k.Key) {
				return
			}
		}
	}
}

// table describes one table, and key one key of it, as the tags of their fields describe them.
type (
	table struct {
		name, doc string
		path      string // of the table, with NAME where a file has a name of its own: upstream.NAME
		sample    string // a name for NAME
		field     []int  // in the struct that holds it
		kind      kind
		typ       reflect.Type // of one of them
		keys      []*key
		tables    []*table
	}
	key struct {
		Key
		leaf     string // the name without its table
		wanted   string // what its value is: "a duration"
		field    []int  // in the table's struct
		example  string // as TOML: the default, or what a value may look like
		fallback any    // the default as the TOML library decodes it; nil: there is none
		required bool
		typ      reflect.Type
		check    check.Check
		isWord   bool     // another part knows the list of words that it may be, or the file defines it
		sample   string   // a string that passes the check, or an element of a list that does
		min, max float64  // of a number, or of a duration in nanoseconds
		low, top string   // the same as written
		among    []string // the only numbers that it may be; none: all within the bounds
	}
)

// kind is how a table is written.
type kind uint8

const (
	single   kind = iota // [server]
	optional             // [rate_limit]: its absence means something, so it has no defaults then
	named                // [upstream.NAME]
	repeated             // [[route]]
)

// root is the top of a file.
var root = describe(reflect.TypeFor[Config](), nil, nil)

// header is the table's header, as documentation writes it.
func (t *table) header() string {
	if t.kind == repeated {
		return "[[" + t.path + "]]"
	}
	return "[" + t.path + "]"
}

// every yields the keys of a table and of the tables inside it.
func (t *table) every() iter.Seq[*key] {
	return func(yield func(*key) bool) {
		for _, k := range t.keys {
			if !yield(k) {
				return
			}
		}
		for _, inner := range t.tables {
			for k := range inner.every() {
				if !yield(k) {
					return
				}
			}
		}
	}
}

// all yields a table and the tables inside it.
func (t *table) all() iter.Seq[*table] {
	return func(yield func(*table) bool) {
		if !yield(t) {
			return
		}
		for _, inner := range t.tables {
			for one := range inner.all() {
				if !yield(one) {
					return
				}
			}
		}
	}
}

// keyCalled is the key of that name in the table; nil if there is none.
func (t *table) keyCalled(name string) *key {
	for _, k := range t.keys {
		if k.leaf == name {
			return k
		}
	}
	return nil
}

// inner is the table of that name in the table; nil if there is none.
func (t *table) inner(name string) *table {
	for _, inner := range t.tables {
		if inner.name == name {
			return inner
		}
	}
	return nil
}

// describe reads the tags of a struct. A tag that makes no sense is a bug of ours and panics at start.
// Fields without the tag toml are none of the file's.
func describe(typ reflect.Type, t *table, at []int) *table {
	if t == nil {
		t = &table{typ: typ}
	}
	for i := range typ.NumField() {
		f := typ.Field(i)
		field := append(at[:len(at):len(at)], i)
		switch name := f.Tag.Get("toml"); {
		case f.Anonymous:
			describe(f.Type, t, field)
		case name == "" && f.Tag != "":
			panic("pace: BUG: " + typ.Name() + "." + f.Name + " lacks its toml tag")
		case name == "":
		case isTable(f.Type):
			t.tables = append(t.tables, describeTable(t.path, f, field))
		default:
			t.keys = append(t.keys, describeKey(t.path, f, field))
		}
	}
	return t
}

// isTable reports whether a field is a table, or several, and not a key.
func isTable(typ reflect.Type) bool {
	_, isKey := wantedOf[typ]
	if typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
		typ = typ.Elem()
	}
	return !isKey && typ.Kind() == reflect.Struct
}

func describeTable(in string, f reflect.StructField, at []int) *table {
	t := &table{name: f.Tag.Get("toml"), doc: f.Tag.Get("doc"), field: at, typ: f.Type}
	t.path = toml.Join(in, t.name)
	switch f.Type.Kind() {
	case reflect.Pointer:
		t.kind, t.typ = optional, f.Type.Elem()
	case reflect.Slice:
		t.kind, t.typ = repeated, f.Type.Elem()
		if t.sample = f.Tag.Get("example"); t.sample != "" {
			t.kind, t.path = named, t.path+".NAME"
		}
	}
	return describe(t.typ, t, nil)
}

func describeKey(table string, f reflect.StructField, at []int) *key {
	k := &key{leaf: f.Tag.Get("toml"), field: at, low: f.Tag.Get("min"), top: f.Tag.Get("max"), typ: f.Type}
	k.Name, k.Doc = toml.Join(table, k.leaf), f.Tag.Get("doc")
	if k.Doc == "" {
		panic("pace: BUG: " + table + "." + f.Name + " lacks its doc tag")
	}
	if f.Type.Kind() == reflect.Pointer {
		k.typ = f.Type.Elem()
	}
	k.wanted = wantedOf[k.typ]
	is := f.Tag.Get("is")
	if k.typ == reflect.TypeFor[[]netip.Prefix]() {
		is = "network"
	}
	k.check, k.sample = check.Named(is), check.Sample(is)
	if k.typ.Kind() == reflect.String {
		k.sample = cmp.Or(f.Tag.Get("default"), f.Tag.Get("example"), k.sample)
	}
	if words := strings.Fields(f.Tag.Get("default")); k.typ == reflect.TypeFor[[]string]() && is == "" && len(words) > 0 {
		k.sample = words[0]
	}
	k.isWord = k.typ.Kind() == reflect.String && is == "" || strings.TrimSuffix(is, "?") == "name"
	if k.among = strings.Fields(f.Tag.Get("among")); len(k.among) == 0 {
		k.min, k.max = bound(k.typ, k.low), bound(k.typ, k.top)
	}
	k.Inherits = f.Tag.Get("inherits")
	text, hasDefault := f.Tag.Lookup("default")
	if hasDefault {
		k.Default = asTOML(k.typ, text)
		k.example, k.fallback = k.Default, decodeValue(k.Default)
	}
	if example, ok := f.Tag.Lookup("example"); ok || !hasDefault {
		k.example = asTOML(k.typ, example)
	}
	k.required = !hasDefault && k.Inherits == ""
	k.Meaning = k.meaning()
	return k
}

// at is the key in the table at a path, which has the file's own names and numbers.
func (k *key) at(path string) *key {
	if name := toml.Join(path, k.leaf); name != k.Name {
		one := *k
		one.Name = name
		return &one
	}
	return k
}

// meaning is the key's doc with what else binds its value.
func (k *key) meaning() string {
	switch {
	case k.required && k.wanted == aList:
		return k.Doc + " Required: at least one."
	case k.required:
		return k.Doc + " Required."
	case k.low != "":
		return k.Doc + " From " + k.low + " to " + k.top + "."
	}
	return k.Doc
}

// wantedOf are the types that a field may have, as users call them.
var wantedOf = map[reflect.Type]string{
	reflect.TypeFor[bool]():           aBoolean,
	reflect.TypeFor[string]():         "a string",
	reflect.TypeFor[int]():            aWhole,
	reflect.TypeFor[int64]():          aWhole,
	reflect.TypeFor[float64]():        aNumber,
	reflect.TypeFor[time.Duration]():  aDuration,
	reflect.TypeFor[[]string]():       aList,
	reflect.TypeFor[[]netip.Prefix](): aList,
	reflect.TypeFor[[]Backend]():      aList,
	reflect.TypeFor[[]Field]():        aTableOfStrings,
	reflect.TypeFor[[]Share]():        aTableOfWeights,
}

const (
	aBoolean        = "true or false"
	aWhole          = "a whole number"
	aNumber         = "a number"
	aDuration       = "a duration"
	aList           = "a list of strings"
	aTableOfStrings = "a table of strings"
	aTableOfWeights = "a table of whole numbers"
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
	case wantedOf[typ] == aTableOfStrings, wantedOf[typ] == aTableOfWeights:
		if text == "" {
			return "{}"
		}
		return "{ " + text + " }"
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

// tableAt is the table at a path of a file; nil if there is none.
func tableAt(path string) *table {
	names := toml.Split(path)
	t := root
	for i := 0; i < len(names); i++ {
		name, _, _ := strings.Cut(names[i], "[")
		if t = t.inner(name); t == nil {
			return nil
		}
		if t.kind == named {
			if i++; i == len(names) {
				return nil
			}
		}
	}
	return t
}

// keyNamed is the key at a path of a file; nil if there is none.
func keyNamed(path string) *key {
	names := toml.Split(path)
	if len(names) == 0 {
		return nil
	}
	last := names[len(names)-1]
	in := strings.TrimSuffix(strings.TrimSuffix(path, last), ".")
	if t := tableAt(in); t != nil {
		if k := t.keyCalled(last); k != nil {
			return k.at(in)
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
