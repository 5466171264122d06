package pacetest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Config is a pace configuration: its tables by name.
type Config map[string]Table

// Table is one table's keys. Values are strings, bools, ints, floats, lists of strings and tables.
type Table map[string]any

// WithRoutes returns a copy of c with more routes, each a [[route]].
func (c Config) WithRoutes(routes ...Table) Config {
	c = maps.Clone(c)
	n := 0
	for c[routeName(n)] != nil {
		n++
	}
	for i, r := range routes {
		c[routeName(n+i)] = r
	}
	return c
}

// routeName is the name in a Config of the nth of the tables that are a list.
func routeName(n int) string { return fmt.Sprintf("route[%06d]", n) }

// Upstreams is the table of a pool of these backends.
func Upstreams(backends ...interface{ Address() string }) Table {
	urls := []string{}
	for _, b := range backends {
		url := "http://" + b.Address()
		if named, is := b.(interface{ URL() string }); is {
			url = named.URL()
		}
		urls = append(urls, url)
	}
	return Table{"backends": urls}
}

// With returns a copy of t in which key is value.
func (t Table) With(key string, value any) Table {
	t = maps.Clone(t)
	t[key] = value
	return t
}

// base is what every pace under test has unless its test says otherwise: ports of the
// kernel's choice, a log that can be parsed, and no drain that outlives the test.
var base = Config{
	"server": {"listen": "127.0.0.1:0", "drain_timeout": "10s"},
	"admin":  {"listen": "127.0.0.1:0"},
	"log":    {"format": "json"},
}

// withBase returns c over base, key by key. What has listeners of its own does not have that of the base.
func (c Config) withBase() Config {
	merged := Config{}
	for _, layer := range []Config{base, c} {
		for name, table := range layer {
			if merged[name] == nil {
				merged[name] = Table{}
			}
			maps.Copy(merged[name], table)
		}
	}
	if c["server"]["listen"] == nil && slices.ContainsFunc(slices.Collect(maps.Keys(c)), func(name string) bool { return strings.HasPrefix(name, "listener.") }) {
		delete(merged["server"], "listen")
	}
	return merged
}

// TOML writes c as a file that pace reads.
func (c Config) TOML() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(c)) {
		if list, _, is := strings.Cut(name, "["); is {
			fmt.Fprintf(&b, "[[%s]]\n", list)
		} else {
			fmt.Fprintf(&b, "[%s]\n", name)
		}
		for _, key := range slices.Sorted(maps.Keys(c[name])) {
			fmt.Fprintf(&b, "%s = %s\n", key, tomlValue(c[name][key]))
		}
	}
	return b.String()
}

func tomlValue(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case []string:
		quoted := make([]string, len(v))
		for i, s := range v {
			quoted[i] = strconv.Quote(s)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	case Table:
		var keys []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			keys = append(keys, strconv.Quote(key)+" = "+tomlValue(v[key]))
		}
		return "{ " + strings.Join(keys, ", ") + " }"
	default:
		return fmt.Sprint(v)
	}
}
