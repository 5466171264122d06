package contract

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pace/e2e/pacetest"
)

// operated is a pace whose backends an operator takes out and lets in again.
type operated struct {
	*pacetest.Pace
	t     *testing.T
	token string // the file
}

func operate(t *testing.T, cfg pacetest.Config) *operated {
	cfg, token := withToken(t, set(cfg, "admin", "listen", fmt.Sprintf("127.0.0.1:%d", freePort(t))), firstToken)
	return &operated{pacetest.Start(t, cfg), t, token}
}

// order runs the command of an order, and wants that it succeeds and says the state.
func (o *operated) order(verb string, b *pacetest.Backend, state string) {
	o.t.Helper()
	got := pacetest.Exec(o.t, ".", nil, verb, "default", b.Address(), "--config", o.File)
	if want := fmt.Sprintf("%s of default is %s", b.Address(), state); got.Code != 0 || !strings.HasPrefix(got.Stdout, want) {
		o.t.Fatalf("pace %s: exit %d, %q, %q; want %q", verb, got.Code, got.Stdout, got.Stderr, want)
	}
}

// backend returns what the API shows of a backend.
func (o *operated) backend(b *pacetest.Backend) map[string]any {
	o.t.Helper()
	_, got := callAPI(o.t, o.Pace, "", "GET", "/api/v1/upstreams", "")
	for _, u := range got["upstreams"].([]any) {
		for _, one := range u.(map[string]any)["backends"].([]any) {
			if one := one.(map[string]any); one["address"] == b.Address() {
				return one
			}
		}
	}
	o.t.Fatalf("the API does not show %s: %v", b.Address(), got)
	return nil
}

// wantActive waits until a backend has n requests in flight.
func (o *operated) wantActive(b *pacetest.Backend, n int) {
	o.t.Helper()
	pacetest.Eventually(o.t, func() error {
		if got := o.backend(b)["active"]; got != float64(n) {
			return notYet("%v requests are in flight at %s, want %d", got, b.Address(), n)
		}
		return nil
	})
}

// load keeps clients asking until stop, which returns how many requests were made. Each must get a 200.
func (o *operated) load(clients int) (stop func() int64) {
	var made atomic.Int64
	var all sync.WaitGroup
	over := make(chan struct{})
	for range clients {
		all.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				if got := o.Get("/x"); got.Err != nil || got.Status != 200 {
					o.t.Errorf("a request got %d %q, %v", got.Status, got.Body, got.Err)
					return
				}
				made.Add(1)
			}
		})
	}
	return sync.OnceValue(func() int64 { close(over); all.Wait(); return made.Load() })
}

// TestDrain_UnderLoad: while clients ask, a backend is drained at which a request and a stream are in flight. Nobody
// fails, nothing new arrives there, a reload changes nothing of that, and undrain brings it back.
func TestDrain_UnderLoad(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	behaviour := pacetest.ByPath(map[string]pacetest.Behaviour{
		"/hold": pacetest.Gated(release, pacetest.Fine), "/stream": pacetest.UpgradeEcho, "/": pacetest.Fine,
	})
	out, stays := pacetest.NewBackend(t, behaviour), pacetest.NewBackend(t, behaviour)
	cfg := set(upstreams(out, stays), "upstreams", "sticky_cookie", "at")
	o := operate(t, cfg)

	// A client that stays at the backend has a request and a stream in flight there.
	cookie := ""
	for cookie == "" {
		got := o.Get("/x")
		wantStatus(t, got, 200)
		if got.Header.Get("X-Backend") == out.Name() {
			cookie, _, _ = strings.Cut(got.Header.Get("Set-Cookie"), ";")
		}
	}
	held := make(chan pacetest.Response)
	go func() { held <- o.Get("/hold", "Cookie", cookie) }()
	out.WantGot(1, "/hold")
	w := o.Wire()
	w.Send("GET /stream HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\nCookie: " + cookie + "\r\n\r\n")
	if resp := w.Head("GET"); resp.StatusCode != 101 || resp.Header.Get("X-Backend") != out.Name() {
		t.Fatalf("got %v from %s", resp.Status, resp.Header.Get("X-Backend"))
	}
	echo := func(text string) {
		t.Helper()
		w.Send(text)
		got := make([]byte, len(text))
		if _, err := io.ReadFull(w, got); err != nil || string(got) != text {
			t.Errorf("the stream echoes %q, %v; want %q", got, err, text)
		}
	}
	echo("before")

	stop := o.load(8)
	o.order("drain", out, "drained")
	o.wantActive(out, 2) // others had picked it before
	before := len(out.Requests())
	served := len(stays.Requests())
	more := func() {
		pacetest.Eventually(t, func() error {
			if n := len(stays.Requests()) - served; n < 100 {
				return notYet("%d requests so far", n)
			}
			return nil
		})
		served = len(stays.Requests())
	}
	more()
	echo("while it is drained")
	if got := o.Get("/x", "Cookie", cookie); got.Status != 200 || got.Header.Get("X-Backend") != stays.Name() || got.Header.Get("Set-Cookie") == "" {
		t.Errorf("with the cookie of the drained backend: got %d from %s, and %q", got.Status, got.Header.Get("X-Backend"), got.Header.Get("Set-Cookie"))
	}
	o.Reload(set(cfg, "upstreams", "connect_timeout", "3s")) // makes new connections
	more()
	if state := o.backend(out)["state"]; state != "drained" {
		t.Errorf("after a reload it is %v", state)
	}
	if n := len(out.Requests()); n != before {
		t.Errorf("%d requests arrived at the drained backend", n-before)
	}
	o.order("undrain", out, "healthy")
	pacetest.Eventually(t, func() error {
		if len(out.Requests()) < before+20 {
			return notYet("it gets no requests")
		}
		return nil
	})
	close(release)
	wantStatus(t, <-held, 200)
	echo("after all")
	w.Close()
	if n := stop(); n < 200 {
		t.Errorf("only %d requests were made", n)
	}
	o.WantMetric(0, "pace_backend_active_requests", "server_port", fmt.Sprint(out.Port()))
}

// TestDrain_ClosesWhatIsIdle, so that nothing of pace is left at the backend.
func TestDrain_ClosesWhatIsIdle(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	o := operate(t, upstreams(b))
	wantStatus(t, o.Get("/x"), 200)
	o.order("drain", b, "drained")
	wantLetGo(t, b)
	got := o.Get("/x")
	wantStatus(t, got, 503)
	if !strings.Contains(got.Body, "Outcome: no_backend") {
		t.Errorf("with all backends drained: got %q", got.Body)
	}
	o.WantMetric(0, "pace_backend_connections")
	o.order("undrain", b, "healthy")
	wantStatus(t, o.Get("/x"), 200)
}

// TestDrain_StreamsGetATime, and then are closed, whichever kind they are.
func TestDrain_StreamsGetATime(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{
		"/upgrade": pacetest.UpgradeEcho,
		"/events": func(x *pacetest.Exchange) {
			x.Write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
			x.AwaitClose()
		},
	}))
	o := operate(t, set(upstreams(b), "upstreams", "drain_streams", "300ms"))
	up, events := o.Wire(), o.Wire()
	up.Send("GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	events.Send("GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
	if a, b := up.Head("GET"), events.Head("GET"); a.StatusCode != 101 || b.StatusCode != 200 {
		t.Fatalf("got %s and %s", a.Status, b.Status)
	}
	o.WantMetric(2, "pace_streams")
	o.order("drain", b, "drained")
	up.Rest()
	events.Rest()
	for path, kind := range map[string]string{"/upgrade": "other", "/events": "sse"} {
		if line := o.WantAccess(path); line.Text("close_reason") != "drained" || line.Text("stream") != kind {
			t.Errorf("the line says %v", line)
		}
		o.WantMetric(1, "pace_stream_duration_seconds_count", "kind", kind, "pace_close_reason", "drained")
	}
	o.WantMetric(0, "pace_streams")
	wantLetGo(t, b)
}

// TestEject_LastsUntilReadmit, over a reload.
func TestEject_LastsUntilReadmit(t *testing.T) {
	t.Parallel()
	out, stays := pacetest.NewBackend(t, pacetest.Fine), pacetest.NewBackend(t, pacetest.Fine)
	cfg := upstreams(out, stays)
	o := operate(t, cfg)
	o.order("eject", out, "ejected")
	at := []string{"pace_upstream", "default", "server_address", "127.0.0.1", "server_port", fmt.Sprint(out.Port())}
	o.WantMetric(0, "pace_backend_up", at...)
	o.WantMetric(1, "pace_backend_transitions_total", append(at, "to", "ejected")...)
	o.Reload(set(cfg, "upstreams", "max_retries", 0))
	for range 10 {
		wantStatus(t, o.Get("/x"), 200)
	}
	if n := len(out.Requests()); n != 0 {
		t.Errorf("an ejected backend got %d requests", n)
	}
	if got := o.backend(out); got["state"] != "ejected" || !strings.HasPrefix(fmt.Sprint(got["reason"]), "ejected by API, 127.0.0.1:") {
		t.Errorf("the API shows %v", got)
	}
	o.order("readmit", out, "healthy")
	for range 4 {
		wantStatus(t, o.Get("/y"), 200)
	}
	if n := len(out.Got("/y")); n != 2 {
		t.Errorf("after readmit it got %d of 4 requests", n)
	}
	o.Stop() // writes what of the log is not written yet
	lines := o.Lines("backend state")
	if len(lines) != 2 {
		t.Fatalf("got the lines %v, want one for each change", lines)
	}
	for i, want := range []pacetest.Line{{"from": "healthy", "to": "ejected"}, {"from": "ejected", "to": "healthy"}} {
		line := lines[i]
		if line.Text("from") != want["from"] || line.Text("to") != want["to"] || line.Text("by") != "operator" || line.Text("backend") != out.Address() ||
			line.Text("upstream") != "default" || !strings.Contains(line.Text("reason"), " by API, 127.0.0.1:") {
			t.Errorf("the line says %v, want %v by an operator", line, want)
		}
	}
}

func TestOrders_OfTheAPI(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	socket := filepath.Join(t.TempDir(), "app.sock")
	cfg := pacetest.Config{"upstreams": pacetest.Table{"backends": []string{"http://" + b.Address(), "unix:" + socket}}}
	cfg, _ = withToken(t, cfg, firstToken)
	p := pacetest.Start(t, cfg)
	to := func(upstream, address, order string) string {
		return "/api/v1/upstreams/" + upstream + "/backends/" + url.PathEscape(address) + "/" + order
	}
	wantAPI(t, p, "", "POST", to("default", b.Address(), "drain"), "", 401, `"error":`)
	wantAPI(t, p, secondToken, "POST", to("default", b.Address(), "drain"), "", 401, `"error":`)
	wantAPI(t, p, firstToken, "POST", to("other", b.Address(), "drain"), "", 404, `there is no upstream \"other\"; write one of default`)
	wantAPI(t, p, firstToken, "POST", to("default", "127.0.0.1:1", "drain"), "", 404, `default has no backend \"127.0.0.1:1\"; write one of `+b.Address())
	wantAPI(t, p, firstToken, "POST", to("default", b.Address(), "drain"), "", 200, `"state":"drained"`, `"reason":"drained by API, 127.0.0.1:`, `"address":"`+b.Address())
	wantAPI(t, p, firstToken, "POST", to("default", socket, "eject"), "", 200, `"state":"ejected"`, `"address":"`+socket)
	wantAPI(t, p, firstToken, "POST", to("default", socket, "drain"), "", 200, `"state":"drained"`)
	wantAPI(t, p, firstToken, "POST", to("default", socket, "readmit"), "", 200, `"state":"drained"`)
	wantAPI(t, p, firstToken, "POST", to("default", socket, "undrain"), "", 200, `"state":"healthy"`)
	wantAPI(t, p, firstToken, "POST", to("default", b.Address(), "undrain"), "", 200, `"state":"healthy"`)
	req, _ := http.NewRequestWithContext(t.Context(), "POST", "http://"+p.Admin+to("default", b.Address(), "destroy"), nil)
	if resp, err := http.DefaultClient.Do(req); err != nil || resp.StatusCode != 404 {
		t.Errorf("an unknown order: got %v, %v", resp, err)
	}
}

func TestOrders_OfTheCommandLine(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	socket := filepath.Join(t.TempDir(), "admin.sock")
	o := operate(t, upstreams(b))
	file := write(t, "local.toml", fmt.Sprintf(
		"server.listen = \"127.0.0.1:0\"\nadmin.listen = \"unix:%s\"\nupstreams.backends = [\"http://%s\"]\nlog.format = \"json\"\n", socket, b.Address()))
	local := pacetest.Launch(t, nil, "run", file)
	pacetest.Eventually(t, func() error {
		if len(local.Lines("listening")) == 0 {
			return notYet("it does not listen")
		}
		return nil
	})
	at := []string{"default", b.Address()}
	for _, tt := range []struct {
		name string
		args []string
		env  string
		code int
		says string // where it goes, by the code
	}{
		{"the address and the token by flags", []string{"drain", "--admin", o.Admin, "--token-file", o.token}, "", 0, b.Address() + " of default is drained (drained by API, 127.0.0.1:"},
		{"both of the environment's configuration", []string{"undrain"}, "PACE_CONFIG=" + o.File, 0, b.Address() + " of default is healthy"},
		{"a unix socket, which needs no token", []string{"eject", "--admin", "unix:" + socket}, "", 0, "ejected by API, unix socket): no requests in flight, no connections open"},
		{"a configuration with a unix socket", []string{"readmit", "--config", file}, "", 0, b.Address() + " of default is healthy"},
		{"no token", []string{"drain", "--admin", o.Admin}, "", 1, o.Admin + ": the token is missing or wrong; name the file that has it with --token-file"},
		{"a file without a token", []string{"drain", "--admin", o.Admin, "--token-file", "/dev/null"}, "", 1, "/dev/null holds no token"},
		{"a file that is not there", []string{"drain", "--admin", o.Admin, "--token-file", "nowhere"}, "", 1, "the token cannot be read: open nowhere: no such file or directory; name a file"},
		{"nobody there", []string{"drain", "--admin", pacetest.NewClosed(t).Address()}, "", 1, "no pace responds on 127.0.0.1:"},
		{"a configuration that is not there", []string{"drain", "--config", "nowhere.toml"}, "", 2, "nowhere.toml"},
	} {
		got := pacetest.Exec(t, ".", []string{tt.env}, append(tt.args, at...)...)
		said := got.Stdout + got.Stderr
		if got.Code != tt.code || !strings.Contains(said, tt.says) || strings.Count(said, "\n") != 1 || (got.Stdout == "") != (tt.code > 0) {
			t.Errorf("%s: exit %d, %q, %q; want %d and %q", tt.name, got.Code, got.Stdout, got.Stderr, tt.code, tt.says)
		}
	}
	got := pacetest.Exec(t, ".", nil, "drain", "default", "127.0.0.1:1", "--config", o.File)
	if want := fmt.Sprintf("%s: default has no backend \"127.0.0.1:1\"; write one of %s\n", o.Admin, b.Address()); got.Code != 1 || got.Stderr != want {
		t.Errorf("an unknown backend: exit %d, %q, want %q", got.Code, got.Stderr, want)
	}
	if got := pacetest.Exec(t, ".", nil, "drain", "default"); got.Code != 2 || got.Stderr != "pace drain: expected UPSTREAM and HOST:PORT, got 1 arguments; see \"pace drain --help\"\n" {
		t.Errorf("half the arguments: exit %d, %q", got.Code, got.Stderr)
	}
}
