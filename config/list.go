package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"pace/config/check"
	"pace/config/toml"
)

// list reads a list of strings and checks each with one.
func list[T comparable](r *reader, k *key, raw any, one func(s, sample string) (T, *check.Refusal)) []T {
	return elements(r, k, raw, func(path string, e any) (v T, ok bool) {
		s, ok := e.(string)
		if !ok {
			r.fault(path, "expected a string, got "+toml.Describe(e), k.elementRemedy(plain(e)))
			return v, false
		}
		v, bad := one(s, k.sample)
		if bad != nil {
			r.refuse(path, bad, k.remedyOf(bad))
		}
		return v, bad == nil
	}, func(v T) T { return v }, func(T, T) string { return isSame })
}

const isSame = "is the same as"

// elements reads a list, each element with one, which reports whether it passes. An element that is the
// same as an earlier one is refused: somebody who writes a thing twice most likely meant another one. like
// says in what they are the same.
func elements[T any, S comparable](r *reader, k *key, raw any, one func(path string, e any) (T, bool), same func(T) S, like func(v, first T) string) (got []T) {
	written, ok := raw.([]any)
	if tables, is := raw.([]map[string]any); is {
		ok = true
		for _, t := range tables {
			written = append(written, t)
		}
	}
	if !ok {
		r.wrongType(k, raw)
		return nil
	}
	if len(written) == 0 && k.required {
		r.fault(k.Name, "the list is empty", "write at least one, such as "+k.example)
	}
	type earlier struct {
		at int
		v  T
	}
	seen := make(map[S]earlier, len(written))
	for i, e := range written {
		path := toml.Element(k.Name, i)
		v, ok := one(path, e)
		if !ok {
			continue
		}
		if first, twice := seen[same(v)]; twice {
			r.fault(path, fmt.Sprintf("%s %s %s", toml.Quote(textOf(e)), like(v, first.v), toml.Element(k.Name, first.at)), "remove one of the two")
			continue
		}
		seen[same(v)] = earlier{i, v}
		got = append(got, v)
	}
	return got
}

// textOf is the string that an element is, or its url.
func textOf(e any) string {
	if t, ok := e.(map[string]any); ok {
		e = t["url"]
	}
	s, _ := e.(string)
	return s
}

// readBackends reads a list of backends, which may be strings, or tables with url and weight.
func (r *reader) readBackends(k *key, raw any) []Backend {
	return elements(r, k, raw, func(path string, e any) (Backend, bool) {
		if t, ok := e.(map[string]any); ok {
			return r.readWeighted(k, path, t)
		}
		return r.readBackend(k, path, e)
	}, Backend.place, func(b, first Backend) string {
		if b.Scheme != first.Scheme {
			return "has the host and port of"
		}
		return isSame
	})
}

func (r *reader) readBackend(k *key, path string, raw any) (Backend, bool) {
	s, ok := raw.(string)
	if !ok {
		r.fault(path, "expected a string, got "+toml.Describe(raw), k.elementRemedy(plain(raw)))
		return Backend{}, false
	}
	scheme, address, bad := check.Backend(s, k.sample)
	if bad != nil {
		r.refuse(path, bad, k.remedyOf(bad))
	}
	return Backend{scheme, address, 1}, bad == nil
}

// readWeighted reads { url = "…", weight = 2 }.
func (r *reader) readWeighted(k *key, path string, written map[string]any) (b Backend, ok bool) {
	for _, name := range slices.Sorted(maps.Keys(written)) {
		if name != "url" && name != "weight" {
			r.fault(toml.Join(path, toml.Name(name)), "unknown key", "remove it; a backend has url and weight")
		}
	}
	url, isWritten := written["url"]
	if !isWritten {
		r.fault(path, "url is missing", fmt.Sprintf("write %q", k.sample))
		return b, false
	}
	b, ok = r.readBackend(k, toml.Join(path, "url"), url)
	if raw, isWritten := written["weight"]; isWritten {
		b.Weight = r.readWeight(toml.Join(path, "weight"), raw, 1)
	}
	return b, ok
}

const maxWeight = 1_000_000

// readWeight reads a weight from low on.
func (r *reader) readWeight(path string, raw any, low int64) int {
	n, ok := raw.(int64)
	remedy := fmt.Sprintf("write a whole number from %d to %d, such as 1", low, maxWeight)
	switch {
	case !ok:
		r.fault(path, "expected a whole number, got "+toml.Describe(raw), remedy)
		return 1
	case n < low:
		r.fault(path, fmt.Sprintf("%d is below %d", n, low), remedy)
	case n > maxWeight:
		r.fault(path, fmt.Sprintf("%d is above %d", n, maxWeight), remedy)
	}
	return int(n)
}

// readShares reads a table of upstreams and their weights.
func (r *reader) readShares(k *key, raw any) (all []Share) {
	written, ok := raw.(map[string]any)
	if !ok {
		r.wrongType(k, raw)
		return nil
	}
	path := func(upstream string) string { return toml.Join(k.Name, toml.Name(upstream)) }
	some := len(written) == 0
	for _, name := range slices.Sorted(maps.Keys(written)) {
		s := Share{name, r.readWeight(path(name), written[name], 0)}
		all, some = append(all, s), some || s.Weight != 0
	}
	if !some {
		r.fault(path(all[0].Upstream), "all weights are 0, so that no upstream gets a request",
			fmt.Sprintf("write a whole number from 1 to %d", maxWeight))
	}
	return all
}

// readFields reads a table of header fields.
func (r *reader) readFields(k *key, raw any) (all []Field) {
	written, ok := raw.(map[string]any)
	if !ok {
		r.wrongType(k, raw)
		return nil
	}
	seen := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(written)) {
		path := toml.Join(k.Name, toml.Name(name))
		if _, bad := k.check(name, k.sample); bad != nil {
			r.fault(path, bad.What, "remove it, or write a name of letters, digits and hyphens")
			continue
		}
		if first, twice := seen[strings.ToLower(name)]; twice {
			r.fault(path, "is the same field as "+first, "remove one of the two")
			continue
		}
		seen[strings.ToLower(name)] = path
		value, ok := written[name].(string)
		if !ok {
			r.fault(path, "expected a string, got "+toml.Describe(written[name]), "write "+textLike(plain(written[name])))
			continue
		}
		if _, bad := check.FieldValue(value); bad != nil {
			r.refuse(path, bad, "write "+bad.Form+`, such as "1"`)
			continue
		}
		all = append(all, Field{name, value, r.file.IsSecret(path) || secretFields.MatchString(name)})
	}
	return all
}

// textLike is a value as a string of TOML; an example if it cannot be one.
func textLike(s string) string {
	if v := literal(s); v != "" {
		return v
	}
	return `a string, such as "1"`
}
