package config

import (
	"cmp"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"time"

	"pace/config/check"
	"pace/config/meant"
	"pace/config/toml"
)

// reader moves a decoded TOML document into a Config and notes what is wrong on the way.
type reader struct {
	file           *File
	faults         []*Fault
	syntaxFaults   int       // how many of faults, at its start, are about the syntax
	meant          []string  // what unknown keys were most likely meant to be
	missing        []missing // required keys that are not written
	knownUpstreams *names    // of the whole file; nil before the first use
	knownLimits    *names
	trial          bool // only whether there are faults matters; nobody reads them
}

// missing is a required key that is not written, in the table at a path.
type missing struct {
	in   *table
	path string
	of   *key
}

func (r *reader) full() bool { return len(r.faults) >= toml.MaxFaults }

// fault notes a fault on the line of a key; at notes one on a line that is known otherwise.
func (r *reader) fault(key, what, remedy string) { r.at(r.file.lines[key], key, what, remedy) }

func (r *reader) at(line int, key, what, remedy string) {
	secrets := &r.file.secrets
	switch {
	case secrets.isUnresolved(key):
	case r.file.IsSecret(key):
		r.add(line, key, secrets.refusal(key), remedyThere(key))
	default:
		r.add(line, key, secrets.mask(what), secrets.mask(remedy))
	}
}

// add notes a fault in which nothing is a secret.
func (r *reader) add(line int, key, what, remedy string) {
	if !r.full() {
		r.faults = append(r.faults, &Fault{r.file.name, line, key, what, remedy})
	}
}

// refuse notes that a string does not pass the check of its key. remedy may show the string.
func (r *reader) refuse(key string, bad *check.Refusal, remedy string) {
	before := len(r.faults)
	r.fault(key, bad.What, remedy)
	if r.file.IsSecret(key) && len(r.faults) > before && bad.Form != "" {
		r.faults[before].Remedy = "write " + bad.Form + there // a form is the same for every string
	}
}

// document reads the whole of a file.
func (r *reader) document(doc map[string]any) {
	r.readTable(root, "", doc, reflect.ValueOf(&r.file.Config).Elem())
}

// readTable reads the table at a path, and the tables inside it. What is not in written gets its default.
func (r *reader) readTable(t *table, path string, written map[string]any, to reflect.Value) {
	for _, k := range t.keys {
		raw, isWritten := written[k.leaf]
		k, field := k.at(path), to.FieldByIndex(k.field)
		if k.fallback != nil {
			r.readValue(k, k.fallback, field)
		}
		switch {
		case isWritten:
			r.readValue(k, raw, field)
		case k.required && !r.full():
			r.missing = append(r.missing, missing{t, path, k})
		}
	}
	for _, inner := range t.tables {
		raw, isWritten := written[inner.name]
		r.readTables(inner, toml.Join(path, inner.name), raw, isWritten, to.FieldByIndex(inner.field))
	}
	r.strays(t, path, written)
}

// readTables reads a table, or as many of its kind as are written.
func (r *reader) readTables(t *table, path string, raw any, isWritten bool, to reflect.Value) {
	switch t.kind {
	case optional:
		if !isWritten {
			return
		}
		to.Set(reflect.New(t.typ))
		to = to.Elem()
		fallthrough
	case single:
		written, ok := raw.(map[string]any)
		if raw != nil && !ok {
			r.fault(path, "expected a table, got "+toml.Describe(raw), "write ["+path+"], and its keys on the lines below")
		}
		r.readTable(t, path, written, to)
	case repeated:
		r.readRepeated(t, path, raw, to)
	case named:
		r.readNamed(t, path, raw, to)
	}
}

// readRepeated reads [[path]], as often as it is written.
func (r *reader) readRepeated(t *table, path string, raw any, to reflect.Value) {
	for i, written := range r.readElements(path, raw) {
		if r.full() {
			return
		}
		if written == nil {
			continue
		}
		one := reflect.New(t.typ).Elem()
		one.FieldByName("Key").SetString(toml.Element(path, i))
		r.readTable(t, toml.Element(path, i), written, one)
		to.Set(reflect.Append(to, one))
	}
}

// readElements returns the tables of an array. What is none is refused, and is nil.
func (r *reader) readElements(path string, raw any) (all []map[string]any) {
	switch raw := raw.(type) {
	case nil:
	case []map[string]any:
		return raw
	case []any:
		for i, e := range raw {
			one, ok := e.(map[string]any)
			if !ok {
				r.fault(toml.Element(path, i), "expected a table, got "+toml.Describe(e), "write [["+path+"]], and its keys on the lines below")
			}
			all = append(all, one)
		}
	default:
		r.fault(path, "expected an array of tables, got "+toml.Describe(raw), "write [["+path+"]], and its keys on the lines below")
	}
	return all
}

// readNamed reads [path.NAME] of every name, in the order of the file.
func (r *reader) readNamed(t *table, path string, raw any, to reflect.Value) {
	all, ok := raw.(map[string]any)
	if raw != nil && !ok {
		r.fault(path, "expected a table, got "+toml.Describe(raw), "write ["+path+"."+t.sample+"], and its keys on the lines below")
	}
	for _, name := range r.inOrder(path, all) {
		if r.full() {
			return
		}
		at := toml.Join(path, toml.Name(name))
		written, ok := all[name].(map[string]any)
		if !ok {
			r.unknown(t, path, name, "key") // more likely [upstreams] was meant
			continue
		}
		if _, bad := check.Name(name, t.sample); bad != nil {
			r.fault(at, bad.What, "write a name of "+bad.Form+", such as ["+path+"."+t.sample+"]")
		}
		one := reflect.New(t.typ).Elem()
		one.FieldByName("Name").SetString(name)
		one.FieldByName("Key").SetString(at)
		r.readTable(t, at, written, one)
		to.Set(reflect.Append(to, one))
	}
}

// inOrder are the names in a table, in the order of the file.
func (r *reader) inOrder(path string, written map[string]any) []string {
	line := func(name string) int { return r.file.lines[toml.Join(path, toml.Name(name))] }
	return slices.SortedFunc(maps.Keys(written), func(a, b string) int {
		return cmp.Or(cmp.Compare(line(a), line(b)), cmp.Compare(a, b))
	})
}

// strays reports the names in the table at a path that are not known there.
func (r *reader) strays(t *table, path string, written map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(written)) {
		if r.full() {
			return
		}
		if t.keyCalled(name) == nil && t.inner(name) == nil {
			r.stray(t, path, name, written[name])
		}
	}
}

// readValue sets one key's field, or says why not.
func (r *reader) readValue(k *key, raw any, field reflect.Value) {
	if field.Kind() == reflect.Pointer {
		field.Set(reflect.New(k.typ))
		field = field.Elem()
	}
	switch to := field.Addr().Interface().(type) {
	case *bool:
		if v, ok := raw.(bool); ok {
			*to = v
		} else {
			r.wrongType(k, raw)
		}
	case *string:
		if v, ok := raw.(string); ok {
			*to = r.readText(k, v)
		} else {
			r.wrongType(k, raw)
		}
	case *int:
		*to = int(r.readWhole(k, raw))
	case *int64:
		*to = r.readWhole(k, raw)
	case *float64:
		*to = r.readFraction(k, raw)
	case *time.Duration:
		*to = r.readDuration(k, raw)
	case *[]string:
		*to = list(r, k, raw, k.check)
	case *[]netip.Prefix:
		*to = list(r, k, raw, check.Network)
	case *[]Backend:
		*to = r.readBackends(k, raw)
	case *[]Field:
		*to = r.readFields(k, raw)
	case *[]Share:
		*to = r.readShares(k, raw)
	default:
		panic("pace: BUG: no reader for the type of " + k.Name)
	}
}

func (r *reader) readText(k *key, s string) string {
	v, bad := k.check(s, k.sample)
	if bad != nil {
		r.refuse(k.Name, bad, k.remedyOf(bad))
	}
	return v
}

func (r *reader) readWhole(k *key, raw any) int64 {
	n, ok := raw.(int64)
	if !ok {
		r.wrongType(k, raw)
	} else {
		r.within(k, float64(n), strconv.FormatInt(n, 10))
	}
	return n
}

// readFraction accepts whole numbers, too: sample_ratio = 1 can only mean 1.0.
func (r *reader) readFraction(k *key, raw any) float64 {
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

func (r *reader) readDuration(k *key, raw any) time.Duration {
	text, ok := raw.(string)
	if !ok {
		r.wrongType(k, raw)
		return 0
	}
	d, err := time.ParseDuration(text)
	switch {
	case err == nil:
		r.within(k, float64(d), toml.Quote(text))
	case meant.IsNumber(text):
		r.fault(k.Name, toml.Quote(text)+" has no unit", k.remedyFor(r, text))
	default:
		r.fault(k.Name, toml.Quote(text)+" is not a duration", k.remedyFor(r, text))
	}
	return d
}

// within refuses what lies outside the key's bounds, except its default. NaN lies outside.
func (r *reader) within(k *key, n float64, text string) {
	low, top := k.bounds()
	switch {
	case text == k.Default:
	case len(k.among) > 0:
		if !slices.Contains(k.among, text) {
			r.fault(k.Name, text+" is none of the numbers that it may be", k.remedy())
		}
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

// wrongType reports a value of another type; the remedy keeps what was written if it can.
func (r *reader) wrongType(k *key, raw any) {
	if r.file.IsSecret(k.Name) {
		r.add(r.file.lines[k.Name], k.Name, "expected "+k.like()+", and a reference stands for a string", k.remedy())
		return
	}
	r.fault(k.Name, "expected "+k.like()+", got "+toml.Describe(raw), k.remedyFor(r, plain(raw)))
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
