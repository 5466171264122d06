package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	burntsushi "github.com/BurntSushi/toml"
)

// writtenSchema is the schema as a user gets it, without words.
func writtenSchema(t *testing.T) map[string]any {
	t.Helper()
	var b bytes.Buffer
	if err := WriteSchema(&b, map[string][]string{"log.level": {"debug", "info"}}); err != nil {
		t.Fatal(err)
	}
	var s map[string]any
	if err := json.Unmarshal(b.Bytes(), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// inJSON is a file as an editor gives it to a validator; ok is false if it is no TOML, or has a number that
// JSON does not have.
func inJSON(text string) (v any, ok bool) {
	var tree map[string]any
	if _, err := burntsushi.Decode(text, &tree); err != nil {
		return nil, false
	}
	data, err := json.Marshal(tree)
	if err == nil {
		err = json.Unmarshal(data, &v)
	}
	return v, err == nil
}

// violations are the places where a value is not what a JSON Schema says, for the keywords that ours has.
func violations(t *testing.T, s map[string]any, v any, at string) (all []string) {
	t.Helper()
	wrong := func(format string, args ...any) { all = append(all, at+": "+fmt.Sprintf(format, args...)) }
	for keyword, of := range s {
		switch keyword {
		case "$schema", "title", "description", "default":
		case "type":
			if got := typeOf(v); got != of && (got != "integer" || of != "number") {
				wrong("%s is no %s", got, of)
			}
		case "enum":
			if !slices.Contains(of.([]any), v) {
				wrong("%v is not in %v", v, of)
			}
		case "pattern":
			if text, is := v.(string); is && !regexp.MustCompile(of.(string)).MatchString(text) {
				wrong("%q does not match", text)
			}
		case "minimum", "maximum":
			if n, is := v.(float64); is && (keyword == "minimum" && n < of.(float64) || keyword == "maximum" && n > of.(float64)) {
				wrong("%v against a %s of %v", n, keyword, of)
			}
		case "minItems":
			if list, is := v.([]any); is && float64(len(list)) < of.(float64) {
				wrong("%d elements", len(list))
			}
		case "items":
			list, _ := v.([]any)
			for i, e := range list {
				all = append(all, violations(t, of.(map[string]any), e, fmt.Sprintf("%s[%d]", at, i))...)
			}
		case "required":
			object, is := v.(map[string]any)
			for _, name := range of.([]any) {
				if _, has := object[name.(string)]; is && !has {
					wrong("lacks %s", name)
				}
			}
		case "anyOf":
			if !slices.ContainsFunc(of.([]any), func(one any) bool { return violations(t, one.(map[string]any), v, at) == nil }) {
				wrong("is none of them")
			}
		case "properties", "additionalProperties":
		default:
			t.Fatalf("the test does not know the keyword %s", keyword)
		}
	}
	object, _ := v.(map[string]any)
	properties, _ := s["properties"].(map[string]any)
	for name, inner := range object {
		switch of := s["additionalProperties"].(type) {
		case map[string]any:
			all = append(all, violations(t, of, inner, at+"."+name)...)
		default:
			if p, is := properties[name].(map[string]any); is {
				all = append(all, violations(t, p, inner, at+"."+name)...)
			} else if of == false {
				wrong("has no %s", name)
			}
		}
	}
	return all
}

func typeOf(v any) string {
	switch v := v.(type) {
	case map[string]any:
		return "object"
	case []any:
		return "array"
	case string:
		return "string"
	case bool:
		return "boolean"
	case float64:
		if v == float64(int64(v)) {
			return "integer"
		}
		return "number"
	}
	return "null"
}

// TestWriteSchema_AcceptsWhatParseAccepts: an editor never marks a key that pace takes.
func TestWriteSchema_AcceptsWhatParseAccepts(t *testing.T) {
	all := regexp.MustCompile(`(?m)^#([a-z\[])`).ReplaceAllString(defaultsFile(t), "$1")
	texts := map[string]string{"defaults": defaultsFile(t), "all of the defaults": all}
	for _, file := range []string{"testdata/every_key.toml", "proxy.toml"} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[file] = string(data)
	}
	t.Setenv("PACE_TEST_LEVEL", "info")
	t.Setenv("PACE_TEST_IDLE", "1m")
	texts["references"] = "[upstreams]\nbackends = [\"http://10.0.0.1\"]\nidle_timeout = \"${env:PACE_TEST_IDLE}\"\n[log]\nlevel = \"${env:PACE_TEST_LEVEL}\"\n"
	for name, text := range texts {
		if _, err := Parse(name, []byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		v, ok := inJSON(text)
		if bad := violations(t, writtenSchema(t), v, ""); !ok || bad != nil {
			t.Errorf("%s: %s", name, strings.Join(bad, "\n"))
		}
	}
}

// TestWriteSchema_RefusesOnlyWhatParseRefuses: of each bad file that is TOML, the schema finds no fault
// where Parse finds none, and it finds most of the unknown keys and wrong types.
func TestWriteSchema_RefusesOnlyWhatParseRefuses(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.toml")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		v, ok := inJSON(string(text))
		if !ok {
			continue
		}
		_, err = Parse(file, text)
		bad := violations(t, writtenSchema(t), v, "")
		if len(bad) > 0 && err == nil {
			t.Errorf("%s: %v", file, bad)
		}
		found += len(bad)
	}
	if found < 120 {
		t.Errorf("the schema found %d faults in all bad files, want 120 at least", found)
	}
}

// TestWriteSchema_KnowsEveryKey: a value of the wrong type is found at each of them.
func TestWriteSchema_KnowsEveryKey(t *testing.T) {
	for k := range Keys() {
		v, ok := inJSON(fileWith(k, "[[[]]]"))
		if bad := violations(t, writtenSchema(t), v, ""); !ok || len(bad) == 0 {
			t.Errorf("%s may be a list of lists of lists", k.Name)
		}
	}
}
