package config

import (
	"maps"
	"slices"
	"strings"
)

// stray reports what is not known. The tables of the long form, which files of later versions
// will hold, are told apart: [upstream.NAME], [limit.NAME], [[route]] and [tracing.keep].
func (r *reader) stray(name string, raw any) {
	array, _ := raw.([]map[string]any)
	table, isTable := raw.(map[string]any)
	switch {
	case name == "tracing.keep", name == "route" && len(array) == 0:
		r.notYet(name)
	case name == "route":
		for i := range array {
			r.notYet(element(name, i))
		}
	case (name == "upstream" || name == "limit") && len(table) > 0:
		for _, child := range slices.Sorted(maps.Keys(table)) {
			if r.full() {
				return
			}
			path := join2(name, bareOrQuoted(child))
			if _, ok := table[child].(map[string]any); ok {
				r.notYet(path)
			} else {
				r.unknown(path, "key") // more likely [upstreams] was meant
			}
		}
	case isTable || len(array) > 0:
		r.unknown(name, "table")
	default:
		r.unknown(name, "key")
	}
}

func (r *reader) notYet(name string) {
	r.fault(name, "not yet supported by this version of pace", "remove it")
}

func (r *reader) unknown(name, noun string) {
	mend := "remove it; " + known(name)
	if near := nearest(name, noun); near != "" {
		mend = "did you mean " + near + "?"
	}
	r.fault(name, "unknown "+noun, mend)
}

// known says what could stand in the place of a name.
func known(name string) string {
	var names []string
	dir, _, _ := cutLast(name, ".")
	for _, t := range tables {
		if t.name == dir {
			for _, k := range t.keys {
				names = append(names, k.leaf)
			}
			return "[" + dir + "] knows " + strings.Join(names, ", ")
		}
		names = append(names, t.name)
	}
	return "the tables are " + strings.Join(names, ", ")
}

// nearest is the known key or table that name was likely meant to be; "" if none is close.
// In another table, unless that one's name is close as well, only the very same key counts.
func nearest(name, noun string) string {
	if len(name) > 100 { // the distance takes time in proportion to its length
		return ""
	}
	best, least := "", 1<<30
	consider := func(known string, cost int) {
		if cost < least {
			best, least = known, cost
		}
	}
	dir, leaf, _ := cutLast(strings.ToLower(name), ".")
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

// slack is how many slips of the finger are forgiven in a name.
func slack(s string) int { return max(1, len(s)/3) }

// distance counts the letters to insert, drop, change or swap with the next (optimal string
// alignment) on the way from a to b.
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
