package config

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// WriteDefaults writes every key with its default and meaning as a TOML file that passes
// Parse. An optional table is commented out, since writing it would change what pace
// does; a required key shows an example. Errors are w's.
func WriteDefaults(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintln(b, "# Every key of pace, its default and its meaning. A key that is left out has its default;")
	fmt.Fprintln(b, "# durations are numbers with units, such as \"250ms\", \"30s\" or \"1m30s\".")
	for _, t := range root.tables {
		off := ""
		if t.kind != single {
			off = "#" // with no space after it, unlike text
		}
		header := strings.Replace(t.header(), "NAME", t.sample, 1)
		fmt.Fprintf(b, "\n# %s\n", t.doc)
		if t.kind != single {
			fmt.Fprintf(b, "# To set it, remove the # from %s and from the keys you change.\n", header)
		}
		fmt.Fprintf(b, "%s%s\n", off, header)
		for inner := range t.all() {
			hidden := off
			if inner.kind == optional && inner != t {
				hidden = "#"
				fmt.Fprintf(b, "# %s To set it, remove the # from the keys you change.\n", inner.doc)
			}
			for _, k := range inner.keys {
				fmt.Fprintf(b, "# %s\n%s%s = %s\n", k.Meaning, hidden, strings.TrimPrefix(k.Name, t.path+"."), k.example)
			}
		}
	}
	return b.Flush()
}
