package contract

import (
	"bufio"
	"context"
	"encoding/json"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"pace/e2e/pacetest"
)

// explained runs pace explain, and returns what it says in one line.
func explained(t *testing.T, args ...string) (string, pacetest.Exit) {
	t.Helper()
	exit := pacetest.Exec(t, t.TempDir(), nil, append([]string{"explain"}, args...)...)
	return strings.Join(strings.Fields(exit.Stdout), " "), exit
}

// Each kind of end is explained by the facts that the test knows: the backend, the side, the cause, and the time.
func TestExplain_NamesWhatHappened(t *testing.T) {
	t.Parallel()
	const slow = 300 * time.Millisecond
	b := pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{
		"/fine": pacetest.Fine,
		"/500":  func(x *pacetest.Exchange) { x.Write("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n") },
		"/404":  func(x *pacetest.Exchange) { x.Write("HTTP/1.1 404 Oh\r\nContent-Length: 0\r\n\r\n") },
		"/cut":  func(x *pacetest.Exchange) { x.Write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"); x.Reset() },
		"/none": func(x *pacetest.Exchange) { x.Reset() },
		"/junk": func(x *pacetest.Exchange) { x.Write("220 smtp.example ESMTP\r\n"); x.Close() },
		"/slow": pacetest.Later(slow, pacetest.Fine),
		"/late": pacetest.Hang,
	}))
	closed := pacetest.NewClosed(t)
	cfg := upstreams(b)
	cfg["upstreams"]["response_timeout"] = "3s"
	cfg["tracing.keep"] = pacetest.Table{"slow": "200ms"}
	p := pacetest.Start(t, cfg)
	dead := pacetest.Start(t, upstreams(closed))
	limited := upstreams(b)
	limited["rate_limit"] = pacetest.Table{"max_requests": 1}
	one := pacetest.Start(t, limited)
	wantStatus(t, one.Get("/fine"), 200)
	for _, tt := range []struct {
		at     *pacetest.Pace
		method string
		path   string
		facts  []string
	}{
		{p, "GET", "/fine", []string{"GET /fine came from 127.0.0.1 over HTTP/1.1 at ", "Attempt 1, at " + b.Address() + ", answered 200 after ", "The response's 4 B took ", "It ended as ok after ", "pace itself took "}},
		{p, "GET", "/500", []string{"answered 500 after ", "It ended as upstream_error after ", "because of the backend (side: backend)", "Remedy: "}},
		{p, "GET", "/404", []string{"answered 404 after ", "It ended as client_error after ", "because of the client (side: client)"}},
		{p, "GET", "/cut", []string{"at " + b.Address() + ", answered 200 after ", "It failed ", " later, in the body of its response: ", "reset by peer", "The response's 4 B took ", "upstream_truncated", "side: backend"}},
		{p, "POST", "/none", []string{"Attempt 1, at " + b.Address() + ", failed after ", "reset by peer", "pace asked no other backend: POST is not safe to repeat, and ", " B had been sent.", "pace responded 502 itself.", "upstream_reset", "side: backend"}},
		{p, "QUERY", "/none", []string{"failed after ", "reset by peer", "pace asked no other backend: none was left", "upstream_reset", "side: backend"}},
		{p, "GET", "/junk", []string{"failed after ", "pace responded 502 itself.", "upstream_invalid", "side: backend"}},
		{p, "GET", "/slow", []string{"answered 200 after ", " ms, of which ", " ms were spent waiting for its first byte.", "It ended as ok after ", "That is slow: it took longer than 200 ms."}},
		{p, "GET", "/late", []string{"failed after ", "were spent waiting for its first byte", "pace responded 504 itself.", "upstream_timeout", "side: backend", "upstreams.response_timeout"}},
		{dead, "GET", "/x", []string{"Attempt 1, at " + closed.Address() + ", failed after ", "connection refused.", "pace asked no other backend: none was left", "pace responded 502 itself.", "connect_failed", "side: backend"}},
		{one, "GET", "/y", []string{"The limit rejected it: it allows 1 requests in ", "pace responded 429 itself.", "rate_limited", "because of a limit (side: limiter)"}},
		{p, "OPTIONS", "/z", []string{"pace responded 200 itself.", "It ended as responded after "}},
	} {
		pairs := []string{}
		if tt.method == "OPTIONS" {
			pairs = []string{"Max-Forwards", "0"}
		}
		trace := tt.at.Send(tt.method, tt.path, "", pairs...).Header.Get("X-Trace-Id")
		recentOf(t, tt.at, trace)
		said, exit := explained(t, trace, "--admin", tt.at.Admin)
		rest := said
		for _, fact := range tt.facts {
			_, after, ok := strings.Cut(rest, fact)
			if !ok || exit.Code != 0 {
				t.Errorf("%s %s: exit %d, %q is not where it should be in\n%s%s", tt.method, tt.path, exit.Code, fact, said, exit.Stderr)
				break
			}
			rest = after
		}
	}
}

func TestExplain_WithoutAnArgumentExplainsTheLastFailure(t *testing.T) {
	t.Parallel()
	p := pacetest.Start(t, upstreams(pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{
		"/fine": pacetest.Fine,
		"/500":  func(x *pacetest.Exchange) { x.Write("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n") },
		"/404":  func(x *pacetest.Exchange) { x.Write("HTTP/1.1 404 Oh\r\nContent-Length: 0\r\n\r\n") },
	}))))
	if _, exit := explained(t, "--admin", p.Admin); exit.Code != 1 || !strings.Contains(exit.Stderr, "no recent exchange failed") {
		t.Errorf("before any failure: %+v", exit)
	}
	for _, path := range []string{"/500", "/500", "/404", "/fine"} {
		recentOf(t, p, p.Get(path).Header.Get("X-Trace-Id"))
	}
	said, exit := explained(t, "--admin", p.Admin)
	if exit.Code != 0 || !strings.HasPrefix(said, "GET /500 came from ") {
		t.Errorf("got %+v", exit)
	}
	config := write(t, "pace.toml", "[admin]\nlisten = \""+p.Admin+"\"\n[upstreams]\nbackends = [\"http://127.0.0.1:1\"]\n")
	byFile := pacetest.Exec(t, t.TempDir(), []string{"PACE_CONFIG=" + config}, "explain", "--json")
	var r record
	if err := json.Unmarshal([]byte(byFile.Stdout), &r); err != nil || byFile.Code != 0 || r["outcome"] != "upstream_error" || r["path"] != "/500" {
		t.Errorf("by the file of PACE_CONFIG: %v, %+v", err, byFile)
	}
}

func TestExplain_Fails(t *testing.T) {
	t.Parallel()
	p := pacetest.Start(t, upstreams(pacetest.NewBackend(t, pacetest.Fine)))
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"0af7651916cd43dd8448eb211c80319c", "--admin", p.Admin}, 1, p.Admin + ": no recent exchange has the trace 0af7651916cd43dd8448eb211c80319c"},
		{[]string{"xyz", "--admin", p.Admin}, 2, `pace explain: "xyz" is not a trace id; write its 32 hexadecimal digits`},
		{[]string{"--admin", pacetest.NewClosed(t).Address()}, 1, "no pace responds on "},
		{[]string{"--admin", "nowhere"}, 2, `"nowhere" is no address; write host:port or unix:/path`},
		{[]string{"--admin", "unix:/nonexistent/pace.sock"}, 1, "no pace responds on unix:/nonexistent/pace.sock"},
		{[]string{"--admin", p.Proxy}, 1, "what it responds is no list of exchanges"},
		{[]string{"-H", "A: b"}, 2, "-H is of the request in FILE METHOD URL"},
	} {
		if _, exit := explained(t, tt.args...); exit.Code != tt.code || !strings.Contains(exit.Stderr, tt.says) || strings.Count(exit.Stderr, "\n") != 1 {
			t.Errorf("%q: exit %d, %q; want %d and %q in one line", tt.args, exit.Code, exit.Stderr, tt.code, tt.says)
		}
	}
}

// pace tail has a line for each interesting exchange that it is asked for, and ends by a signal with 0.
func TestTail_OfTheCommandLine(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) { x.Write("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n") })
	p := pacetest.Start(t, upstreams(b))
	ctx, cancel := context.WithTimeout(t.Context(), pacetest.Patience)
	defer cancel()
	tail := exec.CommandContext(ctx, pacetest.Binary(t), "tail", "--outcome", "upstream_error", "--admin", p.Admin)
	out, err := tail.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := tail.Start(); err != nil {
		t.Fatal(err)
	}
	line := make(chan string, 1)
	go func() {
		s, _ := bufio.NewReader(out).ReadString('\n')
		line <- s
	}()
	var got, trace string
	pacetest.Eventually(t, func() error { // until it follows
		response := p.Get("/fails")
		select {
		case got = <-line:
			return nil
		case <-time.After(50 * time.Millisecond):
			trace = response.Header.Get("X-Trace-Id")
			return notYet("no line; the last trace is %s", trace)
		}
	})
	if want := " upstream_error 500 GET /fails "; !strings.Contains(got, want) || !strings.Contains(got, b.Address()) {
		t.Errorf("got %q, want %q in it", got, want)
	}
	tail.Process.Signal(syscall.SIGINT)
	if err := tail.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if exit := pacetest.Exec(t, t.TempDir(), nil, "tail", "--outcome", "fine"); exit.Code != 2 || !strings.Contains(exit.Stderr, "upstream_error") {
		t.Errorf("an unknown outcome: %+v", exit)
	}
}
