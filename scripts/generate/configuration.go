package main

import (
	"fmt"
	"io/fs"
	"strings"

	"pace/config"
)

// configuration makes docs/configuration.md.
func configuration(fs.FS) (string, error) {
	var b strings.Builder
	b.WriteString(`# Configuration

<!-- Written by go generate ./scripts/... from the struct tags in config/config.go. -->

pace reads one TOML file: the one that ` + "`--config`" + ` names, else ` + "`PACE_CONFIG`" + `, else ` + "`config/proxy.toml`" + `. Where the same thing can be set in several places, a flag comes before the environment, the environment before the file, and the file before the default.

Reading is strict. An unknown key or table, a value of the wrong type or out of its range, a key written twice: each is refused, and all faults are reported at once, in the order of the file, each with its line and its remedy:

` + "```" + `
proxy.toml:2: server.lisen: unknown key; did you mean server.listen?
proxy.toml:7: upstreams.backends[1]: no scheme in "127.0.0.1:8001"; write "http://127.0.0.1:8001"
` + "```" + `

` + "`pace check FILE`" + ` does so without starting anything; ` + "`pace check --defaults`" + ` prints every key with its default and its meaning, as a file to begin with; ` + "`pace check --schema`" + ` prints a JSON Schema, by which editors complete and check a file; ` + "`pace check FILE --diff OTHER`" + ` prints what a reload from one to the other would change. Durations are strings of numbers with units: ` + "`\"250ms\"`, `\"30s\"`, `\"1m30s\"`" + `. Networks are CIDRs without host bits: ` + "`\"10.0.0.0/8\"`, `\"10.0.0.1/32\"`" + `. A file has at most 1 MiB.
`)
	for _, t := range config.Tables() {
		fmt.Fprintf(&b, "\n## `%s`\n\n%s\n\n| key | default | meaning |\n|---|---|---|\n", t.Header, escape.Replace(t.Doc))
		for _, k := range t.Keys {
			value := "required"
			switch {
			case k.Default != "":
				value = "`" + k.Default + "`"
			case k.Inherits != "":
				value = k.Inherits
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", strings.TrimPrefix(k.Name, t.Name+"."), value, escape.Replace(k.Meaning))
		}
	}
	return b.String(), nil
}

// escape keeps Markdown from reading names and stars as its own.
var escape = strings.NewReplacer("|", `\|`, "*", `\*`, "[", `\[`, "]", `\]`)
