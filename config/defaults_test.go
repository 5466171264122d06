package config

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
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
	want.Upstreams.Backends = []string{"127.0.0.1:8000", "127.0.0.1:8001"} // the example
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
		if f.lines[k.Name] == 0 {
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
		if k.Doc == "" || seen[k.Name] || (k.Default == "") != (k.Name == "upstreams.backends") {
			t.Errorf("got %+v", k)
		}
		seen[k.Name] = true
	}
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
	rows := regexp.MustCompile("(?m)^\\| `\\[([a-z_]+)\\]` \\| (.*) \\|$").FindAllStringSubmatch(section, -1)
	if len(rows) != len(tables) {
		t.Errorf("%d rows, but %d tables", len(rows), len(tables))
	}
	held := 0
	for _, row := range rows {
		for _, m := range regexp.MustCompile("`([a-z_]{3,}) = ([^`]+)`").FindAllStringSubmatch(row[2], -1) {
			held++
			k := keyNamed(row[1] + "." + m[1])
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

// TestConfigurationPage holds docs/configuration.md to the tags; -update writes it.
func TestConfigurationPage(t *testing.T) {
	golden(t, "../docs/configuration.md", page())
}

func page() string {
	var b strings.Builder
	b.WriteString(`# Configuration

<!-- Written by go generate ./config from the struct tags in config/config.go. -->

pace reads one TOML file: the one that ` + "`--config`" + ` names, else ` + "`PACE_CONFIG`" + `, else ` + "`config/proxy.toml`" + `. Where the same thing can be set in several places, a flag comes before the environment, the environment before the file, and the file before the default.

Reading is strict. An unknown key or table, a value of the wrong type or out of its range, a key written twice: each is refused, and all faults are reported at once, in the order of the file, each with its line and its remedy:

` + "```" + `
proxy.toml:2: server.lisen: unknown key; did you mean server.listen?
proxy.toml:7: upstreams.backends[1]: no scheme in "127.0.0.1:8001"; write "http://127.0.0.1:8001"
` + "```" + `

` + "`pace check FILE`" + ` does so without starting anything; ` + "`pace check --defaults`" + ` prints every key with its default and its meaning, as a file to begin with. Durations are strings of numbers with units: ` + "`\"250ms\"`, `\"30s\"`, `\"1m30s\"`" + `. Networks are CIDRs without host bits: ` + "`\"10.0.0.0/8\"`, `\"10.0.0.1/32\"`" + `. A file has at most 1 MiB.

Reserved for later versions, and refused as such: ` + "`[upstream.NAME]`, `[[route]]`, `[limit.NAME]`, `[tracing.keep]`" + `.
`)
	for _, t := range tables {
		fmt.Fprintf(&b, "\n## `[%s]`\n\n%s\n\n| key | default | meaning |\n|---|---|---|\n", t.name, t.doc)
		for _, k := range t.keys {
			value := "required"
			if k.Default != "" {
				value = "`" + k.Default + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", k.leaf, value, cell.Replace(k.meaning()))
		}
	}
	return b.String()
}

// cell keeps Markdown from reading names and stars as its own.
var cell = strings.NewReplacer("|", `\|`, "*", `\*`, "[/path]", `\[/path\]`, "[:port]", `\[:port\]`)
