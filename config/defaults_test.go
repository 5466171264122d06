package config

import (
	"bytes"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pace/config/toml"
)

func defaultsFile(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	if err := WriteDefaults(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWriteDefaults_PassesAndMeansTheDefaults(t *testing.T) {
	f, err := Parse("defaults.toml", []byte(defaultsFile(t)))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Upstreams.Backends = []Backend{{"http", "127.0.0.1:8000", 1}, {"http", "127.0.0.1:8001", 1}} // the example
	if !reflect.DeepEqual(f.Config, want) {
		t.Errorf("got %+v, want %+v", f.Config, want)
	}
}

// What stands behind # must be as good as the rest once the # is taken away.
func TestWriteDefaults_HoldsEveryKey(t *testing.T) {
	all := regexp.MustCompile(`(?m)^#([a-z\[])`).ReplaceAllString(defaultsFile(t), "$1")
	f, err := Parse("defaults.toml", []byte(all))
	if err != nil {
		t.Fatal(err)
	}
	for k := range Keys() {
		if !f.holds(k) {
			t.Errorf("%s is not there", k.Name)
		}
		if !strings.Contains(all, "# "+k.Doc) {
			t.Errorf("the meaning of %s is not there", k.Name)
		}
	}
	if want := (RateLimit{true, 10, 60, "client_ip", 1_000_000}); *f.RateLimit != want {
		t.Errorf("got %+v, want %+v", *f.RateLimit, want)
	}
}

func TestKeys(t *testing.T) {
	seen := map[string]bool{}
	for k := range Keys() {
		required := strings.HasSuffix(k.Name, ".backends") || slices.Contains([]string{"route.match", "listener.NAME.listen", "certificate.cert", "certificate.key", "acme.domains", "acme.storage"}, k.Name)
		if k.Doc == "" || seen[k.Name] || (k.Default == "") != (required || k.Inherits != "") {
			t.Errorf("got %+v", k)
		}
		seen[k.Name] = true
	}
}

// holds reports whether the key is written in the file, in any of its tables.
func (f *File) holds(k Key) bool {
	for path := range f.lines {
		if patternOf(path) == k.Name {
			return true
		}
	}
	return false
}

// patternOf is the name of the key at a path of a file; "" if there is none.
func patternOf(path string) string {
	names := toml.Split(path)
	last := names[len(names)-1]
	if t := tableAt(strings.TrimSuffix(strings.TrimSuffix(path, last), ".")); t != nil && t.keyCalled(last) != nil {
		return toml.Join(t.path, last)
	}
	return ""
}

// TestInterface holds the keys to the table of docs/interface.md, which others rely on. It may
// lag behind for keys that are only ours, never the other way round.
func TestInterface(t *testing.T) {
	page, err := os.ReadFile("../docs/interface.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "\n## Configuration")
	section, _, _ := strings.Cut(rest, "\n`[upstreams]` and ")
	rows := regexp.MustCompile("(?m)^\\| `\\[+([a-zA-Z_.]+)\\]+` \\| (.*) \\|$").FindAllStringSubmatch(section, -1)
	described := map[string]bool{} // a table may have a row, and one inside it another
	for _, row := range rows {
		outer, _, _ := strings.Cut(row[1], ".")
		described[outer] = true
	}
	if len(described) != len(root.tables) {
		t.Errorf("rows of %d tables, but there are %d", len(described), len(root.tables))
	}
	held := 0
	for _, row := range rows {
		for _, m := range regexp.MustCompile("`([a-z_]{3,}) = ([^`]+)`").FindAllStringSubmatch(row[2], -1) {
			held++
			k := keyNamed(strings.Replace(row[1], "NAME", "api", 1) + "." + m[1])
			if k == nil {
				t.Errorf("no key %s.%s", row[1], m[1])
			} else if k.Default != m[2] {
				t.Errorf("%s = %s, the contract says %s", k.Name, k.Default, m[2])
			}
		}
	}
	if held < 35 {
		t.Errorf("only %d defaults found in the contract", held)
	}
}
