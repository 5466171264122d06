package accesslog

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"go.opentelemetry.io/otel/trace"

	"pace/telemetry"
)

// hostile are strings that would like to be more than a value.
var hostile = []string{
	"/plain", "", "a\nb", "\r\n{\"msg\":\"request\"}", `quote " and \ back`, "<script>&amp;", "\x00\x1b[31m\x7f", "é ü 漢 😀",
	"\xff\xfe broken", "\u2028line\u2029separators", "\u202eright to left", "\u009bCSI", "tab\there", " outcome=ok status=200 ",
	strings.Repeat("x", telemetry.Longest+1), strings.Repeat("漢", telemetry.Longest), strings.Repeat("\xc3", 3*telemetry.Longest),
}

// withStrings gives each field of the record that comes from the wire a hostile string.
func withStrings(r *telemetry.Record, a, b string) *telemetry.Record {
	r.Start, r.End = time.Unix(1700000000, 1), time.Unix(1700000001, 123456789)
	r.Method, r.Path, r.Client, r.RequestID, r.Route, r.Upstream = a, b, a+b, b+a, &telemetry.Route{Path: b, Name: a}, a
	r.Attempts = []telemetry.Attempt{{Backend: a, Error: b + a}}
	if a != b {
		r.Failovers = []telemetry.Failover{{From: b, Reason: "connect_failed"}, {From: a, Reason: "upstream_reset"}}
	}
	r.Scheme, r.Host, r.Query, r.UserAgent, r.Peer, r.Protocol = "http", a, b, a+b, b, a
	return r
}

// FuzzAccessLine holds the line to what slog's own handler writes, to the letter; and to being one
// line of JSON out of which every field comes as it went in.
func FuzzAccessLine(f *testing.F) {
	for _, s := range hostile {
		f.Add(s, "/p", int64(0), uint8(telemetry.OK))
		f.Add("GET", s, int64(-1), uint8(telemetry.ClientGone))
		f.Add(s, s, int64(1<<62), uint8(telemetry.UpstreamTruncated))
	}
	f.Fuzz(func(t *testing.T, one, two string, n int64, o uint8) {
		r := withStrings(&telemetry.Record{Trace: "0123", BytesIn: n, BytesOut: n / 3, Status: int(n % 1000), Outcome: telemetry.Outcome(o % uint8(telemetry.OutcomeCount))}, one, two)
		for i := range r.Phases {
			r.Phases[i] = time.Duration(n>>i) & (1<<60 - 1)
		}
		level := r.Outcome.Info().Level
		got := appendLine(nil, r, level)
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
			if (s == "") != (fields[name] == nil) || s != "" && fields[name] != telemetry.Printable(s) {
				t.Fatalf("%s: %q came back as %q", name, s, fields[name])
			}
		}
	})
}

// theirLine is the same line by slog's JSONHandler.
func theirLine(r *telemetry.Record, level slog.Level) []byte {
	var b bytes.Buffer
	line := slog.NewRecord(r.End, level, "request", 0)
	for name, v := range fields(r) {
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

// untraced exports nothing.
type untraced struct{ telemetry.Tracing }

func (untraced) Exports(*telemetry.Record) telemetry.Export { return telemetry.Dropped }

// hostilePage is what the log holds after requests that are full of hostile strings.
func hostilePage(t *testing.T, terminal bool) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "log")
	log, err := Open(Options{Format: "text", File: file})
	if err != nil {
		t.Fatal(err)
	}
	log.form.Load().terminal = terminal
	b := telemetry.New(telemetry.Options{Tracing: untraced{}, Signals: []telemetry.Signal{log}})
	for _, s := range hostile {
		r := b.Begin(trace.ContextWithSpan(context.Background(), &telemetry.Identity{}), "GET", "http")
		r.Outcome, r.Status = telemetry.ClientError, 404
		r.Path, r.RequestID, r.Method = s, s, s
		b.End(r)
	}
	log.Close()
	raw, err := os.ReadFile(file)
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

// BenchmarkAccessLine stands beside slog's own handler.
func BenchmarkAccessLine(b *testing.B) {
	r := withStrings(&telemetry.Record{Trace: "0af7651916cd43dd8448eb211c80319c", Status: 200, Outcome: telemetry.OK}, "GET", "/api/v1/things?no")
	var buf []byte
	b.Run("impl=pace", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf = appendLine(buf[:0], r, slog.LevelInfo)
		}
	})
	b.Run("impl=slog", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			theirLine(r, slog.LevelInfo)
		}
	})
}
