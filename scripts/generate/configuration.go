package main

import (
	_ "embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"pace/config"
)

//go:embed configuration.md
var aboutConfiguration string

// configuration returns docs/configuration.md: the text that is written by hand, and a table of keys for each
// table of the file.
func configuration(fs.FS) (string, error) {
	var b strings.Builder
	b.WriteString(strings.TrimSuffix(aboutConfiguration, "\n"))
	tables := config.Tables()
	for i, t := range tables {
		fmt.Fprintf(&b, "\n## `%s`\n\n%s", t.Header, escape.Replace(t.Doc))
		if same := slices.IndexFunc(tables[:i], sameKeys(t)); same >= 0 {
			fmt.Fprintf(&b, " Its keys are those of `%s`.\n", tables[same].Header)
			continue
		}
		b.WriteString("\n\n| key | default | meaning |\n|---|---|---|\n")
		for _, k := range t.Keys {
			value := "required"
			switch {
			case k.Default != "":
				value = "`" + k.Default + "`"
			case k.Inherits != "":
				value = k.Inherits
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", leaf(t, k), value, escape.Replace(k.Meaning))
		}
	}
	return b.String(), nil
}

// leaf is the key's name within its table.
func leaf(t config.Table, k config.Key) string { return strings.TrimPrefix(k.Name, t.Name+".") }

// sameKeys reports whether another table has the keys of t.
func sameKeys(t config.Table) func(config.Table) bool {
	return func(other config.Table) bool {
		return slices.EqualFunc(t.Keys, other.Keys, func(a, b config.Key) bool {
			return leaf(t, a) == leaf(other, b) && a.Meaning == b.Meaning
		})
	}
}

// escape keeps Markdown from reading names and stars as its own.
var escape = strings.NewReplacer("|", `\|`, "*", `\*`, "[", `\[`, "]", `\]`)
