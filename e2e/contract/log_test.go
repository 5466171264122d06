package contract

import (
	"bufio"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"pace/e2e/pacetest"
)

func TestAccessLine_HasItsFields(t *testing.T) {
	t.Parallel()
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		const wait = 20 * time.Millisecond
		b := pacetest.NewBackend(t, pacetest.Later(wait, pacetest.Status(201, "twelve bytes")))
		p, spans := pacetest.StartTraced(t, upstreams(b))
		began := time.Now()
		response := pacetest.Do(mode.Client(t), p.Request("POST", "/x/y?token=secret", "seven b"))
		took := time.Since(began)
		wantStatus(t, response, 201)
		line := p.WantAccess("/x/y")
		server := pacetest.WantTrace(spans, 1, pacetest.Path("/x/y")).Server
		for key, want := range map[string]any{
			"msg": "request", "method": "POST", "path": "/x/y", "status": 201.0, "bytes_in": 7.0, "bytes_out": 12.0, "client": "127.0.0.1",
			"route": "/", "route_name": "default", "upstream": "default", "backend": b.Address(), "attempts": 1.0, "outcome": "ok",
			"trace_id": response.Header.Get("X-Trace-Id"), "span_id": server.SpanID, "trace_sampled": true,
			"request_id": response.Header.Get("X-Request-Id"),
		} {
			if line[key] != want {
				t.Errorf("%s = %v, want %v", key, line[key], want)
			}
		}
		if !strings.EqualFold(line.Text("level"), "info") {
			t.Errorf("level = %q", line.Text("level"))
		}
		if at, err := time.Parse(time.RFC3339Nano, line.Text("time")); err != nil || at.Before(began.Add(-time.Second)) || at.After(time.Now().Add(time.Second)) {
			t.Errorf("time = %q (%v)", line.Text("time"), err)
		}
		if ms, ok := line["duration_ms"].(float64); !ok || ms < 20 || ms > float64(took.Microseconds())/1000+1 {
			t.Errorf("duration_ms = %v, want between the backend's %v and the client's %v", line["duration_ms"], wait, took)
		}
	})
}

func TestAccessLine_OfARejection(t *testing.T) {
	t.Parallel()
	cfg := upstreams(pacetest.NewBackend(t, pacetest.Fine))
	cfg["rate_limit"] = pacetest.Table{"max_requests": 1}
	p := pacetest.Start(t, cfg)
	wantStatus(t, p.Get("/x"), 200)
	wantStatus(t, p.Get("/rejected"), 429)
	line := p.WantAccess("/rejected")
	if _, there := line["backend"]; there || line.Int("attempts") != 0 || !strings.EqualFold(line.Text("level"), "warn") {
		t.Errorf("backend %v, attempts %v, level %v; want none, 0, warn", line["backend"], line["attempts"], line["level"])
	}
}

func TestLog_LevelAndFormat(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{"/500": pacetest.Status(500, "no"), "/": pacetest.Fine}))
	cases := map[string]struct {
		format, level string
		fine          bool // the line of a fine request is there
		json          bool
	}{
		"auto is JSON where nobody watches": {"auto", "info", true, true},
		"text":                              {"text", "info", true, false},
		"only errors":                       {"json", "error", false, true},
	}
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := upstreams(b)
			cfg["server"] = pacetest.Table{"listen": "127.0.0.1:" + strconv.Itoa(freePort(t))}
			cfg["admin"] = pacetest.Table{"listen": ""}
			cfg["log"] = pacetest.Table{"format": tt.format, "level": tt.level}
			p := pacetest.Launch(t, nil, "run", "--config", write(t, "proxy.toml", cfg.TOML()))
			p.Proxy = cfg["server"]["listen"].(string)
			awaitServing(t, p)
			wantStatus(t, p.Get("/fine"), 200)
			wantStatus(t, p.Get("/500"), 500)
			pacetest.Eventually(t, func() error { return has(p.Stderr(), "/500") })
			err := has(p.Stderr(), "/fine")
			if (err == nil) != tt.fine {
				t.Errorf("a line of the fine request: %t, want %t", err == nil, tt.fine)
			}
			if isJSON := strings.HasPrefix(p.Stderr(), "{"); isJSON != tt.json {
				t.Errorf("the log is JSON: %t, want %t:\n%s", isJSON, tt.json, p.Stderr())
			}
			if strings.Contains(p.Stderr(), "\x1b[") {
				t.Errorf("colour where nobody watches: %q", p.Stderr())
			}
		})
	}
}

// hostile is what a client may send in the places that the access line shows, in the form
// that reaches the handler.
var hostile = []string{
	"GET /%0A%7B%22msg%22%3A%22request%22%2C%22path%22%3A%22/forged%22%7D%0A HTTP/1.1\r\nHost: x\r\n",
	"GET /%0d%0alevel=ERROR%20msg=forged%0d%0a HTTP/1.1\r\nHost: x\r\n",
	"GET /%1b%5b31mred%1b%5b2K%1b%5d0;title%07 HTTP/1.1\r\nHost: x\r\n",
	"GET /%c2%9b31m%e2%80%a8%e2%80%ae%ff%fe HTTP/1.1\r\nHost: x\r\n",
	"GET /%22,%22status%22:1 HTTP/1.1\r\nHost: x\r\n",
	"GET /id HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\",\"msg\":\"forged\r\n",
	"GET /id2 HTTP/1.1\r\nHost: x\r\nX-Request-Id: a level=ERROR msg=forged \x9b31m\xff\r\n",
	"GET /id3 HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\tb" + strings.Repeat("y", 5000) + "\r\n",
	"M=forged|~!#$%&'*+-.^_` /method HTTP/1.1\r\nHost: x\r\n",
	"MSG!forged /method2 HTTP/1.1\r\nHost: x\r\n",
	"GET /host HTTP/1.1\r\nHost: x\r\nUser-Agent: \x9b31m\r\nX-Forwarded-For: 1.1.1.1\" msg=forged\r\n",
}

// raw control bytes, C1 included, that a terminal would obey; newlines end lines.
var control = regexp.MustCompile(`[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\x{2028}|\x{202e}`)

func TestLog_NothingFromTheWireForgesALine(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"json", "text"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "pace.log")
			cfg := upstreams(pacetest.NewBackend(t, pacetest.Fine))
			cfg["server"] = pacetest.Table{"listen": "127.0.0.1:" + strconv.Itoa(freePort(t))}
			cfg["admin"] = pacetest.Table{"listen": ""}
			cfg["log"] = pacetest.Table{"format": format, "file": file}
			p := pacetest.Launch(t, nil, "run", "--config", write(t, "proxy.toml", cfg.TOML()))
			p.Proxy = cfg["server"]["listen"].(string)
			awaitServing(t, p)
			handled := 0
			for _, raw := range hostile {
				w := p.Wire()
				w.Send(raw + "Connection: close\r\n\r\n")
				if got := w.Response("GET"); got.Header.Get("X-Trace-Id") != "" { // else refused before the handler
					handled++
				}
			}
			if handled < 8 {
				t.Errorf("only %d of %d hostile requests reached the handler", handled, len(hostile))
			}
			wantStatus(t, p.Get("/last"), 200)
			pacetest.Eventually(t, func() error { return contains(file, "/last") })
			p.Stop()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			wantUnforged(t, string(text), format, handled)
		})
	}
}

// wantUnforged wants handled+1 access lines besides the looks of awaitServing, and not a
// control byte.
func wantUnforged(t *testing.T, text, format string, handled int) {
	t.Helper()
	if at := control.FindStringIndex(text); at != nil {
		t.Errorf("a control character is in the log: %q", text[max(0, at[0]-60):min(len(text), at[1]+60)])
	}
	if strings.ToValidUTF8(text, "") != text {
		t.Error("the log is not UTF-8")
	}
	start := map[string]string{"json": `^\{"time":"[^"]+","level":"[A-Z]+","msg":"`, "text": `^\S+( \S+)? (INF|WRN|ERR|INFO|WARN|ERROR) `}[format]
	line := regexp.MustCompile(start)
	requests := 0
	for raw := range strings.Lines(text) {
		if !line.MatchString(raw) {
			t.Errorf("a line that pace did not begin: %q", raw)
		}
		if strings.HasPrefix(raw[len(line.FindString(raw)):], "request") && !strings.Contains(raw, "/awaited") {
			requests++
		}
	}
	if requests != handled+1 {
		t.Errorf("%d access lines for %d requests:\n%s", requests, handled+1, text)
	}
}

// awaitServing waits until a pace without admin listener answers.
func awaitServing(t *testing.T, p *pacetest.Pace) {
	t.Helper()
	pacetest.Eventually(t, func() error { return p.Get("/awaited").Err })
}

// TestLog_OnATerminal: auto is coloured text there, and no escape of a client's reaches it.
func TestLog_OnATerminal(t *testing.T) {
	t.Parallel()
	cfg := upstreams(pacetest.NewBackend(t, pacetest.Fine))
	cfg["server"] = pacetest.Table{"listen": "127.0.0.1:" + strconv.Itoa(freePort(t))}
	cfg["admin"] = pacetest.Table{"listen": ""}
	p := pacetest.LaunchOnTerminal(t, []string{"TERM=xterm", "NO_COLOR="}, "run", "--config", write(t, "proxy.toml", cfg.TOML()))
	p.Proxy = cfg["server"]["listen"].(string)
	awaitServing(t, p)
	for _, raw := range hostile {
		w := p.Wire()
		w.Send(raw + "Connection: close\r\n\r\n")
		w.Response("GET")
	}
	wantStatus(t, p.Get("/last"), 200)
	pacetest.Eventually(t, func() error { return has(p.Stderr(), "/last") })
	if !strings.Contains(p.Stderr(), "\x1b[") || strings.HasPrefix(p.Stderr(), "{") {
		t.Errorf("no colour on a terminal: %q", p.Stderr())
	}
	colour := regexp.MustCompile(`\x1b\[[0-9;]*m`)
	plain := strings.ReplaceAll(colour.ReplaceAllString(p.Stderr(), ""), "\r\n", "\n")
	if at := control.FindStringIndex(plain); at != nil {
		t.Errorf("a client's control character is on the terminal: %q", plain[max(0, at[0]-60):min(len(plain), at[1]+60)])
	}
	if strings.Contains(p.Stderr(), "\x1b[31mred") {
		t.Errorf("a client chose a colour: %q", p.Stderr())
	}
	for line := range strings.Lines(plain) {
		if !regexp.MustCompile(`^\S+ (INF|WRN|ERR) `).MatchString(line) {
			t.Errorf("a line that pace did not begin: %q", line)
		}
	}
}

// TestLog_FullDiskCostsNoRequest logs into the device that is always full.
func TestLog_FullDiskCostsNoRequest(t *testing.T) {
	t.Parallel()
	cfg := onFreePorts(t, upstreams(pacetest.NewBackend(t, pacetest.Fine)))
	cfg["log"] = pacetest.Table{"format": "json", "file": "/dev/full"}
	p := pacetest.Launch(t, nil, "run", "--config", write(t, "proxy.toml", cfg.TOML()))
	wantServiceWithoutLog(t, p, cfg)
}

// TestLog_ClosedPipeCostsNoRequest: the reader of the log closes its pipe, as when a log shipper dies.
func TestLog_ClosedPipeCostsNoRequest(t *testing.T) {
	t.Parallel()
	cfg := onFreePorts(t, upstreams(pacetest.NewBackend(t, pacetest.Fine)))
	p, log := pacetest.LaunchOnPipe(t, nil, "run", "--config", write(t, "proxy.toml", cfg.TOML()))
	if line, err := bufio.NewReader(log).ReadString('\n'); err != nil || !strings.Contains(line, "listening") {
		t.Fatalf("the log begins with %q, %v", line, err)
	}
	log.Close()
	wantServiceWithoutLog(t, p, cfg)
}

// onFreePorts returns cfg with ports that are known without pace's log.
func onFreePorts(t *testing.T, cfg pacetest.Config) pacetest.Config {
	for _, table := range []string{"server", "admin"} {
		cfg = set(cfg, table, "listen", "127.0.0.1:"+strconv.Itoa(freePort(t)))
	}
	return cfg
}

// wantServiceWithoutLog requires that a pace whose log cannot be written still serves, counts the dropped
// lines, and exits with 0.
func wantServiceWithoutLog(t *testing.T, p *pacetest.Pace, cfg pacetest.Config) {
	t.Helper()
	p.Proxy, p.Admin = cfg["server"]["listen"].(string), cfg["admin"]["listen"].(string)
	awaitServing(t, p)
	for range 50 {
		wantStatus(t, p.Get("/x"), 200)
	}
	pacetest.Eventually(t, func() error {
		if got := p.Metrics().Sum("pace_log_dropped_total", "reason", "write_failed"); got < 51 {
			return notYet("pace_log_dropped_total{reason=write_failed} = %v after 51 lines", got)
		}
		return nil
	})
	if code := p.Stop(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

func has(text, part string) error {
	if !strings.Contains(text, part) {
		return notYet("%q is not in %q", part, text)
	}
	return nil
}
