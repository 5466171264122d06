// Package reload changes the configuration of the built pace under load, over and over, and checks that nobody
// notices: no request fails, no stream breaks, no counter restarts, and nothing is left behind.
package reload

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"pace/e2e/pacetest"
)

func TestMain(m *testing.M) { pacetest.MainPlain(m) }

const (
	reloads = 200
	workers = 20 // half of them over HTTP/1.1, half over HTTP/2
	perSec  = 1000
	sockets = 10
	token   = "0123456789abcdef0123456789abcdef"
)

// backend responds with the path that it was asked for, and echoes what comes over a WebSocket.
func backend(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			io.WriteString(w, r.URL.Path)
			return
		}
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			kind, message, err := c.Read(r.Context())
			if err != nil || c.Write(r.Context(), kind, message) != nil {
				return
			}
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// variant is one of the configurations that take turns. In each one every path of the load is served.
type variant struct {
	a, b             string // backends
	first, third     string // routes that come and go, and what the upstream of /a has besides
	perWindow, other int
}

func (v variant) toml(dir string) string {
	return fmt.Sprintf(`
[server]
listen = "127.0.0.1:0"
max_body_bytes = %d
[admin]
listen = "127.0.0.1:0"
pprof = true
token_file = %q
[log]
level = "info"
[tracing.keep]
recent = 0
[upstream.a]
backends = [%s]
idle_timeout = "300ms"
max_retries = %d
[upstream.b]
backends = [%q]
idle_timeout = "300ms"
[limit.all]
max_requests = %d
window_seconds = 60
max_keys = 100
[limit.some]
max_requests = 1000000
window_seconds = 30
max_keys = 100
%s
[[route]]
name = "a"
match = "/a/"
upstream = "a"
limits = ["all", "some"]
[[route]]
name = "b"
match = "GET /b/{rest...}"
split = { a = 1, b = %d }
limits = ["some"]
[[route]]
match = "/ws"
upstream = "b"
`, 1<<20+v.other, filepath.Join(dir, "token"), v.third, 1+v.other%2, v.b, v.perWindow, v.first, 1+v.other)
}

// variants returns the text of the nth configuration. They take turns.
func variants(a, b string) (toml func(dir string, nth int) string) {
	all := []variant{
		{a, b, "", fmt.Sprintf("%q", a), 1_000_000, 0},
		{a, b, "", fmt.Sprintf("%q, %q", a, b), 1_000_000, 1},
		{a, b, "[[route]]\nmatch = \"GET /a/x/{id}\"\nupstream = \"b\"\nlimits = [\"all\"]\n", fmt.Sprintf("{ url = %q, weight = 3 }, %q", a, b), 2_000_000, 2},
		{b, a, "[[route]]\nmatch = \"/b/\"\nupstream = \"a\"\n", fmt.Sprintf("%q", b), 1_000_000, 3},
	}
	return func(dir string, nth int) string { return all[nth%len(all)].toml(dir) }
}

// load is a set of clients that ask without a pause longer than their pace.
type load struct {
	t      *testing.T
	p      *pacetest.Pace
	sent   atomic.Int64
	failed atomic.Int64
	why    atomic.Pointer[string]
	stop   chan struct{}
	done   sync.WaitGroup
}

func start(t *testing.T, p *pacetest.Pace) *load {
	t.Helper()
	l := &load{t: t, p: p, stop: make(chan struct{})}
	for i := range workers {
		mode := []pacetest.Mode{pacetest.H1, pacetest.H2C}[i%2]
		l.done.Go(func() { l.ask(mode, i) })
	}
	for i := range sockets {
		l.done.Go(func() { l.echo(i) })
	}
	return l
}

// end stops the clients and closes their connections.
func (l *load) end() {
	close(l.stop)
	l.done.Wait()
}

func (l *load) fail(format string, args ...any) {
	l.failed.Add(1)
	why := fmt.Sprintf(format, args...)
	l.why.CompareAndSwap(nil, &why)
}

// ask sends requests at its share of the rate.
func (l *load) ask(mode pacetest.Mode, worker int) {
	c := mode.Client(l.t)
	defer c.CloseIdleConnections()
	tick := time.NewTicker(time.Second * workers / perSec)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		path := []string{"/a/", "/a/x/", "/b/"}[n%3] + fmt.Sprintf("%d-%d", worker, n)
		l.sent.Add(1)
		resp, err := c.Get("http://" + l.p.Proxy + path)
		if err != nil {
			l.fail("%s %s: %v", mode, path, err)
			continue
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 || string(body) != path || err != nil {
			l.fail("%s %s: got %d %q, %v", mode, path, resp.StatusCode, body, err)
		}
	}
}

// echo keeps one WebSocket in use from the first to the last moment.
func (l *load) echo(n int) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	c, resp, err := websocket.Dial(ctx, "ws://"+l.p.Proxy+"/ws", nil)
	if err != nil {
		l.fail("websocket %d: %v, %v", n, err, resp)
		return
	}
	defer c.CloseNow()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-l.stop:
			c.Close(websocket.StatusNormalClosure, "")
			return
		case <-tick.C:
		}
		want := fmt.Sprintf("%d-%d", n, i)
		if err := c.Write(ctx, websocket.MessageText, []byte(want)); err != nil {
			l.fail("websocket %d, message %d: %v", n, i, err)
			return
		}
		if _, got, err := c.Read(ctx); err != nil || string(got) != want {
			l.fail("websocket %d, message %d: got %q, %v", n, i, got, err)
			return
		}
	}
}

// held has the memory, goroutines and descriptors of an idle pace.
type held struct{ goroutines, descriptors, heap float64 }

func (h held) String() string {
	return fmt.Sprintf("%.0f goroutines, %.0f descriptors, %.1f MiB", h.goroutines, h.descriptors, h.heap/(1<<20))
}

// measure collects garbage and reads what is held.
func measure(t *testing.T, p *pacetest.Pace) held {
	t.Helper()
	for range 2 {
		resp, err := http.Get("http://" + p.Admin + "/debug/pprof/heap?gc=1")
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	m := p.Metrics()
	return held{m.Sum("go_goroutines"), m.Sum("process_open_fds"), m.Sum("go_memstats_heap_alloc_bytes")}
}

// rest waits until pace holds no more than base, and returns what it holds.
func rest(t *testing.T, p *pacetest.Pace, base held, spare float64) (now held) {
	t.Helper()
	pacetest.Eventually(t, func() error {
		now = measure(t, p)
		if now.goroutines > base.goroutines || now.descriptors > base.descriptors || now.heap > base.heap+spare {
			return fmt.Errorf("pace holds %v, and held %v before", now, base)
		}
		return nil
	})
	return now
}

// reload asks for a reload and returns the status of the response.
func reload(t *testing.T, p *pacetest.Pace) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+p.Admin+"/api/v1/reload", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp.StatusCode
}

func TestReloads_UnderLoad(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	toml := variants(backend(t), backend(t))
	p := pacetest.StartTOML(t, toml(dir, 0))

	// What is made once is there before the baseline is taken.
	l := start(t, p)
	for i := range 8 {
		p.WriteTOML(toml(dir, i+1))
		reload(t, p)
		time.Sleep(50 * time.Millisecond)
	}
	l.end()
	warm := l.sent.Load()
	http.DefaultClient.CloseIdleConnections()
	base := rest(t, p, held{math.Inf(1), math.Inf(1), math.Inf(1)}, 0)
	pacetest.Eventually(t, func() error { // idle connections to backends expire
		now := measure(t, p)
		quieter := now.goroutines < base.goroutines || now.descriptors < base.descriptors
		if base = now; quieter || now.descriptors > 40 {
			return fmt.Errorf("pace still becomes quiet: %v", now)
		}
		return nil
	})

	l = start(t, p)
	applied, refused, last := 0, 0, 0.0
	for i := range reloads {
		switch {
		case i%10 == 9: // a tenth is bad
			p.WriteTOML(toml(dir, i) + "[nonsense]\n")
			refused++
		case i%2 == 0: // half change routes, upstreams and limits
			p.WriteTOML(toml(dir, i/2+1))
			applied++
		default: // the others change nothing
			p.WriteTOML(toml(dir, (i-1)/2+1) + fmt.Sprintf("# %d\n", i))
		}
		want := 200
		if i%10 == 9 {
			want = 422
		}
		if i%25 == 24 {
			p.Signal(syscall.SIGHUP) // one more, concurrently
		}
		if got := reload(t, p); got != want {
			t.Fatalf("reload %d: got %d, want %d", i, got, want)
		}
		if i%20 == 0 {
			now := p.Metrics().Sum("pace_requests_total", "pace_outcome", "ok")
			if now < last {
				t.Errorf("reload %d: a counter restarted: %v after %v", i, now, last)
			}
			last = now
		}
		time.Sleep(40 * time.Millisecond)
	}
	l.end()
	if n := l.failed.Load(); n > 0 {
		t.Errorf("%d of %d requests and streams failed, the first: %s", n, l.sent.Load(), *l.why.Load())
	}
	http.DefaultClient.CloseIdleConnections()
	now := rest(t, p, base, 3<<20)
	t.Logf("%d requests, %d reloads applied, %d refused; before %v, after %v", l.sent.Load(), applied, refused, base, now)
	m := p.Metrics()
	if got, want := m.Sum("pace_requests_total", "pace_outcome", "ok"), float64(warm+l.sent.Load()); got != want {
		t.Errorf("%v requests are counted as ok, want %v", got, want)
	}
	if got := m.Sum("pace_requests_total", "pace_outcome", "upgraded"); got != 2*sockets {
		t.Errorf("%v streams are counted, want %d", got, 2*sockets)
	}
	if got := m.Sum("pace_config_reloads_total", "result", "refused"); got < float64(refused) {
		t.Errorf("%v reloads are counted as refused, want %d", got, refused)
	}
	if p.Stop() != 0 {
		t.Error("pace did not end with 0")
	}
	if strings.Contains(p.Stderr(), "panic") {
		t.Error("the log has a panic")
	}
}
