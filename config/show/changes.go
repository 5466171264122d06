// Package show says in words what a configuration means: its values, and what differs between two of them. It reads
// the long form, and must not know how a file is read, nor which key is which: what a struct of package config
// holds is shown.
package show

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"pace/config"
	"pace/config/toml"
)

// Change is one thing in which two configurations differ.
type Change struct {
	Key  string // dotted: upstreams.backends; route "api".limits
	What string // "30s" became "1m0s"; added; removed

	// Restart says why the change cannot be made while pace runs; "": it can.
	Restart string
}

func (c Change) String() string { return c.Key + ": " + c.What }

// restarts are the keys that cannot change while pace runs, each with the reason. Their docs say so, too.
var restarts = map[string]string{
	"server.workers":   "the number of cores is set as pace starts",
	"admin.listen":     "whoever watches and reloads pace would lose it",
	"tracing.endpoint": "the exporter and its queue are made as pace starts",
	"tracing.protocol": "the exporter and its queue are made as pace starts",

	"metrics.native_histograms": "a histogram that changes its form while pace counts would lose what it has counted",
}

// Changes returns what differs between two configurations, whichever forms they are in, in the order of the
// new one; what is gone comes last. It returns nothing if both mean the same.
func Changes(from, to *config.File) (list []Change) {
	was, is := sections(from), sections(to)
	before, after := byID(was), byID(is)
	for _, s := range is {
		if old, stays := before[s.id]; stays {
			list = append(list, s.changes(old)...)
		} else {
			list = append(list, Change{Key: s.path, What: "added"})
		}
	}
	if !slices.Equal(routes(was, after), routes(is, before)) {
		// It matters to nobody but the reader of the file, and is a change all the same, so that what pace shows
		// follows the file.
		list = append(list, Change{Key: "route", What: "in another order"})
	}
	for _, s := range was {
		if _, stays := after[s.id]; !stays {
			list = append(list, Change{Key: s.path, What: "removed"})
		}
	}
	return list
}

// section is a table, or a thing with a name, of a configuration in the long form.
type section struct {
	id
	path  string // how people find it in the file: upstream.api, route "users"
	key   string // its path, for [config.File.IsSecret]: upstream.api, route[2]
	value reflect.Value
	file  *config.File
}

// id is by what a section of one configuration is found in another.
type id struct {
	group string // server, upstream, route
	name  string // "": it is the only one of its kind
	nth   int    // of routes that are named by one pattern, from 0
}

func byID(list []section) map[id]section {
	all := make(map[id]section, len(list))
	for _, s := range list {
		all[s.id] = s
	}
	return all
}

// tablesOfLongForm are the tables that the long form takes the place of.
var tablesOfLongForm = []string{"listener", "route", "upstreams", "upstream", "rate_limit", "limit", "certificate", "acme"}

// sections returns what a configuration means, piece by piece.
func sections(f *config.File) (list []section) {
	tables := reflect.ValueOf(&f.Config).Elem()
	for i := range tables.NumField() {
		if name := keyName(tables.Type().Field(i)); !slices.Contains(tablesOfLongForm, name) {
			list = append(list, section{id: id{group: name}, path: name, key: name, value: tables.Field(i)})
		}
	}
	add := func(group, name, key string, value any) *section {
		list = append(list, section{id: id{group, name, 0}, path: key, key: key, value: reflect.ValueOf(value)})
		return &list[len(list)-1]
	}
	form := f.InLongForm()
	for _, l := range form.Listeners {
		add("listener", l.Name, l.Key, l)
	}
	for _, c := range f.Certificates {
		add("certificate", cmp.Or(c.Name, c.Cert), c.Key, c)
	}
	if f.ACME != nil {
		add("acme", "", "acme", *f.ACME)
	}
	for _, u := range form.Upstreams {
		add("upstream", u.Name, u.Key, u)
	}
	for _, l := range form.Limits {
		add("limit", l.Name, l.Key, l)
	}
	namesakes := map[string]int{}
	for _, r := range form.Routes {
		s := add("route", r.Name, r.Key, r)
		s.path, s.nth = "route "+strconv.Quote(f.Masked(r.Name)), namesakes[r.Name]
		namesakes[r.Name]++
	}
	for i := range list {
		list[i].file = f
	}
	return list
}

// routes returns the routes of a configuration that another one has as well, in their order.
func routes(list []section, other map[id]section) (ids []id) {
	for _, s := range list {
		if _, stays := other[s.id]; stays && s.group == "route" {
			ids = append(ids, s.id)
		}
	}
	return ids
}

// changes returns how s differs from what it was.
func (s section) changes(was section) (list []Change) {
	old := maps.Collect(fields(was.value))
	for name, field := range fields(s.value) {
		if reflect.DeepEqual(field.Interface(), old[name].Interface()) {
			continue
		}
		before, after := was.inner(name, old[name]), s.inner(name, field)
		if field.Kind() == reflect.Pointer && field.Type().Elem().Kind() == reflect.Struct {
			list = append(list, after.optionalChanges(before)...)
			continue
		}
		if what := after.difference(before); what != "" {
			list = append(list, Change{after.path, what, restarts[after.path]})
		}
	}
	return list
}

// inner is the key of that name in a table, or the table.
func (s section) inner(name string, value reflect.Value) section {
	return section{path: s.path + "." + name, key: s.key + "." + name, value: value, file: s.file}
}

// optionalChanges returns how a table that may be absent differs from what it was.
func (s section) optionalChanges(was section) []Change {
	switch {
	case was.value.IsNil():
		return []Change{{Key: s.path, What: "added"}}
	case s.value.IsNil():
		return []Change{{Key: s.path, What: "removed"}}
	}
	s.value, was.value = s.value.Elem(), was.value.Elem()
	return s.changes(was)
}

// fields yields the keys of a table with their values.
func fields(table reflect.Value) iter.Seq2[string, reflect.Value] {
	return func(yield func(string, reflect.Value) bool) { everyField(table, yield) }
}

func everyField(table reflect.Value, yield func(string, reflect.Value) bool) bool {
	typ := table.Type()
	for i := range typ.NumField() {
		f, name := typ.Field(i), keyName(typ.Field(i))
		switch {
		case f.Anonymous:
			if !everyField(table.Field(i), yield) {
				return false
			}
		case f.Type.Kind() == reflect.Struct:
			inside := func(inner string, v reflect.Value) bool { return yield(name+"."+inner, v) }
			if !everyField(table.Field(i), inside) {
				return false
			}
		case name == "name" || f.Name == "Key" || typ == reflect.TypeFor[config.Server]() && name == "listen":
			// A name tells sections apart, and the address is the listener's.
		case !yield(name, table.Field(i)):
			return false
		}
	}
	return true
}

// keyName is the name of a field in the file: its tag, or else its name in lower case with underscores.
func keyName(f reflect.StructField) string {
	if name := f.Tag.Get("toml"); name != "" {
		return name
	}
	var b strings.Builder
	for i, r := range f.Name {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// difference says how a value changed: of a list, what came and what went; "" if both mean the same.
func (s section) difference(was section) string {
	if s.value.Kind() != reflect.Slice {
		a, b := inWords(was.value.Interface()), inWords(s.value.Interface())
		switch wasSecret, isSecret := was.file.IsSecret(was.key), s.file.IsSecret(s.key); {
		case a == b:
			return ""
		case wasSecret && isSecret:
			return "its content changed"
		case wasSecret:
			a = config.Mask
		case isSecret:
			b = config.Mask
		}
		return a + " became " + b
	}
	a, b := eachInWords(was.value), eachInWords(s.value)
	var what []string
	for i, e := range b {
		if !slices.Contains(a, e) {
			what = append(what, "added "+s.element(i, e))
		}
	}
	for i, e := range a {
		if !slices.Contains(b, e) {
			what = append(what, "removed "+was.element(i, e))
		}
	}
	if what == nil && !slices.Equal(a, b) {
		return "in another order"
	}
	return strings.Join(what, ", ")
}

func eachInWords(list reflect.Value) (shown []string) {
	for i := range list.Len() {
		shown = append(shown, inWords(list.Index(i).Interface()))
	}
	return shown
}

// element returns an element of a list in words, without a secret.
func (s section) element(i int, words string) string {
	switch f, isField := s.value.Index(i).Interface().(config.Field); {
	case isField && f.Secret:
		return f.Name + " = " + config.Mask
	case s.isSecret(i):
		return config.Mask
	}
	return words
}

// isSecret reports whether an element of a list is a secret. A backend may be written as a table.
func (s section) isSecret(i int) bool {
	path := toml.Element(s.key, i)
	return s.file.IsSecret(path) || s.file.IsSecret(path+".url")
}

// inWords returns a value as the file would have it, in one line.
func inWords(value any) string {
	switch v := value.(type) {
	case string:
		return strconv.Quote(v)
	case time.Duration:
		return strconv.Quote(v.String())
	case netip.Prefix:
		return strconv.Quote(v.String())
	case config.Backend:
		return spelled(v)
	case config.Field:
		return v.Name + " = " + strconv.Quote(v.Value)
	case config.Share:
		return v.Upstream + " = " + strconv.Itoa(v.Weight)
	}
	switch v := reflect.ValueOf(value); v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return "unset"
		}
		return inWords(v.Elem().Interface())
	case reflect.Slice:
		return "[" + strings.Join(eachInWords(v), ", ") + "]"
	case reflect.Struct:
		var keys []string
		for name, field := range fields(v) {
			if !field.IsZero() {
				keys = append(keys, name+" = "+inWords(field.Interface()))
			}
		}
		return "{ " + strings.Join(keys, ", ") + " }"
	}
	return fmt.Sprint(value)
}

// spelled returns a backend as the file has it.
func spelled(b config.Backend) string {
	if b.Weight == 1 {
		return strconv.Quote(b.URL())
	}
	return fmt.Sprintf("{ url = %q, weight = %d }", b.URL(), b.Weight)
}
