// Package docs follows README.md, docs/what_happened.md and docs/deployment/README.md word by word, as a new user does: each
// block of commands is run as it is written, on the ports that it names, in the order of the page.
//
// It uses no port of the machine: each page runs in its own network, process and mount namespaces (see
// machine), which needs root. Two things are replaced: the repository is cloned from this checkout, and
// systemctl is a script that runs what the unit says (testdata/systemctl).
package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"pace/e2e/pacetest"
)

// skipped are the lines that are not followed, with the reason.
var skipped = map[string]string{
	"go test ./...":        "the unit and plain stages of scripts/test.sh run it, and it takes minutes",
	"bash scripts/test.sh": "this test is a part of it, and it takes many minutes",
}

func TestReadme(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	follow(t, newMachine(t, repository(t)), "README.md")
}

func TestDeployment(t *testing.T) { followInRepository(t, "docs/deployment/README.md") }

func TestFromOtherProxies(t *testing.T) { followInRepository(t, "docs/from_other_proxies.md") }

func TestWhatHappened(t *testing.T) { followInRepository(t, "docs/what_happened.md") }

// followInRepository follows a page whose commands are run in the repository.
func followInRepository(t *testing.T, page string) {
	t.Helper()
	t.Parallel()
	needPrograms(t)
	source := repository(t)
	m := newMachine(t, source)
	m.write("cwd", source)
	follow(t, m, page)
}

// follow runs each block of the page on the machine.
func follow(t *testing.T, m *machine, page string) {
	t.Helper()
	blocks := pageBlocks(t, page)
	followed := 0
	for _, b := range blocks {
		began := time.Now()
		_, shown := b.argument("shown")
		switch {
		case shown:
			m.wantShown(t, b)
		case b.language == "sh":
			m.follow(t, b)
		default:
			continue
		}
		followed++
		t.Logf("%s: %.1f s", b, time.Since(began).Seconds())
		if t.Failed() { // what follows builds on it
			out, _ := m.enter("sh", "-c", "tail -n 30 /run/*.out").CombinedOutput()
			t.Logf("the services said\n%s", out)
			return
		}
	}
	if followed < 8 {
		t.Errorf("only %d blocks of %s were followed: the test reads them wrongly", followed, page)
	}
	for _, s := range m.servers {
		if said := s.said(); strings.Contains(said, "is taken") && !strings.Contains(s.block.text, "--listen") {
			t.Errorf("%s does not use the ports of the page:\n%s", s.block, said)
		}
	}
}

func (m *machine) follow(t *testing.T, b *block) {
	t.Helper()
	if ports, is := b.argument("server"); is {
		m.serve(b, strings.Fields(ports))
		return
	}
	text := withoutSkipped(b.text)
	if strings.TrimSpace(text) == "" {
		return
	}
	output, code := m.run(b, text)
	want := 0
	if fails, is := b.argument("fails"); is {
		want, _ = strconv.Atoi(fails)
	}
	if code != want {
		t.Errorf("%s: exit code %d, want %d:\n%s\nprinted\n%s", b, code, want, b.text, output)
	}
	if prints, is := b.argument("prints"); is && !regexp.MustCompile(prints).MatchString(output) {
		t.Errorf("%s printed\n%s\nwant %s", b, output, prints)
	}
}

func withoutSkipped(text string) string {
	var kept strings.Builder
	for line := range strings.Lines(text) {
		if skipped[strings.TrimSpace(line)] == "" {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// wantShown holds a block that shows a command and its output to what the command prints here.
func (m *machine) wantShown(t *testing.T, b *block) {
	t.Helper()
	command, want, _ := strings.Cut(strings.TrimPrefix(b.text, "$ "), "\n")
	output, code := m.run(b, command+"\n")
	if code != 0 || normal(output) != normal(want) {
		t.Errorf("%s shows\n%s\nbut %s prints, with exit code %d,\n%s", b, want, command, code, output)
	}
}

var changing = regexp.MustCompile(`\b[0-9a-f]{32}\b|\b[0-9]{1,2}\b|(?m:^Date: .*$)`)

// normal is output without what differs from run to run: ids, seconds, the date.
func normal(output string) string {
	return strings.TrimSpace(changing.ReplaceAllString(strings.ReplaceAll(output, "\r\n", "\n"), "…"))
}

// TestSkipped fails for an entry of skipped that no page needs any more.
func TestSkipped(t *testing.T) {
	var all strings.Builder
	for _, page := range []string{"README.md", "docs/deployment/README.md", "docs/what_happened.md"} {
		for _, b := range pageBlocks(t, page) {
			all.WriteString(b.text)
		}
	}
	for line := range skipped {
		if !strings.Contains(all.String(), line+"\n") {
			t.Errorf("%q is skipped and stands on no page", line)
		}
	}
}

func TestReadPage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page.md")
	for _, tt := range []struct{ name, page, err string }{
		{"a directive belongs to the block below it", "<!-- follow: prints x -->\n```sh\ntrue\n```\n", ""},
		{"an unknown directive is refused", "<!-- follow: print x -->\n```sh\ntrue\n```\n", `page:1: no directive "print"`},
		{"a directive that no block follows is refused", "<!-- follow: shown -->\n\n```\n$ x\n```\n", "page:2: a directive stands directly above its block"},
		{"a directive within a line is refused", "text <!-- follow: shown -->\n", `page:1: a directive has a line of its own, and ends in " -->"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(tt.page), 0o600); err != nil {
				t.Fatal(err)
			}
			blocks, err := readPage("page", file)
			if (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
				t.Fatalf("got %v, want %q", err, tt.err)
			}
			if err == nil && (len(blocks) != 1 || blocks[0].text != "true\n" || blocks[0].directives[0] != directive{"prints", "x"}) {
				t.Errorf("got %+v", blocks)
			}
		})
	}
}

func pageBlocks(t *testing.T, page string) []*block {
	t.Helper()
	root, err := pacetest.Root()
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := readPage(page, filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	return blocks
}

// repository is a git repository with the files of this checkout, those not yet committed included.
func repository(t *testing.T) (dir string) {
	t.Helper()
	root, err := pacetest.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), "pace.git")
	const script = `set -e -o pipefail
mkdir "$1"
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' f; do [[ ! -e $f ]] || printf '%s\0' "$f"; done | xargs -0 cp --parents --target-directory="$1"
cd "$1"
git init --quiet
git add --all
git -c user.name=test -c user.email=test@example.org commit --quiet --message=test`
	cmd := exec.Command("bash", "-c", script, "bash", dir)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("a repository of this checkout: %v\n%s", err, out)
	}
	return dir
}
