package toml

import (
	"encoding/json"
	"regexp"
	"strings"
)

// language names the language that a document, which is not TOML, is written in: "JSON" or "YAML",
// and the line on which it begins; "" when it is most likely broken TOML.
func language(text string) (name string, line int) {
	line = 1
	rest := text
	for rest != "" {
		first, after, _ := strings.Cut(rest, "\n")
		if s := strings.TrimSpace(first); s != "" && s[0] != '#' {
			break
		}
		rest, line = after, line+1
	}
	start := strings.TrimSpace(rest)
	switch {
	case start == "":
		return "", 0
	case json.Valid([]byte(start)), jsonStart.MatchString(start):
		return "JSON", line
	case start[0] == '{', isYAML(start):
		return "YAML", line
	}
	return "", 0
}

var (
	// A brace and a quoted name, perhaps after comments, which some dialects allow.
	jsonStart = regexp.MustCompile(`^(?:(?://[^\n]*|(?s:/\*.*?\*/))\s*)*[{[]\s*(?:(?://[^\n]*|(?s:/\*.*?\*/))\s*)*(?:"(?:[^"\\\n]|\\.)*"\s*:|\{|\}\s*$)`)

	yamlLine = regexp.MustCompile(`^\s*(?:---(?:\s|$)|%YAML|- |-$|(?:- +)?(?:[A-Za-z_][\w.-]*|"[^"]*"|'[^']*')[ \t]*:(?:\s|$))`)
	tomlLine = regexp.MustCompile(`^\s*(?:\[|(?:[\w.-]+|"[^"]*"|'[^']*')[ \t]*=)`)
)

// isYAML reports whether more lines look like YAML than like TOML, the first one among them. One line
// of YAML in a file of TOML is a slip, which is reported on its own line.
func isYAML(text string) bool {
	yaml, toml, first := 0, 0, true
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		switch s := strings.TrimSpace(line); {
		case s == "" || s[0] == '#':
			continue
		case yamlLine.MatchString(line):
			yaml++
		case first:
			return false
		case tomlLine.MatchString(line):
			toml++
		}
		first = false
	}
	return yaml > toml
}
