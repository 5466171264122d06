package toml

import (
	"strings"
	"testing"
)

func TestLanguage(t *testing.T) {
	for _, tt := range []struct {
		text, name string
		line       int
	}{
		{"server:\n  listen: 0.0.0.0:8080\n", "YAML", 1},
		{"# a comment\n\n---\nserver: {}\n", "YAML", 3},
		{"%YAML 1.2\n---\na: 1\n", "YAML", 1},
		{"- a\n- b: 1\n", "YAML", 1},
		{"{a: 1, b: [2]}\n", "YAML", 1},
		{"\"a\": 1\n'b': 2\r\n", "YAML", 1},
		{"url: http://a?b=c\n", "YAML", 1},
		{"{\"a\": 1}", "JSON", 1},
		{"\n\n{ \"a\"\n: 1,}", "JSON", 3},
		{"{}", "JSON", 1},
		{"[{\"a\": 1}]", "JSON", 1},
		{"// why\n{ /* what */ \"a\": 1 }", "JSON", 1},
		{"\"text\"", "JSON", 1},
		{"[server]\nlisten: \":1\"\nworkers: 2\nidle: 3\n", "", 0}, // begins as TOML
		{"listen: \":1\"\nworkers = 2\n", "", 0},                   // one slip
		{"listen = \":1\"\nworkers: 2\n", "", 0},
		{"server {\n  listen 80;\n}\n", "", 0},
		{"", "", 0},
		{"# nothing\n", "", 0},
	} {
		name, line := language(tt.text)
		if name != tt.name || line != tt.line {
			t.Errorf("%q: got %q, line %d; want %q, line %d", tt.text, name, line, tt.name, tt.line)
		}
	}
}

// A document that the library reads is never another language, whatever it looks like.
func TestParse_TakesNoTOMLForAnotherLanguage(t *testing.T) {
	for _, text := range []string{"[\"server\"]\n", "[[1]]\n", "", "# a: 1\n", "a = \"\"\"\nb: 1\nc: 2\n\"\"\"\n"} {
		if d := Parse([]byte(text)); d.Tree == nil || len(d.Faults) > 0 {
			t.Errorf("%q: %+v", text, d.Faults)
		}
	}
}

// What can be read is in the tree, what cannot is a fault with its line, path and value.
func TestParse_ReadsAroundFaults(t *testing.T) {
	d := Parse([]byte("a = 1\nb = c\n[t]\nd = [1 2]\ne = \"f\" g\nh =\ni = 'j'\n"))
	table, _ := d.Tree["t"].(map[string]any)
	if d.Tree["a"] != int64(1) || table["i"] != "j" {
		t.Errorf("got %v", d.Tree)
	}
	want := []Fault{
		{Line: 2, Path: "b", Kind: Unquoted, Value: "c"},
		{Line: 4, Path: "t.d", Kind: BadValue, Value: "[1 2]"},
		{Line: 5, Path: "t.e", Kind: AfterValue, Value: "\"f\" g"},
		{Line: 6, Path: "t.h", Kind: NoValue},
	}
	if len(d.Faults) != len(want) {
		t.Fatalf("got %+v", d.Faults)
	}
	for i, f := range d.Faults {
		if f.What == "" || f.Remedy == "" || strings.ContainsAny(f.What+f.Remedy, "\n") {
			t.Errorf("got %+v", f)
		}
		f.What, f.Remedy = "", ""
		if f != want[i] {
			t.Errorf("got %+v, want %+v", f, want[i])
		}
	}
}

func TestRedact(t *testing.T) {
	for text, want := range map[string]string{
		"http://user:pw@host/x":  `"http://…@host/x"`,
		"user:pw@host":           `"…@host"`,
		"host":                   `"host"`,
		strings.Repeat("a", 200): `"` + strings.Repeat("a", 100) + `…"`,
	} {
		if got := Redact(text); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}
