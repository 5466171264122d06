package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

// hostile are strings that would like to be more than a value.
var hostile = []string{
	"/plain", "", "a\nb", "\r\n{\"msg\":\"request\"}", `quote " and \ back`, "<script>&amp;", "\x00\x1b[31m\x7f", "é ü 漢 😀",
	"\xff\xfe broken", "\u2028line\u2029separators", "\u202eright to left", "\u009bCSI", "tab\there", " outcome=ok status=200 ",
	strings.Repeat("x", longest+1), strings.Repeat("漢", longest), strings.Repeat("\xc3", 3*longest),
}

// withStrings gives each field of the record that comes from the wire a hostile string.
func (r *Record) withStrings(a, b string) *Record {
	r.Start, r.end = time.Unix(1700000000, 1), time.Unix(1700000001, 123456789)
	r.Method, r.Path, r.Client, r.RequestID, r.Route, r.Upstream = a, b, a+b, b+a, b, a
	r.Attempts = []Attempt{{Backend: a, Error: b + a}}
	if a != b {
		r.Failovers = []Failover{{From: b, Reason: ConnectFailed}, {From: a, Reason: UpstreamReset}}
	}
	r.Scheme, r.Host, r.Query, r.UserAgent, r.Peer, r.Protocol = "http", a, b, a+b, b, a
	return r
}

// FuzzAccessLine holds the line to what slog's own handler writes, to the letter; and to being one
// line of JSON out of which every field comes as it went in.
func FuzzAccessLine(f *testing.F) {
	for _, s := range hostile {
		f.Add(s, "/p", int64(0), uint8(OK))
		f.Add("GET", s, int64(-1), uint8(ClientGone))
		f.Add(s, s, int64(1<<62), uint8(UpstreamTruncated))
	}
	f.Fuzz(func(t *testing.T, one, two string, n int64, o uint8) {
		r := (&Record{traceID: "0123", BytesIn: n, BytesOut: n / 3, Status: int(n % 1000), Outcome: Outcome(o % uint8(outcomeCount))}).withStrings(one, two)
		for i := range r.clock.spent {
			r.clock.spent[i] = time.Duration(n>>i) & (1<<60 - 1)
		}
		level := outcomes[r.Outcome].Level
		got := appendAccessLine(nil, r, level)
		want := theirLine(r, level)
		if !bytes.Equal(got, want) {
			t.Fatalf("got\n%s slog writes\n%s", got, want)
		}
		if i := bytes.IndexFunc(got, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\u2028' || c == '\u2029' }); i != len(got)-1 {
			t.Fatalf("something that ends or controls a line at %d: %q", i, got)
		}
		var fields map[string]any
		if err := json.Unmarshal(got, &fields); err != nil {
			t.Fatalf("%v: %s", err, got)
		}
		for name, s := range map[string]string{"method": r.Method, "path": r.Path, "client": r.Client, "request_id": r.RequestID, "backend": one, "error": two + one} {
			if v := text(s); absent(v) != (fields[name] == nil) || !absent(v) && fields[name] != v.String() {
				t.Fatalf("%s: %q came back as %q", name, s, fields[name])
			}
		}
	})
}

// theirLine is the same line by slog's JSONHandler.
func theirLine(r *Record, level slog.Level) []byte {
	var b bytes.Buffer
	line := slog.NewRecord(r.end, level, "request", 0)
	for name, v := range r.fields {
		line.AddAttrs(slog.Attr{Key: name, Value: v})
	}
	slog.NewJSONHandler(&b, nil).Handle(context.Background(), line)
	return b.Bytes()
}

// In the text format, too, a request is one line, and no value can pass for another field.
func TestAccessLine_TextCannotBeForged(t *testing.T) {
	page := hostilePage(t, false)
	for line := range strings.Lines(page) {
		if n := strings.Count(unquoted(line), "outcome="); n != 1 {
			t.Errorf("%d outcomes in %q", n, line)
		}
	}
}

// continued matches a terminal's row that continues the one above.
var continued = regexp.MustCompile(`^\S+ (INF|WRN|ERR)   \S`)

// hostilePage is what the log holds after requests that are full of hostile strings.
func hostilePage(t *testing.T, terminal bool) string {
	t.Helper()
	b := newBench(t, func(_ *Options, l *LogOptions) { l.Format = "text" })
	b.log.terminal = terminal
	for _, s := range hostile {
		b.request(nil, func(_ context.Context, r *Record) {
			r.Outcome, r.Status = ClientError, 404
			r.Path, r.RequestID, r.Method = s, s, s
			r.End()
		})
	}
	b.close()
	raw, err := os.ReadFile(b.file)
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	lines := 0
	for line := range strings.Lines(page) {
		if !continued.MatchString(line) {
			lines++
		}
	}
	if lines != len(hostile) {
		t.Errorf("%d lines for %d requests:\n%s", lines, len(hostile), page)
	}
	if i := strings.IndexFunc(page, func(c rune) bool { return c != '\n' && !unicode.IsPrint(c) }); i >= 0 {
		t.Errorf("a character that no terminal should get: %q", page[i:i+10])
	}
	return page
}

// unquoted cuts the quoted values out of a line of text.
func unquoted(line string) string {
	var b strings.Builder
	quoted := false
	for i := 0; i < len(line); i++ {
		switch {
		case quoted && line[i] == '\\':
			i++
		case line[i] == '"':
			quoted = !quoted
		case !quoted:
			b.WriteByte(line[i])
		}
	}
	return b.String()
}

// FuzzText holds what is published of a string from the wire to be bounded, printable and UTF-8.
func FuzzText(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v := text(s)
		if (s == "") != absent(v) {
			t.Fatalf("%q: absent is %v", s, absent(v))
		}
		if s == "" {
			return
		}
		got := v.String()
		switch {
		case !utf8.ValidString(got):
			t.Fatalf("not UTF-8: %q of %q", got, s)
		case len(got) > 3*longest: // a bad byte becomes U+FFFD
			t.Fatalf("%d bytes of %d", len(got), len(s))
		case strings.ContainsFunc(got, func(c rune) bool { return !unicode.IsPrint(c) }):
			t.Fatalf("not printable: %q of %q", got, s)
		case len(s) <= longest && utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) }) && got != s:
			t.Fatalf("changed for nothing: %q of %q", got, s)
		}
	})
}

// BenchmarkAccessLine stands beside slog's own handler.
func BenchmarkAccessLine(b *testing.B) {
	r := (&Record{traceID: "0af7651916cd43dd8448eb211c80319c", Status: 200, Outcome: OK}).withStrings("GET", "/api/v1/things?no")
	var buf []byte
	b.Run("impl=pace", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf = appendAccessLine(buf[:0], r, slog.LevelInfo)
		}
	})
	b.Run("impl=slog", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			theirLine(r, slog.LevelInfo)
		}
	})
}
