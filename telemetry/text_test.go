package telemetry

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// hostile are strings that would like to be more than a value.
var hostile = []string{
	"/plain", "", "a\nb", "\r\n{\"msg\":\"request\"}", `quote " and \ back`, "<script>&amp;", "\x00\x1b[31m\x7f", "é ü 漢 😀",
	"\xff\xfe broken", "\u2028line\u2029separators", "\u202eright to left", "\u009bCSI", "tab\there", " outcome=ok status=200 ",
	strings.Repeat("x", Longest+1), strings.Repeat("漢", Longest), strings.Repeat("\xc3", 3*Longest),
}

// FuzzText holds what is published of a string from the wire to be bounded, printable and UTF-8.
func FuzzText(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v := text(s)
		if (s == "") != Absent(v) {
			t.Fatalf("%q: absent is %v", s, Absent(v))
		}
		if s == "" {
			return
		}
		got := v.String()
		switch {
		case !utf8.ValidString(got):
			t.Fatalf("not UTF-8: %q of %q", got, s)
		case len(got) > 3*Longest: // a bad byte becomes U+FFFD
			t.Fatalf("%d bytes of %d", len(got), len(s))
		case strings.ContainsFunc(got, func(c rune) bool { return !unicode.IsPrint(c) }):
			t.Fatalf("not printable: %q of %q", got, s)
		case len(s) <= Longest && utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) }) && got != s:
			t.Fatalf("changed for nothing: %q of %q", got, s)
		}
	})
}
