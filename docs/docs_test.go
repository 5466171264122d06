// Package docs holds what the pages say to what is there: links, commands, keys, configurations.
package docs

import (
	"io/fs"
	"log"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pace/config"
)

const root = ".."

// page is one Markdown file.
type page struct {
	name   string // from the root, with slashes
	prose  string // without blocks of code
	blocks []block
}

// block is one fenced block of code.
type block struct {
	language, text string
	line           int // of its first line, from 1
}

func pages(t *testing.T) (all []page) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := strings.HasPrefix(d.Name(), ".") && name != "."
		if d.IsDir() && (hidden || d.Name() == "node_modules" || d.Name() == "artifacts") {
			return fs.SkipDir
		}
		if path.Ext(name) == ".md" {
			raw, err := os.ReadFile(filepath.Join(root, name))
			if err != nil {
				return err
			}
			all = append(all, parse(name, string(raw)))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 5 {
		t.Fatalf("only %d pages: the test looks in the wrong place", len(all))
	}
	return all
}

// parse parts prose from code. Lines of code are left empty in the prose.
func parse(name, text string) page {
	p := page{name: name}
	var prose []string
	var open *block
	number := 0
	for line := range strings.SplitSeq(text, "\n") {
		number++
		language, fence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case fence && open == nil:
			open, line = &block{language: language, line: number + 1}, ""
		case fence:
			p.blocks = append(p.blocks, *open)
			open, line = nil, ""
		case open != nil:
			open.text += line + "\n"
			line = ""
		}
		prose = append(prose, line)
	}
	p.prose = strings.Join(prose, "\n")
	return p
}

var (
	inlineCode = regexp.MustCompile("`[^`\n]+`")
	link       = regexp.MustCompile(`\]\(([^)\s]+)\)|(?:src|href)="([^"]+)"`)
	heading    = regexp.MustCompile(`(?m)^#{1,6}\s+(.+?)\s*#*$`)
)

func TestLinks(t *testing.T) {
	all := map[string]page{}
	for _, p := range pages(t) {
		all[p.name] = p
	}
	links := 0
	for _, p := range all {
		for _, m := range link.FindAllStringSubmatch(inlineCode.ReplaceAllString(p.prose, ""), -1) {
			to := m[1] + m[2]
			if strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") {
				continue
			}
			links++
			if why := broken(all, p, to); why != "" {
				t.Errorf("%s: link to %s: %s", p.name, to, why)
			}
		}
	}
	if links < 20 {
		t.Errorf("only %d links found: the test reads them wrongly", links)
	}
}

// broken says what is wrong with a relative link of the page, "" if nothing is.
func broken(all map[string]page, from page, to string) string {
	file, anchor, _ := strings.Cut(to, "#")
	target := from.name
	if file != "" {
		target = path.Join(path.Dir(from.name), file)
		if _, err := os.Stat(filepath.Join(root, target)); err != nil {
			return "no such file"
		}
	}
	if anchor == "" {
		return ""
	}
	p, ok := all[target]
	if !ok {
		return "an anchor in what is no page"
	}
	if !slices.Contains(p.anchors(), anchor) {
		return "no such heading"
	}
	return ""
}

// anchors are the fragments of the headings, as GitHub makes them.
func (p page) anchors() (list []string) {
	seen := map[string]int{}
	for _, m := range heading.FindAllStringSubmatch(p.prose, -1) {
		a := anchor(m[1])
		if n := seen[a]; n > 0 {
			list = append(list, a+"-"+string(rune('0'+n)))
		} else {
			list = append(list, a)
		}
		seen[a]++
	}
	return list
}

func anchor(title string) string {
	var b strings.Builder
	for _, c := range strings.ToLower(link.ReplaceAllString(title, "]")) {
		switch {
		case c == ' ':
			b.WriteByte('-')
		case c == '-', c == '_', '0' <= c && c <= '9', 'a' <= c && c <= 'z', c > 0x7f:
			b.WriteRune(c)
		}
	}
	return b.String()
}

func TestAnchor(t *testing.T) {
	for title, want := range map[string]string{
		"The walls":                       "the-walls",
		"`[server]`":                      "server",
		"Outcomes: the one word (closed)": "outcomes-the-one-word-closed",
		"max_header_bytes, twice":         "max_header_bytes-twice",
	} {
		if got := anchor(title); got != want {
			t.Errorf("%s: got %s, want %s", title, got, want)
		}
	}
}

// binary is the built pace.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "pace-docs")
		if err != nil {
			log.Fatal(err)
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "pace")
		if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "pace/cmd/pace").CombinedOutput(); err != nil {
			log.Printf("go build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// help is what a subcommand says of itself; "" is pace itself.
func help(t *testing.T, subcommand string) string {
	t.Helper()
	args := append(strings.Fields(subcommand), "--help")
	out, err := exec.CommandContext(t.Context(), binary, args...).Output()
	if err != nil {
		t.Fatalf("pace %s --help: %v", subcommand, err)
	}
	return string(out)
}

var (
	inHelp  = regexp.MustCompile(`(?m)^  ([a-z]+)  +\S`)
	flags   = regexp.MustCompile(`--([a-z][a-z-]*)`)
	comment = regexp.MustCompile(`(?m)(^|\s)#.*$`)
	call    = regexp.MustCompile(`(?:^|[\s/` + "`" + `(])pace ([a-z]+)([^\n` + "`" + `#|;&]*)`)
)

// TestCommands holds each `pace SUBCOMMAND --flag` in code to what the binary knows.
func TestCommands(t *testing.T) {
	known := map[string][]string{} // flags by subcommand
	for _, m := range inHelp.FindAllStringSubmatch(help(t, ""), -1) {
		for _, f := range flags.FindAllStringSubmatch(help(t, m[1]), -1) {
			known[m[1]] = append(known[m[1]], f[1])
		}
	}
	if len(known) < 6 {
		t.Fatalf("pace --help names only %v", slices.Sorted(maps.Keys(known)))
	}
	calls := 0
	for _, p := range pages(t) {
		for _, m := range call.FindAllStringSubmatch(p.code(), -1) {
			calls++
			list, ok := known[m[1]]
			if !ok {
				t.Errorf("%s: %q: no such subcommand", p.name, strings.TrimSpace(m[0]))
			}
			for _, f := range flags.FindAllStringSubmatch(m[2], -1) {
				if ok && !slices.Contains(list, f[1]) {
					t.Errorf("%s: %q: no flag --%s", p.name, strings.TrimSpace(m[0]), f[1])
				}
			}
		}
	}
	if calls < 10 {
		t.Errorf("only %d commands found: the test reads them wrongly", calls)
	}
}

// code is what stands in code, inline or fenced, but for the output of programs.
func (p page) code() string {
	lines := inlineCode.FindAllString(p.prose, -1)
	for _, b := range p.blocks {
		if b.language == "sh" {
			commands := heredoc.ReplaceAllString(b.text, "<<'END'")
			lines = append(lines, strings.Split(comment.ReplaceAllString(commands, ""), "\n")...)
		}
	}
	return strings.Join(lines, "\n")
}

// heredoc is what a shell feeds to a command: the file's name and its text are the groups.
var heredoc = regexp.MustCompile(`(?:>(\S+) )?<<'END'\n((?s:.*?)\n)END\n`)

// configurations are the blocks of TOML of a page, and the files of TOML that its commands write.
func (p page) configurations() (all []block) {
	for _, b := range p.blocks {
		if b.language == "toml" {
			all = append(all, b)
		}
		for _, m := range heredoc.FindAllStringSubmatch(b.text, -1) {
			if b.language == "sh" && strings.HasSuffix(m[1], ".toml") {
				all = append(all, block{"toml", m[2], b.line})
			}
		}
	}
	return all
}

// TestKeys holds each table.key in code to the configuration, if table is one of its tables.
func TestKeys(t *testing.T) {
	keys := slices.Collect(config.Keys())
	tables := map[string]bool{}
	for _, k := range keys {
		table, _, _ := strings.Cut(k.Name, ".")
		tables[table] = true
	}
	// The same words begin attributes of OpenTelemetry and Prometheus' labels.
	others := regexp.MustCompile("`server\\.(address|port)`|`log\\.txt`")
	dotted := regexp.MustCompile("`([a-z_]+)\\.([a-z_]+)(?:\\[[0-9]*\\])?(?: = [^`]*)?`")
	mentioned := map[string]bool{}
	for _, p := range pages(t) {
		for _, m := range dotted.FindAllStringSubmatch(others.ReplaceAllString(p.prose, ""), -1) {
			name := m[1] + "." + m[2]
			if !tables[m[1]] || strings.HasSuffix(name, ".go") {
				continue
			}
			mentioned[name] = true
			if !slices.ContainsFunc(keys, func(k config.Key) bool { return k.Name == name }) {
				t.Errorf("%s: `%s`: no such key", p.name, name)
			}
		}
	}
	if len(mentioned) < 10 {
		t.Errorf("only %v found: the test reads keys wrongly", slices.Sorted(maps.Keys(mentioned)))
	}
}

// elsewhere is a fault of a file or a variable that exists where the page is followed, and not here.
var elsewhere = regexp.MustCompile(`(?m)^.*: certificate\[\d+\]\.(cert|key): /etc/\S+ cannot be read: no such file or directory;.*$|^.*: (/run/secrets/\S+ cannot be read: no such file or directory|the variable "\w+" is not set);.*$`)

// TestConfigurations checks every block of TOML; those without backends are completed.
func TestConfigurations(t *testing.T) {
	blocks := 0
	for _, p := range pages(t) {
		for _, b := range p.configurations() {
			blocks++
			text := b.text
			if !strings.Contains(text, "[upstreams]") {
				text += "\n[upstreams]\nbackends = [\"http://127.0.0.1:8000\"]\n"
			}
			file := filepath.Join(t.TempDir(), "proxy.toml")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.CommandContext(t.Context(), binary, "check", file).CombinedOutput()
			if err != nil && strings.Trim(elsewhere.ReplaceAllString(string(out), ""), "\n") != "" {
				t.Errorf("%s, block in line %d: pace check: %v\n%s", p.name, b.line, err, out)
			}
		}
	}
	if blocks < 3 {
		t.Errorf("only %d blocks of TOML found: the test reads them wrongly", blocks)
	}
}
