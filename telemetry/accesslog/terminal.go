package accesslog

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"pace/telemetry"
)

// A row is at most maxColumns wide, because the terminal would break a longer one in the middle of a word. It
// is at least minColumns wide, however narrow the terminal is, because a trace id needs that many.
const (
	maxColumns = 100
	minColumns = 56
)

// maxWord is how many characters of a word from the wire a terminal shows. Longer paths are cut; files have
// them whole.
const maxWord = 40

// glance lists the fields that a terminal shows, in this order. Files have all fields. The first few
// need no name; the others read name=value.
var glance = []struct {
	field string
	named bool
}{
	{"status", false}, {"outcome", false}, {"method", false}, {"path", false},
	{"duration_ms", false}, {"backend", false}, {"attempts", true}, {"grpc_status", true}, {"error", true}, {"close_reason", true}, {"trace_id", false},
}

// sideColours are the ANSI colours of status and outcome, by the side of the outcome.
var sideColours = map[telemetry.Side]int{
	telemetry.NoSide: 92, telemetry.ClientSide: 93, telemetry.LimiterSide: 95, telemetry.PaceSide: 91, telemetry.BackendSide: 91,
}

// levelWords are the levels as tint writes them, with their ANSI colours.
var levelWords = map[slog.Level]word{
	slog.LevelInfo: {"INF", 92}, slog.LevelWarn: {"WRN", 93}, slog.LevelError: {"ERR", 91},
}

// word is text without a line break, and the ANSI colour to show it in (0: the terminal's own).
type word struct {
	text   string
	colour int
}

// terminalLine is the access line of r for a terminal of that many columns (0: not known). It is one row if it fits, and otherwise as many
// as it needs: a row is broken between two words, and each one begins with time and level.
func terminalLine(r *telemetry.Record, level slog.Level, columns int, colours bool) []byte {
	begin := []word{{r.End.Format("15:04:05"), 2}, levelWords[level]}
	l := layout{limit: rowLimit(columns), colours: colours, begin: begin}
	for _, w := range atAGlance(r) {
		l.add(w)
	}
	return append(l.b, '\n')
}

// atAGlance returns the words of the access line that a terminal shows.
func atAGlance(r *telemetry.Record) (words []word) {
	facts := telemetry.Facts()
	for _, g := range glance {
		f := &facts[slices.IndexFunc(facts, func(f telemetry.Fact) bool { return f.Field == g.field })]
		v := f.Value(r)
		if telemetry.Absent(v) || (g.field == "attempts" && len(r.Attempts) < 2) {
			continue
		}
		w := word{text: v.String()}
		switch g.field {
		case "status", "outcome":
			w.colour = sideColours[r.Outcome.Info().Side]
		case "duration_ms":
			w.text = roundedMilliseconds(v.Float64())
		case "method", "path", "backend":
			w.text = oneWord(w.text)
		}
		if !g.named {
			words = append(words, w)
			continue
		}
		if strings.ContainsAny(w.text, ` "=`) {
			w.text = strconv.Quote(w.text)
		}
		for part := range strings.SplitSeq(g.field+"="+w.text, " ") { // a row may be broken between them
			words = append(words, word{part, w.colour})
		}
	}
	return words
}

// roundedMilliseconds is a duration in whole milliseconds.
func roundedMilliseconds(ms float64) string {
	if ms < 1 {
		return "<1ms"
	}
	return fmt.Sprintf("%.0fms", ms)
}

// oneWord makes s one word, of at most maxWord characters: a space would let a client write words
// that look like ours. A path keeps its first and its last characters.
func oneWord(s string) string {
	s = spaces.Replace(s)
	all := []rune(s)
	if len(all) <= maxWord {
		return s
	}
	const head = maxWord * 2 / 3
	return string(all[:head]) + "…" + string(all[len(all)-(maxWord-head-1):])
}

var spaces = strings.NewReplacer(" ", "%20", "\u00a0", "%C2%A0")

// layout lays words out on the rows of a terminal.
type layout struct {
	b       []byte
	limit   int // columns in a row
	colours bool
	begin   []word // of each row
	used    int    // columns of the row so far
}

func (l *layout) add(w word) {
	width := utf8.RuneCountInString(w.text)
	switch {
	case l.used == 0:
		l.start()
	case l.used+1+width > l.limit:
		l.b = append(l.b, '\n')
		l.start()
		l.put(word{text: " "}) // an indented row continues the one above
	}
	l.put(w)
}

func (l *layout) start() {
	l.used = 0
	for _, w := range l.begin {
		l.put(w)
	}
}

func (l *layout) put(w word) {
	if l.used > 0 {
		l.b = append(l.b, ' ')
		l.used++
	}
	l.used += utf8.RuneCountInString(w.text)
	if w.colour == 0 || !l.colours {
		l.b = append(l.b, w.text...)
		return
	}
	l.b = fmt.Appendf(l.b, "\x1b[%dm%s\x1b[0m", w.colour, w.text)
}

// rowWriter breaks each line that goes to a terminal into rows, as [terminalLine] does. Each
// Write is one line, which begins with time and level.
type rowWriter struct {
	to      io.Writer
	columns func() int
}

// Write implements io.Writer.
func (w rowWriter) Write(line []byte) (int, error) {
	if _, err := w.to.Write(broken(line, w.columns())); err != nil {
		return 0, err
	}
	return len(line), nil
}

// broken is the line in rows that fit the terminal. It is broken at spaces only: what has none, such as
// a path, is left as it is.
func broken(line []byte, columns int) []byte {
	limit := rowLimit(columns)
	if visible(line) <= limit {
		return line
	}
	words := bytes.Split(bytes.TrimSuffix(line, []byte("\n")), []byte(" "))
	if len(words) < 3 {
		return line
	}
	begin := append(append(slices.Clone(words[0]), ' '), words[1]...) // time and level
	b, used := slices.Clone(begin), visible(begin)
	for _, word := range words[2:] {
		width := visible(word)
		if used+1+width > limit {
			b = append(append(append(b, '\n'), begin...), "  "...)
			used = visible(begin) + 2
		}
		b = append(append(b, ' '), word...)
		used += 1 + width
	}
	return append(b, '\n')
}

// visible counts the characters of a line that take a column: not those of ANSI sequences.
func visible(line []byte) int {
	return utf8.RuneCount(bytes.TrimSuffix(ansi.ReplaceAll(line, nil), []byte("\n")))
}

var ansi = regexp.MustCompile("\x1b\\[[0-9;]*m")

func rowLimit(columns int) int {
	return min(max(cmp.Or(columns, maxColumns), minColumns), maxColumns)
}
