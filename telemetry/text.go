package telemetry

import (
	"log/slog"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Longest is how many bytes of a string from the wire are published.
const Longest = 2048

// text is s as signals publish it; absent if it is empty.
func text(s string) slog.Value {
	if s == "" {
		return slog.Value{}
	}
	return slog.StringValue(Printable(s))
}

// Printable returns s in a form that is safe in every signal: bounded, valid UTF-8 (an exporter rejects a whole
// batch for one invalid byte), and printable (a terminal would obey control characters, and a line separator or
// a change of direction would mislead a reader).
func Printable(s string) string {
	if len(s) > Longest {
		s = s[:Longest]
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f {
			return clean(s)
		}
	}
	return s
}

func clean(s string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return utf8.RuneError
		}
		return c
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// AppendQuoted appends s as a JSON string. s comes from [Printable], so only quotes and backslashes need an
// escape.
func AppendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b = append(append(b, s[from:i]...), '\\')
			from = i
		}
	}
	return append(append(b, s[from:]...), '"')
}

// Milliseconds returns d as all pages and lines show it, to the microsecond.
func Milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
