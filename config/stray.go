package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"pace/config/toml"
)

// stray reports a name in a table ("" at the top) that is not known. The tables of the long form,
// which files of later versions will hold, are reported as such: [upstream.NAME], [limit.NAME],
// [[route]] and [tracing.keep].
func (r *reader) stray(table, name string, raw any) {
	path := toml.Join(table, toml.Name(name))
	array, _ := raw.([]map[string]any)
	inner, isTable := raw.(map[string]any)
	switch {
	case path == "tracing.keep", path == "route" && len(array) == 0:
		r.notYet(path)
	case path == "route":
		for i := range array {
			r.notYet(toml.Element(path, i))
		}
	case (path == "upstream" || path == "limit") && len(inner) > 0:
		for _, child := range slices.Sorted(maps.Keys(inner)) {
			if r.full() {
				return
			}
			if _, ok := inner[child].(map[string]any); ok {
				r.notYet(toml.Join(path, toml.Name(child)))
			} else {
				r.unknown(path, child, "key") // more likely [upstreams] was meant
			}
		}
	case isTable || len(array) > 0:
		r.unknown(table, name, "table")
	default:
		r.unknown(table, name, "key")
	}
}

func (r *reader) notYet(name string) {
	r.fault(name, "not yet supported by this version of pace", "remove it")
}

func (r *reader) unknown(table, name, noun string) {
	remedy := "remove it; " + valid(table)
	switch near := nearest(table, name, noun); {
	case near == "":
	case noun == "key" && r.file.lines[near] > 0:
		remedy = fmt.Sprintf("remove it; %s is set on line %d", near, r.file.lines[near])
	case noun == "table" && r.file.lines[strings.Trim(near, "[]")] > 0:
		remedy = fmt.Sprintf("move its keys to %s on line %d", near, r.file.lines[strings.Trim(near, "[]")])
	default:
		remedy = "did you mean " + near + "?"
		r.meant = append(r.meant, near)
	}
	r.fault(toml.Join(table, toml.Name(name)), "unknown "+noun, remedy)
}

// valid lists the keys of a table; for an unknown table, and for the top of the file, it lists the
// tables.
func valid(table string) string {
	var names []string
	for _, t := range tables {
		if t.name == table {
			var keys []string
			for _, k := range t.keys {
				keys = append(keys, k.leaf)
			}
			return "valid keys in [" + table + "]: " + strings.Join(keys, ", ")
		}
		names = append(names, "["+t.name+"]")
	}
	return "valid tables: " + strings.Join(names, ", ")
}

// nearest is the known key or table that a name in a table was likely meant to be; "" if none is
// close. A key of another table counts only if it has exactly that name, or if the table's name is close
// as well.
func nearest(table, name, noun string) string {
	if len(table)+len(name) > 100 { // distance takes time in proportion to the length
		return ""
	}
	best, least := "", 1<<30
	consider := func(known string, cost int) {
		if cost < least {
			best, least = known, cost
		}
	}
	dir, leaf := strings.ToLower(table), strings.ToLower(name)
	if dir == "" && noun == "key" { // a dotted name that was put in quotes
		dir, leaf, _ = cutLast(leaf, ".")
	}
	for _, t := range tables {
		if noun == "table" {
			if d := distance(leaf, t.name); d <= slack(leaf) && dir == "" {
				consider("["+t.name+"]", d)
			}
			continue
		}
		far := 0 // at the top, all tables are equally far
		if dir != "" {
			far = distance(dir, t.name)
		}
		for _, k := range t.keys {
			if d := distance(leaf, k.leaf); d == 0 || d <= slack(leaf) && far <= slack(dir) {
				consider(k.Name, d+far)
			}
		}
	}
	return best
}

// cutLast is strings.Cut at the last sep; after is all of s if there is none.
func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return "", s, false
}

// slack is how many typing errors a name may have and still be recognised.
func slack(s string) int { return max(1, len(s)/3) }

// distance is how many letters must be inserted, removed, changed or swapped with the next one to turn a
// into b (optimal string alignment).
func distance(a, b string) int {
	two, one := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range one {
		one[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := one[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(change, one[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], two[j-2]+1)
			}
		}
		two, one = one, row
	}
	return one[len(b)]
}
