package main

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The size of the terminal: characters in a row, and pixels. So few columns make text of 10 pixels where
// the whole picture is 360 pixels wide, as on a phone.
const (
	columns = 56
	cell    = 7.75
	leading = 18
	margin  = 8
)

// window is a terminal with what it shows, control sequences included.
type window struct {
	title, text string
}

// segment is a stretch of characters that look alike.
type segment struct {
	text string
	style
}

type style struct {
	colour int // 0: the terminal's own; 31 to 37 and 91 to 97 as in ECMA-48
	faint  bool
}

var colour = regexp.MustCompile("\x1b\\[([0-9;]*)m")

// rows breaks the text as a terminal does, at its width.
func rows(text string) (all [][]segment) {
	var now style
	for line := range strings.SplitSeq(strings.ReplaceAll(text, "\r", ""), "\n") {
		var row []segment
		width := 0
		put := func(s string) {
			for s != "" {
				if width == columns {
					all, row, width = append(all, row), nil, 0
				}
				n := min(columns-width, utf8.RuneCountInString(s))
				head := string([]rune(s)[:n])
				row, width, s = append(row, segment{head, now}), width+n, s[len(head):]
			}
		}
		at := 0
		for _, m := range colour.FindAllStringSubmatchIndex(line, -1) {
			put(line[at:m[0]])
			now.set(line[m[2]:m[3]])
			at = m[1]
		}
		put(line[at:])
		all = append(all, row)
	}
	return all
}

// set obeys a control sequence's parameters.
func (s *style) set(parameters string) {
	for p := range strings.SplitSeq(parameters, ";") {
		switch n, _ := strconv.Atoi(p); {
		case n == 0:
			*s = style{}
		case n == 2:
			s.faint = true
		case n == 22:
			s.faint = false
		default:
			s.colour = n
		}
	}
}

var palette = map[int]string{
	31: "#ff7b72", 32: "#7ee787", 33: "#e3b341", 34: "#79c0ff", 35: "#d2a8ff", 36: "#76e3ea", 37: "#c9d1d9",
	91: "#ffa198", 92: "#7ee787", 93: "#e3b341", 94: "#a5d6ff", 95: "#d2a8ff", 96: "#b3f0ff", 97: "#ffffff",
}

// draw puts the windows below each other.
func draw(windows ...*window) []byte {
	var b bytes.Buffer
	y, width := 0, int(columns*cell)+2*margin
	for _, w := range windows {
		y += w.draw(&b, y, width) + margin
	}
	return canvas(width, y-margin, b.Bytes())
}

func canvas(width, height int, inside []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="13">`+"\n", width, height, width, height)
	b.Write(inside)
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// draw returns the height that it took.
func (w *window) draw(b *bytes.Buffer, top, width int) int {
	const bar = 30
	all := rows(w.text)
	height := bar + len(all)*leading + margin
	fmt.Fprintf(b, `<rect y="%d" width="%d" height="%d" rx="8" fill="#0d1117"/>`+"\n", top, width, height)
	for i, c := range []string{"#ff5f57", "#febc2e", "#28c840"} {
		fmt.Fprintf(b, `<circle cx="%d" cy="%d" r="5" fill="%s"/>`, margin+8+i*18, top+bar/2+1, c)
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" fill="#8b949e" text-anchor="middle">%s</text>`+"\n", width/2, top+bar/2+5, escape(w.title))
	for i, row := range all {
		x := float64(margin)
		for _, s := range row {
			s.draw(b, x, top+bar+i*leading+leading-4)
			x += cell * float64(utf8.RuneCountInString(s.text))
		}
	}
	return height
}

func (s segment) draw(b *bytes.Buffer, x float64, y int) {
	if strings.TrimSpace(s.text) == "" {
		return
	}
	fill, ok := palette[s.colour]
	if !ok {
		fill = "#e6edf3"
	}
	if s.faint {
		fill = "#7d8590"
	}
	fmt.Fprintf(b, `<text x="%g" y="%d" fill="%s" textLength="%g" xml:space="preserve">%s</text>`+"\n",
		x, y, fill, cell*float64(utf8.RuneCountInString(s.text)), escape(s.text))
}

var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace
