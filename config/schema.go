package config

import (
	"encoding/json"
	"io"
	"net/netip"
	"reflect"
	"strconv"
	"time"
)

// schema is a JSON Schema, as far as one is needed here: https://json-schema.org/draft-07.
type schema struct {
	Version     string             `json:"$schema,omitempty"`
	Title       string             `json:"title,omitempty"`
	Description string             `json:"description,omitempty"`
	Type        string             `json:"type,omitempty"`
	Default     any                `json:"default,omitempty"`
	Enum        []any              `json:"enum,omitempty"`
	Pattern     string             `json:"pattern,omitempty"`
	Minimum     *float64           `json:"minimum,omitempty"`
	Maximum     *float64           `json:"maximum,omitempty"`
	Items       *schema            `json:"items,omitempty"`
	MinItems    int                `json:"minItems,omitempty"`
	Properties  map[string]*schema `json:"properties,omitempty"`
	Required    []string           `json:"required,omitempty"`
	AnyOf       []*schema          `json:"anyOf,omitempty"`

	// AdditionalProperties is what the other names of an object may hold: a schema, or false.
	AdditionalProperties any `json:"additionalProperties,omitempty"`
}

// WriteSchema writes a JSON Schema of all keys. Editors check and complete a file by it. It refuses no file
// that Parse accepts, but Parse knows more. words are the values of the keys that hold some of a list, by the
// names of [Keys]. Errors are w's.
func WriteSchema(w io.Writer, words map[string][]string) error {
	s := root.jsonSchema(words)
	s.Version, s.Title = "http://json-schema.org/draft-07/schema#", "Configuration of pace"
	for _, one := range []string{"upstreams", "upstream", "route"} {
		s.AnyOf = append(s.AnyOf, &schema{Required: []string{one}})
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(s)
}

// jsonSchema is that of one table, or of all that may stand under its name.
func (t *table) jsonSchema(words map[string][]string) *schema {
	s := &schema{Type: "object", Properties: map[string]*schema{}, AdditionalProperties: false}
	for _, k := range t.keys {
		s.Properties[k.leaf] = k.jsonSchema(words[k.Name])
		if k.required {
			s.Required = append(s.Required, k.leaf)
		}
	}
	for _, inner := range t.tables {
		s.Properties[inner.name] = inner.jsonSchema(words)
	}
	switch t.kind {
	case repeated:
		s = &schema{Type: "array", Items: s}
	case named:
		s = &schema{Type: "object", AdditionalProperties: s}
	}
	s.Description = t.doc
	return s
}

// aDurationPattern matches what time.ParseDuration reads, and aReference a string that has a reference.
const (
	aDurationPattern = `^[+-]?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$|` + aReference
	aReference       = `\$\{(env|file):.+\}`
)

func (k *key) jsonSchema(words []string) *schema {
	s := k.typeSchema()
	s.Description, s.Default = k.Meaning, k.fallback
	if len(k.among) > 0 {
		s.Minimum, s.Maximum = nil, nil
		for _, n := range k.among {
			whole, _ := strconv.Atoi(n)
			s.Enum = append(s.Enum, whole)
		}
	}
	of := s // what is a word: the value, or each element of a list
	if s.Items != nil {
		of = s.Items
	}
	if len(words) > 0 {
		known := &schema{}
		for _, word := range words {
			known.Enum = append(known.Enum, word)
		}
		of.AnyOf = []*schema{known, {Pattern: aReference}}
	}
	return s
}

func (k *key) typeSchema() *schema {
	str := &schema{Type: "string"}
	switch k.typ {
	case reflect.TypeFor[bool]():
		return &schema{Type: "boolean"}
	case reflect.TypeFor[int](), reflect.TypeFor[int64]():
		return k.bounded("integer")
	case reflect.TypeFor[float64]():
		return k.bounded("number")
	case reflect.TypeFor[time.Duration]():
		return &schema{Type: "string", Pattern: aDurationPattern}
	case reflect.TypeFor[[]Backend]():
		weighted := &schema{
			Type:                 "object",
			Properties:           map[string]*schema{"url": str, "weight": {Type: "integer", Minimum: new(1.0), Maximum: new(float64(maxWeight))}},
			Required:             []string{"url"},
			AdditionalProperties: false,
		}
		return &schema{Type: "array", MinItems: 1, Items: &schema{AnyOf: []*schema{str, weighted}}}
	case reflect.TypeFor[[]string](), reflect.TypeFor[[]netip.Prefix]():
		return &schema{Type: "array", Items: str}
	case reflect.TypeFor[[]Field]():
		return &schema{Type: "object", AdditionalProperties: str}
	case reflect.TypeFor[[]Share]():
		return &schema{Type: "object", AdditionalProperties: &schema{Type: "integer", Minimum: new(0.0), Maximum: new(float64(maxWeight))}}
	}
	return str
}

// bounded is a number within the key's bounds. A default that lies outside of them widens them.
func (k *key) bounded(kind string) *schema {
	low := k.min
	if n, is := k.fallback.(int64); is {
		low = min(low, float64(n))
	}
	return &schema{Type: kind, Minimum: new(low), Maximum: new(k.max)}
}
