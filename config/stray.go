package config

import (
	"fmt"
	"regexp"
	"strings"

	"pace/config/meant"
	"pace/config/toml"
)

// stray reports a name in the table at a path that is not known there.
func (r *reader) stray(t *table, path, name string, raw any) {
	array, _ := raw.([]map[string]any)
	if _, isTable := raw.(map[string]any); isTable || len(array) > 0 {
		r.unknown(t, path, name, "table")
	} else {
		r.unknown(t, path, name, "key")
	}
}

// unknown reports a name that is not known in the table at a path.
func (r *reader) unknown(t *table, path, name, noun string) {
	remedy := "remove it; " + t.valid(path)
	switch near := nearest(t, path, name, noun); {
	case near == "":
	case noun == "key" && r.file.lines[near] > 0:
		remedy = fmt.Sprintf("remove it; %s is set on line %d", near, r.file.lines[near])
	case noun == "table" && r.file.lines[strings.Trim(near, "[]")] > 0:
		remedy = fmt.Sprintf("move its keys to %s on line %d", near, r.file.lines[strings.Trim(near, "[]")])
	default:
		remedy = "did you mean " + near + "?"
		r.meant = append(r.meant, near)
	}
	r.fault(toml.Join(path, toml.Name(name)), "unknown "+noun, remedy)
}

// valid lists the keys and tables of the table at a path; for the top of the file, it lists the tables.
func (t *table) valid(path string) string {
	var names []string
	if t == root {
		for _, inner := range t.tables {
			names = append(names, inner.header())
		}
		return "valid tables: " + strings.Join(names, ", ")
	}
	if t.kind == named && path == t.name {
		return fmt.Sprintf("write [%s.%s], and its keys on the lines below", path, t.sample)
	}
	for _, k := range t.keys {
		names = append(names, k.leaf)
	}
	for _, inner := range t.tables {
		names = append(names, inner.name)
	}
	return "valid keys in " + headerOf(path) + ": " + strings.Join(names, ", ")
}

// headerOf is the header of the table at a path, as a file has it: [[route]] for route[3].
func headerOf(path string) string {
	header := "[" + number.ReplaceAllString(path, "") + "]"
	if strings.HasSuffix(path, "]") {
		return "[" + header + "]"
	}
	return header
}

// number is that of an element in a path.
var number = regexp.MustCompile(`\[\d+\]`)

// nearest is the known key or table that a name in the table at a path was likely meant to be; "" if none
// is close. A key of another table counts only if it has exactly that name, or if the table's name is
// close as well.
func nearest(t *table, path, name, noun string) string {
	if len(path)+len(name) > 100 { // meant.Distance takes time in proportion to the length
		return ""
	}
	best, nearest := "", 1<<30
	consider := func(known string, cost int) {
		if cost < nearest {
			best, nearest = known, cost
		}
	}
	dir, leaf := strings.ToLower(t.name), strings.ToLower(name)
	if t == root && noun == "key" { // a dotted name that was put in quotes
		dir, leaf, _ = cutLast(leaf, ".")
	}
	for _, k := range t.keys {
		if d := meant.Distance(leaf, k.leaf); noun == "key" && d <= meant.Slack(leaf) && (t.kind != named || path != t.name) {
			consider(toml.Join(path, k.leaf), d)
		}
	}
	for _, inner := range t.tables {
		if d := meant.Distance(leaf, inner.name); t != root && noun == "table" && d <= meant.Slack(leaf) {
			consider(toml.Join(path, inner.name), d)
		}
	}
	if best != "" && noun == "table" { // a table of this one, and not one that has its name by chance
		return best
	}
	for _, other := range root.tables {
		if noun == "table" {
			near := other.nearName(t, leaf)
			if near >= 0 && t == root {
				consider(other.header(), near)
			} else if near >= 0 {
				consider("["+other.name+"."+toml.Name(name)+"]", near)
			}
			continue
		}
		if other == t || other.kind == named || other.kind == repeated { // which one of them?
			continue
		}
		far := 0 // at the top, all tables are equally far
		if dir != "" {
			far = meant.Distance(dir, other.name)
		}
		for _, k := range other.keys {
			if d := meant.Distance(leaf, k.leaf); d == 0 || d <= meant.Slack(leaf) && far <= meant.Slack(dir) {
				consider(k.Name, d+far)
			}
		}
	}
	return best
}

// nearName is how far a table's name is from what is written as a table in another one; negative if it is
// not near. At the top that is a name like it, and in [upstreams] it is any name, of an [upstream.NAME].
func (t *table) nearName(in *table, leaf string) int {
	written := leaf
	if in != root {
		if written = in.name; t.kind != named {
			return -1
		}
	}
	if d := meant.Distance(written, t.name); d <= meant.Slack(written) {
		return d
	}
	return -1
}

// cutLast is strings.Cut at the last sep; after is all of s if there is none.
func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return "", s, false
}
