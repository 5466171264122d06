package show

import (
	"net/netip"
	"reflect"
	"strings"
	"time"

	"pace/config"
)

// Values returns what c means, in the long form, for people and programs to read: by table and key, with durations
// and networks as the file has them. Secrets are masked.
func Values(c *config.Config) map[string]any {
	all := map[string]any{"route": []any{}}
	for _, s := range sections(c) {
		keys := valuesOf(s.value)
		switch {
		case s.name == "":
			all[s.group] = keys
		case s.group == "route":
			keys["name"] = s.name
			all["route"] = append(all["route"].([]any), keys)
		default:
			of, ok := all[s.group].(map[string]any)
			if !ok {
				of = map[string]any{}
				all[s.group] = of
			}
			of[s.name] = keys
		}
	}
	return all
}

// valuesOf returns the keys of a table.
func valuesOf(table reflect.Value) map[string]any {
	keys := map[string]any{}
	for name, field := range fields(table) {
		at := keys
		for inner, leaf, ok := strings.Cut(name, "."); ok; inner, leaf, ok = strings.Cut(name, ".") {
			if at[inner] == nil {
				at[inner] = map[string]any{}
			}
			at, name = at[inner].(map[string]any), leaf
		}
		at[name] = valueOf(field)
	}
	return keys
}

func valueOf(v reflect.Value) any {
	switch v := v.Interface().(type) {
	case time.Duration:
		return v.String()
	case netip.Prefix:
		return v.String()
	case config.Backend:
		return map[string]any{"url": v.URL(), "weight": v.Weight}
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
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return valueOf(v.Elem())
	case reflect.Slice:
		list := []any{}
		for i := range v.Len() {
			list = append(list, valueOf(v.Index(i)))
		}
		return list
	case reflect.Struct:
		return valuesOf(v)
	}
	return v.Interface()
}
