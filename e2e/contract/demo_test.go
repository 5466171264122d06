package contract

import (
	"encoding/json"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"pace/e2e/pacetest"
)

// TestDemo_ListensOnLoopback: a demo is for the person at the machine, so nobody else can reach it.
func TestDemo_ListensOnLoopback(t *testing.T) {
	t.Parallel()
	p := pacetest.Launch(t, nil, "demo", "--no-limit")
	pacetest.Eventually(t, func() error {
		if len(demoLines(t, p, "listening")) == 0 {
			return notYet("no line says that the demo listens:\n%s", p.Output())
		}
		return nil
	})
	line := demoLines(t, p, "listening")[0]
	for _, listener := range []string{"proxy", "admin"} {
		host, _, err := net.SplitHostPort(line.Text(listener))
		if err != nil || host != "127.0.0.1" {
			t.Errorf("%s listens on %q, %v; want 127.0.0.1", listener, line.Text(listener), err)
		}
	}
}

// TestDemo_ResetIsAFailoverByHand: one curl shows what the README's picture shows.
func TestDemo_ResetIsAFailoverByHand(t *testing.T) {
	t.Parallel()
	p := startDemo(t, freePort(t), "--no-limit")
	for range 2 { // whichever backend is first in turn
		got := p.Get("/reset")
		wantStatus(t, got, 200)
		id := got.Header.Get("X-Request-Id")
		pacetest.Eventually(t, func() error {
			for _, line := range demoAccess(t, p, "/reset") {
				if line.Text("request_id") == id && line.Text("outcome") == "ok" && line.Int("attempts") == 2 {
					return nil
				}
			}
			return notYet("no line of two attempts for %s: %v", id, demoAccess(t, p, "/reset"))
		})
	}
	if got := p.Send("POST", "/reset", "x"); got.Status != 502 {
		t.Errorf("a POST, which is not safe to repeat, got status %d, want 502", got.Status)
	}
}

// TestDemo_KillTakesOneBackendDown: the others' clients notice nothing.
func TestDemo_KillTakesOneBackendDown(t *testing.T) {
	// Not parallel: another test's demo would take the port of the backend that is down.
	p := startDemo(t, freePort(t), "--no-limit")
	wantStatus(t, p.Get("/kill"), 200) // a GET only looks: a crawler or a prefetch kills nothing
	got := p.Send("POST", "/kill", "")
	wantStatus(t, got, 200)
	dead := got.Header.Get("X-Backend")
	if want := regexp.MustCompile(`^backend-[12] goes down for 20s\n$`); !want.MatchString(got.Body) {
		t.Errorf("/kill says %q, want %s", got.Body, want)
	}
	pacetest.Eventually(t, func() error { // until its connections are closed
		if !strings.Contains(p.Output(), "is down for 20s") {
			return notYet("the demo does not say that a backend is down:\n%s", p.Output())
		}
		return nil
	})
	for range 4 {
		got := p.Get("/after")
		wantStatus(t, got, 200)
		if got.Header.Get("X-Backend") == dead {
			t.Errorf("%s responds although it is down", dead)
		}
	}
	pacetest.Eventually(t, func() error {
		for _, line := range demoAccess(t, p, "/after") {
			if line.Int("attempts") == 2 {
				return nil
			}
		}
		return notYet("no request failed over: %v", demoAccess(t, p, "/after"))
	})
}

// demoLines are the log lines with this message, among what the demo says to people.
func demoLines(t *testing.T, p *pacetest.Pace, msg string) (all []pacetest.Line) {
	t.Helper()
	for text := range strings.Lines(p.Stderr()) {
		var line pacetest.Line
		if strings.HasPrefix(text, "{") && json.Unmarshal([]byte(text), &line) == nil && line.Text("msg") == msg {
			all = append(all, line)
		}
	}
	return all
}

func demoAccess(t *testing.T, p *pacetest.Pace, path string) (all []pacetest.Line) {
	t.Helper()
	for _, line := range demoLines(t, p, "request") {
		if line.Text("path") == path {
			all = append(all, line)
		}
	}
	return all
}

// TestDemo_FitsATerminal: the terminal breaks no line in the middle of a word, and the URLs are quoted for a
// shell.
func TestDemo_FitsATerminal(t *testing.T) {
	t.Parallel()
	p := pacetest.LaunchOnTerminal(t, []string{"NO_COLOR=1"}, "demo", "--no-limit", "--listen", fmt.Sprintf("127.0.0.1:%d", freePort(t)))
	named := regexp.MustCompile(`proxy on http://localhost(:\d+)`)
	pacetest.Eventually(t, func() error {
		says := named.FindStringSubmatch(p.Stderr())
		if says == nil {
			return notYet("the demo says no address:\n%s", p.Stderr())
		}
		p.Proxy = "127.0.0.1" + says[1]
		if got := p.Get("/"); got.Err != nil {
			return got.Err
		}
		return nil
	})
	for _, path := range []string{"/hello", "/status/503", "/reset", "/die", "/a/" + strings.Repeat("long/", 60) + "path"} {
		p.Get(path)
	}
	wantStatus(t, p.Get("/last"), 200)
	pacetest.Eventually(t, func() error { return has(p.Stderr(), "GET /last") })
	page := strings.ReplaceAll(p.Stderr(), "\r\n", "\n")
	for line := range strings.Lines(page) {
		if n := utf8.RuneCountInString(line) - 1; n > 100 {
			t.Errorf("%d columns: %q", n, line)
		}
		if url := strings.Index(line, "http://"); strings.Contains(line, "curl ") && line[url-1] != '\'' {
			t.Errorf("a URL that is not quoted: %q", line)
		}
	}
	for _, want := range []string{` INF 200 ok GET /hello `, ` ERR 503 upstream_error GET /status/503 `, ` INF 200 ok GET /reset `, ` attempts=2 `, ` ERR 200 upstream_truncated GET /die `} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q on the terminal:\n%s", want, page)
		}
	}
}

func TestDemo_ServesItsSamples(t *testing.T) {
	t.Parallel()
	p := startDemo(t, freePort(t), "--no-limit")
	for range 15 {
		wantStatus(t, p.Get("/test"), 200)
	}
	for _, method := range []string{"GET", "POST"} {
		got := p.Send(method, "/test", "")
		for _, field := range []string{`"backend"`, `"method"`, `"path"`, `"port"`, method, "/test", "X-Proxy"} {
			if !strings.Contains(strings.ToLower(got.Body), strings.ToLower(field)) {
				t.Errorf("%s /test: %s is not in %s", method, field, got.Body)
			}
		}
		if !strings.HasPrefix(got.Header.Get("X-Backend"), "backend_") {
			t.Errorf("%s /test: X-Backend is %q", method, got.Header.Get("X-Backend"))
		}
	}
	wantStatus(t, p.Get("/slow?ms=5"), 200)
	wantStatus(t, p.Get("/status/404"), 404)
	wantStatus(t, p.Get("/status/503"), 503)
	if got := p.Get("/die"); got.Err == nil {
		t.Errorf("/die ended as if whole: status %d, %d bytes", got.Status, len(got.Body))
	}
}

func TestDemo_EleventhRequestIsRejected(t *testing.T) {
	t.Parallel()
	p := startDemo(t, freePort(t))
	wantStatus(t, p.Get("/metrics"), 200)
	rejected := 0
	for range 15 {
		if p.Get("/test").Status == 429 {
			rejected++
		}
	}
	if rejected != 6 { // of the ten places, startDemo's look at whether it serves took one
		t.Errorf("%d of 15 requests got 429, want 6", rejected)
	}
}

func TestDemo_TakenPortMovesToTheNextFree(t *testing.T) {
	t.Parallel()
	taken := pacetest.NewBackend(t, pacetest.Fine)
	p := startDemo(t, taken.Port(), "--no-limit")
	if p.Proxy == taken.Address() {
		t.Errorf("demo claims to serve on the taken %s", p.Proxy)
	}
	wantStatus(t, p.Get("/test"), 200)
	if out := p.Output(); !strings.Contains(out, strconv.Itoa(taken.Port())) {
		t.Errorf("demo does not say that port %d is taken:\n%s", taken.Port(), out)
	}
	if got := taken.Got("/test"); len(got) > 0 {
		t.Errorf("the taken port's owner got %d requests", len(got))
	}
}

// startDemo runs pace demo with the proxy on port or the next free one, which it names in what
// it says to try, and waits until that one answers with X-Backend.
func startDemo(t *testing.T, port int, args ...string) *pacetest.Pace {
	t.Helper()
	args = append([]string{"demo", "--listen", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}, args...)
	p := pacetest.Launch(t, nil, args...)
	named := regexp.MustCompile(`http://(?:localhost|127\.0\.0\.1):(\d+)`)
	pacetest.Eventually(t, func() error {
		says := named.FindStringSubmatch(p.Output())
		if says == nil {
			return fmt.Errorf("demo says no address:\n%s", p.Output())
		}
		p.Proxy = net.JoinHostPort("127.0.0.1", says[1])
		if got := p.Get("/"); got.Header.Get("X-Backend") == "" {
			return fmt.Errorf("no demo on %s: status %d, %v", p.Proxy, got.Status, got.Err)
		}
		return nil
	})
	return p
}
