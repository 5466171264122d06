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

// Table is one table's keys. Values are strings, bools, ints, floats and lists of strings.
type Table map[string]any

// Upstreams is the table of a pool of these backends.
func Upstreams(backends ...interface{ Address() string }) Table {
	urls := []string{}
	for _, b := range backends {
		urls = append(urls, "http://"+b.Address())
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

// withBase returns c over base, key by key.
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
	return merged
}

// TOML writes c as a file that pace reads.
func (c Config) TOML() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(c)) {
		fmt.Fprintf(&b, "[%s]\n", name)
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
	default:
		return fmt.Sprint(v)
	}
}
