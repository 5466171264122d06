package show

import (
	"net/netip"
	"reflect"
	"strings"
	"time"

	"pace/config"
	"pace/config/toml"
)

// Values returns what f means, in the long form, for people and programs to read: by table and key, with durations
// and networks as the file has them. Secrets are masked.
func Values(f *config.File) map[string]any {
	all := map[string]any{"route": []any{}}
	for _, s := range sections(f) {
		keys := s.values()
		switch {
		case s.name == "":
			all[s.group] = keys
		case s.group == "route":
			keys["name"] = s.file.Masked(s.name)
			all["route"] = append(all["route"].([]any), keys)
		default:
			of, ok := all[s.group].(map[string]any)
			if !ok {
				of = map[string]any{}
				all[s.group] = of
			}
			of[s.file.Masked(s.name)] = keys
		}
	}
	return all
}

// values returns the keys of a table.
func (s section) values() map[string]any {
	keys := map[string]any{}
	for name, field := range fields(s.value) {
		one := s.inner(name, field)
		at := keys
		for inner, leaf, ok := strings.Cut(name, "."); ok; inner, leaf, ok = strings.Cut(name, ".") {
			if at[inner] == nil {
				at[inner] = map[string]any{}
			}
			at, name = at[inner].(map[string]any), leaf
		}
		at[name] = one.shown()
	}
	return keys
}

// shown returns a value, or the mask.
func (s section) shown() any {
	if s.file.IsSecret(s.key) {
		return config.Mask
	}
	switch v := s.value.Interface().(type) {
	case time.Duration:
		return v.String()
	case netip.Prefix:
		return v.String()
	case config.Backend:
		return map[string]any{"url": s.file.Shown(s.key+".url", v.URL()), "weight": v.Weight}
	case []config.Field:
		fields := map[string]string{}
		for _, f := range v {
			fields[f.Name] = f.Shown()
		}
		return fields
	case []config.Share:
		shares := map[string]int{}
		for _, s := range v {
			shares[s.Upstream] = s.Weight
		}
		return shares
	}
	switch s.value.Kind() {
	case reflect.Pointer:
		if s.value.IsNil() {
			return nil
		}
		s.value = s.value.Elem()
		return s.shown()
	case reflect.Slice:
		list := []any{}
		for i := range s.value.Len() {
			list = append(list, section{key: toml.Element(s.key, i), value: s.value.Index(i), file: s.file}.shown())
		}
		return list
	case reflect.Struct:
		return s.values()
	}
	return s.value.Interface()
}
