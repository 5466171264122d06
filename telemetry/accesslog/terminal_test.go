package accesslog

import (
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pace/telemetry"
)

const aTrace = "25493c3b0843a09dff446c1cdb31f160"

func TestTerminalLine(t *testing.T) {
	end := time.Date(2026, 11, 25, 15, 47, 20, 0, time.UTC)
	tests := []struct {
		name    string
		record  *telemetry.Record
		columns int
		want    string
	}{
		{"a failure of the README fits one row to the last column",
			&telemetry.Record{Outcome: telemetry.UpstreamError, Status: 503, Method: "GET", Path: "/status/503", Attempts: []telemetry.Attempt{{Backend: "127.0.0.1:8001"}}, Start: end},
			100, "15:47:20 ERR 503 upstream_error GET /status/503 <1ms 127.0.0.1:8001 " + aTrace + "\n"},
		{"a failover shows its attempts",
			&telemetry.Record{Outcome: telemetry.OK, Status: 200, Method: "GET", Path: "/reset", Attempts: []telemetry.Attempt{{}, {Backend: "127.0.0.1:8001"}}, Start: end.Add(-41 * time.Millisecond)},
			100, "15:47:20 INF 200 ok GET /reset 41ms 127.0.0.1:8001 attempts=2 " + aTrace + "\n"},
		{"what does not fit goes to a second row, broken between two words",
			&telemetry.Record{Outcome: telemetry.UpstreamTruncated, Status: 200, Method: "DELETE", Path: "/a/path/of/forty/characters/exactly/0123", Attempts: []telemetry.Attempt{{Backend: "10.100.100.100:18001"}}, Start: end},
			100, "15:47:20 ERR 200 upstream_truncated DELETE /a/path/of/forty/characters/exactly/0123 <1ms\n" +
				"15:47:20 ERR   10.100.100.100:18001 " + aTrace + "\n"},
		{"a narrow terminal has more rows",
			&telemetry.Record{Outcome: telemetry.OK, Status: 200, Method: "GET", Path: "/reset", Attempts: []telemetry.Attempt{{}, {Backend: "127.0.0.1:8001"}}, Start: end},
			60, "15:47:20 INF 200 ok GET /reset <1ms 127.0.0.1:8001\n15:47:20 INF   attempts=2 " + aTrace + "\n"},
		{"however narrow, a row has room for a trace id",
			&telemetry.Record{Outcome: telemetry.OK, Status: 200, Method: "GET", Path: "/", Attempts: []telemetry.Attempt{{Backend: "127.0.0.1:8001"}}, Start: end},
			20, "15:47:20 INF 200 ok GET / <1ms 127.0.0.1:8001\n15:47:20 INF   " + aTrace + "\n"},
		{"a terminal of unknown width has rows of 100 columns",
			&telemetry.Record{Outcome: telemetry.OK, Status: 200, Method: "GET", Path: "/", Attempts: []telemetry.Attempt{{Backend: "127.0.0.1:8001"}}, Start: end},
			0, "15:47:20 INF 200 ok GET / <1ms 127.0.0.1:8001 " + aTrace + "\n"},
		{"a failure says why, in the system's words",
			&telemetry.Record{Outcome: telemetry.ConnectFailed, Status: 502, Method: "GET", Path: "/", Start: end,
				Attempts: []telemetry.Attempt{{Backend: "127.0.0.1:8001", Error: "dial tcp 127.0.0.1:8001: connection refused"}}},
			100, "15:47:20 ERR 502 connect_failed GET / <1ms 127.0.0.1:8001 error=\"dial tcp 127.0.0.1:8001: connection\n" +
				"15:47:20 ERR   refused\" " + aTrace + "\n"},
		{"a long path keeps its two ends",
			&telemetry.Record{Outcome: telemetry.OK, Status: 200, Method: "GET", Path: "/" + strings.Repeat("x", 300) + "/last", Start: end},
			100, "15:47:20 INF 200 ok GET /" + strings.Repeat("x", 25) + "…xxxxxxxx/last <1ms\n15:47:20 INF   " + aTrace + "\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.record.End, tt.record.Trace = end, aTrace
			level := tt.record.Outcome.Info().Level
			got := string(terminalLine(tt.record, level, tt.columns, false))
			if got != tt.want {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
			coloured := string(terminalLine(tt.record, level, tt.columns, true))
			if plain := regexp.MustCompile("\x1b\\[[0-9]+m").ReplaceAllString(coloured, ""); plain != got || coloured == got {
				t.Errorf("with colours: %q", coloured)
			}
		})
	}
}

func TestTerminalLine_AClientCannotForgeOrWidenIt(t *testing.T) {
	for line := range strings.Lines(hostilePage(t, true)) {
		if n := utf8.RuneCountInString(line) - 1; n > maxColumns {
			t.Errorf("%d columns: %q", n, line)
		}
		if !regexp.MustCompile(`^\d\d:\d\d:\d\d INF (404 client_error |  \S)`).MatchString(line) {
			t.Errorf("a row that pace did not begin: %q", line)
		}
		if words := strings.Fields(line); len(words) > 8 {
			t.Errorf("a client wrote words of its own: %q", line)
		}
	}
}

func TestTerminalLine_EveryLevelHasItsWord(t *testing.T) {
	for o := range telemetry.OutcomeCount {
		if _, ok := levelWords[o.Info().Level]; !ok {
			t.Errorf("%s: no word for level %s", o, o.Info().Level)
		}
	}
}

func TestBroken(t *testing.T) {
	const begin = "\x1b[2m15:47:20\x1b[0m \x1b[93mWRN\x1b[0m"
	long := begin + ` attempt failed error="` + strings.Repeat("0123456 ", 20) + "end\"\n"
	tests := []struct {
		name, line string
		columns    int
		rows       int
	}{
		{"a line that fits is left alone", begin + " " + strings.Repeat("x", 87) + "\n", 100, 1},
		{"a longer line is broken at spaces", long, 100, 3},
		{"a narrow terminal has more rows", long, 60, 5},
		{"what has no space is not broken", strings.Repeat("x", 300) + "\n", 100, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := string(broken([]byte(tt.line), tt.columns))
			if n := strings.Count(got, "\n"); n != tt.rows || !strings.HasSuffix(got, "\n") {
				t.Errorf("%d rows, want %d:\n%s", n, tt.rows, got)
			}
			for row := range strings.Lines(got) {
				if n := visible([]byte(row)); n > tt.columns && tt.rows > 1 {
					t.Errorf("%d columns, want at most %d: %q", n, tt.columns, row)
				}
			}
			if joined := strings.ReplaceAll(got, "\n"+begin+"   ", " "); joined != tt.line {
				t.Errorf("without the breaks it reads\n%q, want\n%q", joined, tt.line)
			}
		})
	}
}
