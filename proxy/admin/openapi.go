package admin

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"pace/telemetry/inflight"
)

type object = map[string]any

// described are the calls of the API that other packages serve.
var described = []call{
	{
		method: "GET", path: "/api/v1/inflight", summary: "The requests that are still running, the oldest first.",
		responses: map[int]any{200: inflightList{}},
	},
	{
		method: "GET", path: "/api/v1/requests", summary: "Recent interesting exchanges, the newest first.",
		responses: map[int]any{200: requestList{}, 400: failure{}},
		query: append(filters,
			parameter{"limit", "How many, 100 by default and 1000 at most.", false},
			parameter{"after", "The next of the page before.", false}),
	},
	{
		method: "GET", path: "/api/v1/requests/{trace}", summary: "One exchange, whole: attempts, phases, events, and what happened in sentences.",
		responses: map[int]any{200: object{}, 404: failure{}},
	},
	{
		method: "GET", path: "/api/v1/tail", summary: "Interesting exchanges as they end, as server-sent events.",
		responses: map[int]any{200: object{}, 400: failure{}}, query: filters,
	},
}

type inflightList struct {
	Inflight []inflight.Running `json:"inflight"`
}

type requestList struct {
	Requests []object `json:"requests"`
	Next     *string  `json:"next"`
}

var filters = []parameter{
	{"outcome", "The word of the outcome.", false},
	{"side", "Who caused it: client, backend, pace or limiter.", false},
	{"route", "The name of the route.", false},
	{"backend", "The host:port of any attempt.", false},
	{"status", "The status that the client got.", false},
	{"min_ms", "The minimum duration.", false},
	{"trace", "The trace's id.", false},
	{"since", "A time of RFC 3339, or a duration such as 10m.", false},
}

// WriteOpenAPI writes the description of the API, which is made of the table of calls and of the types of their
// bodies.
func WriteOpenAPI(w io.Writer) error {
	paths := object{}
	for _, c := range slices.Concat(calls, described) {
		path, ok := paths[c.path].(object)
		if !ok {
			path = object{}
			paths[c.path] = path
		}
		path[strings.ToLower(c.method)] = c.operation()
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(object{
		"openapi": "3.1.0",
		"info":    object{"title": "pace's admin API", "version": "v1", "description": "On the admin listener. Calls that change something need the token of admin.token_file, or come by a unix socket."},
		"paths":   paths,
		"components": object{"securitySchemes": object{
			"token": object{"type": "http", "scheme": "bearer", "description": "The content of admin.token_file. None is needed on a unix socket."},
		}},
	})
}

func (c call) operation() object {
	responses := object{}
	for _, status := range slices.Sorted(maps.Keys(c.responses)) {
		responses[strconv.Itoa(status)] = response(status, c.responses[status])
	}
	o := object{"summary": c.summary, "responses": responses}
	parameters := []object{}
	for segment := range strings.SplitSeq(c.path, "/") {
		name, ok := strings.CutPrefix(segment, "{")
		if !ok {
			continue
		}
		name = strings.TrimSuffix(name, "}")
		parameters = append(parameters, object{"name": name, "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	for _, p := range c.query {
		schema := object{"type": "string"}
		if p.repeated {
			schema = object{"type": "array", "items": schema}
		}
		parameters = append(parameters, object{"name": p.name, "in": "query", "description": p.doc, "schema": schema})
	}
	if len(parameters) > 0 {
		o["parameters"] = parameters
	}
	if c.body != nil {
		o["requestBody"] = object{"required": true, "content": content(c.body)}
	}
	if c.changes {
		o["security"] = []object{{"token": []string{}}}
		responses["401"] = response(401, failure{})
		responses["403"] = response(403, failure{})
	}
	return o
}

func response(status int, body any) object {
	return object{"description": http.StatusText(status), "content": content(body)}
}

func content(body any) object {
	return object{"application/json": object{"schema": schemaOf(reflect.TypeOf(body))}}
}

// schemaOf returns the JSON Schema of a type.
func schemaOf(t reflect.Type) object {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t.Kind() == reflect.Pointer:
		s := schemaOf(t.Elem())
		s["type"] = []any{s["type"], "null"}
		return s
	case t.Kind() == reflect.Slice:
		return object{"type": "array", "items": schemaOf(t.Elem())}
	case t.Kind() == reflect.Map && t.Elem().Kind() == reflect.String:
		return object{"type": "object", "additionalProperties": object{"type": "string"}}
	case t.Kind() == reflect.Map, t.Kind() == reflect.Interface:
		return object{"type": "object"}
	case t.Kind() == reflect.Struct:
		return schemaOfStruct(t)
	case t.Kind() == reflect.String:
		return object{"type": "string"}
	case t.Kind() == reflect.Bool:
		return object{"type": "boolean"}
	case t.Kind() == reflect.Int:
		return object{"type": "integer"}
	case t.Kind() == reflect.Float64:
		return object{"type": "number"}
	}
	panic("pace: BUG: no schema for " + t.String())
}

func schemaOfStruct(t reflect.Type) object {
	properties, required := object{}, []string{}
	for field := range t.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		properties[name] = schemaOf(field.Type)
		if options != "omitempty" {
			required = append(required, name)
		}
	}
	return object{"type": "object", "properties": properties, "required": required}
}
