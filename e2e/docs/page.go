package docs

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

// block is one fenced block of a page.
type block struct {
	page       string
	line       int    // of its first line, from 1
	language   string // "sh", "toml", …, "" for output
	text       string
	directives []directive
}

// directive says what a reader knows without reading it: that a command does not return, that a
// failure is meant, what is to be seen. It is a comment above the block, which a browser does not show:
//
//	<!-- follow: server PORT... -->   keeps running; a process that uses one of the ports is stopped first
//	<!-- follow: prints REGEXP -->    the output matches
//	<!-- follow: fails CODE -->       the last command exits with this code
//	<!-- follow: shown -->            the block shows a command, after "$ ", and its output
type directive struct{ verb, argument string }

func (b *block) String() string { return fmt.Sprintf("%s:%d", b.page, b.line) }

// argument is that of the directive with this verb.
func (b *block) argument(verb string) (argument string, found bool) {
	for _, d := range b.directives {
		if d.verb == verb {
			return d.argument, true
		}
	}
	return "", false
}

var (
	comment = regexp.MustCompile(`^<!-- follow: (\w+) ?(.*) -->$`)
	verbs   = map[string]bool{"server": true, "prints": true, "fails": true, "shown": true}
)

// readPage returns the blocks of a page.
func readPage(name, file string) (blocks []*block, err error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var open *block
	var above []directive
	number := 0
	for line := range strings.Lines(string(raw)) {
		number++
		bare := strings.TrimSpace(line)
		language, fence := strings.CutPrefix(bare, "```")
		d := comment.FindStringSubmatch(bare)
		switch {
		case fence && open == nil:
			open = &block{page: name, line: number + 1, language: language, directives: above}
			above = nil
		case fence:
			blocks = append(blocks, open)
			open = nil
		case open != nil:
			open.text += line
		case d != nil && !verbs[d[1]]:
			return nil, fmt.Errorf("%s:%d: no directive %q", name, number, d[1])
		case d != nil:
			above = append(above, directive{d[1], d[2]})
		case len(above) > 0:
			return nil, fmt.Errorf("%s:%d: a directive stands directly above its block", name, number)
		case strings.Contains(bare, "<!-- follow"):
			return nil, fmt.Errorf("%s:%d: a directive has a line of its own, and ends in \" -->\"", name, number)
		}
	}
	return blocks, nil
}
