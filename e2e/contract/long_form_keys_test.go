package contract

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

// effects are what each key of [[route]], [upstream.NAME] and [limit.NAME] does, as clients and backends
// see it. TestLongForm_EveryKeyHasItsEffect wants one for every key that pace knows,
// here or in another test.
var effects = map[string]func(*testing.T, *town){
	"route.match": func(t *testing.T, x *town) {
		p := x.start(t, `
			[[route]]
			match = "GET /users/{id}"
			upstream = "a"
			[[route]]
			match = "api.example.com/users/"
			upstream = "b"`)
		x.wantFrom(t, p.Get("/users/1"), "a")
		x.wantFrom(t, p.Get("/users/1", "Host", "API.example.com:80"), "b")
		got := p.Send("POST", "/users/1", "x")
		if wantStatus(t, got, 405); got.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("Allow is %q", got.Header.Get("Allow"))
		}
		wantStatus(t, p.Get("/other"), 404)
		if line := p.WantAccess("/other"); line.Text("outcome") != "no_route" {
			t.Errorf("got %v", line)
		}
	},
	"route.name": func(t *testing.T, x *town) {
		p := x.start(t, `
			[[route]]
			match = "/users/{id}"
			name = "people"
			upstream = "a"`)
		wantStatus(t, p.Get("/users/1"), 200)
		if line := p.WantAccess("/users/1"); line.Text("route_name") != "people" || line.Text("route") != "/users/{id}" {
			t.Errorf("got %v", line)
		}
		p.WantMetric(1, "pace_requests_total", "pace_outcome", "ok", "http_route", "/users/{id}", "pace_route", "people")
	},
	"route.when": func(t *testing.T, x *town) {
		p := x.start(t, `
			[[route]]
			match = "/"
			upstream = "a"
			[[route]]
			match = "/"
			when = { "X-Canary" = "1" }
			upstream = "b"`)
		x.wantFrom(t, p.Get("/x"), "a")
		x.wantFrom(t, p.Get("/x", "X-Canary", "1"), "b")
		x.wantFrom(t, p.Get("/x", "X-Canary", "2"), "a")
		x.wantFrom(t, p.Get("/x", "X-Canary", "1", "X-Canary", "1"), "a")
	},
	"route.upstream": func(t *testing.T, x *town) {
		p := x.start(t, route("/", `upstream = "b"`))
		x.wantFrom(t, p.Get("/x"), "b")
	},
	"route.split": func(t *testing.T, x *town) {
		p := x.start(t, route("/", `split = { a = 1, b = 1 }`)+route("/none/", `split = { a = 1, b = 0 }`))
		served := map[string]int{}
		for range 60 {
			served[p.Get("/x").Body]++
			x.wantFrom(t, p.Get("/none/x"), "a")
		}
		if served["a"] == 0 || served["b"] == 0 || served["a"]+served["b"] != 60 {
			t.Errorf("got %v", served)
		}
	},
	"route.split_by": func(t *testing.T, x *town) {
		p := x.start(t, route("/", `split = { a = 1, b = 1 }
			split_by = "header:X-User"`))
		first := map[string]string{}
		for range 3 {
			for i := range 30 {
				user := fmt.Sprint("user", i)
				got := p.Get("/x", "X-User", user).Body
				if first[user] == "" {
					first[user] = got
				}
				if got != first[user] {
					t.Errorf("%s was at %s, and is at %s", user, first[user], got)
				}
			}
		}
		served := map[string]int{}
		for _, b := range first {
			served[b]++
		}
		if len(served) != 2 {
			t.Errorf("all 30 users are at %v", served)
		}
	},
	"route.redirect": func(t *testing.T, x *town) {
		p := x.start(t, route("/old/{rest...}", `redirect = "https://new.example/{rest}"`))
		got := p.Get("/old/a%2Fb/c?q=1")
		if wantStatus(t, got, 308); got.Header.Get("Location") != "https://new.example/a%2Fb/c?q=1" {
			t.Errorf("Location is %q", got.Header.Get("Location"))
		}
		if line := p.WantAccess("/old/a%2Fb/c"); line.Text("outcome") != "redirected" {
			t.Errorf("got %v", line)
		}
	},
	"route.status": func(t *testing.T, x *town) {
		p := x.start(t, route("/", `redirect = "/new"
			status = 302`))
		wantStatus(t, p.Get("/old"), 302)
	},
	"route.respond": func(t *testing.T, x *town) {
		p := x.start(t, route("/", `respond = 204`))
		wantStatus(t, p.Get("/x"), 204)
		if line := p.WantAccess("/x"); line.Text("outcome") != "responded" {
			t.Errorf("got %v", line)
		}
	},
	"route.body": func(t *testing.T, x *town) {
		p := x.start(t, route("/", `respond = 418
			body = "short and stout"`))
		got := p.Get("/x")
		if wantStatus(t, got, 418); got.Body != "short and stout" {
			t.Errorf("got %q", got.Body)
		}
	},
	"route.strip_prefix": func(t *testing.T, x *town) {
		p := x.start(t, route("/api/", `upstream = "a"
			strip_prefix = "/api"`))
		wantStatus(t, p.Get("/api/x%2Fy?q=1"), 200)
		x.a.WantGot(1, "/x%2Fy?q=1")
		wantStatus(t, p.Get("/api/"), 200)
		x.a.WantGot(1, "/")
	},
	"route.add_prefix": func(t *testing.T, x *town) {
		p := x.start(t, route("/", `upstream = "a"
			add_prefix = "/v2"`))
		wantStatus(t, p.Get("/x?q=1"), 200)
		x.a.WantGot(1, "/v2/x?q=1")
	},
	"route.host": func(t *testing.T, x *town) {
		p := x.start(t, route("/keep", `upstream = "a"`)+route("/backend", `upstream = "a"
			host = "backend"`)+route("/literal", `upstream = "a"
			host = "inner.example:81"`))
		for path, want := range map[string]string{"/keep": "client.example", "/backend": x.a.Address(), "/literal": "inner.example:81"} {
			wantStatus(t, p.Get(path, "Host", "client.example"), 200)
			if got := x.a.WantGot(1, path)[0].Host; got != want {
				t.Errorf("%s: Host is %q, want %q", path, got, want)
			}
		}
	},
	"route.request_headers.set":    requestHeader(`set = { "X-Rule" = "new" }`, "new"),
	"route.request_headers.add":    requestHeader(`add = { "X-Rule" = "new" }`, "old", "new"),
	"route.request_headers.remove": requestHeader(`remove = ["x-rule"]`),
	"route.response_headers.set":   responseHeader(`set = { "X-Rule" = "new" }`, "new"),
	"route.response_headers.add":   responseHeader(`add = { "X-Rule" = "new" }`, "old", "new"),
	"route.response_headers.remove": func(t *testing.T, x *town) {
		responseHeader(`remove = ["x-rule"]`)(t, x)
		p := x.start(t, route("/", `upstream = "slow"
			response_headers.remove = ["Content-Type"]`))
		if got := p.Get("/x"); got.Header.Values("Content-Type") != nil { // which net/http would guess anew
			t.Errorf("got %q", got.Header)
		}
	},
	"route.limits": func(t *testing.T, x *town) {
		p := x.start(t, route("/free", `upstream = "a"`)+route("/", `upstream = "a"
			limits = ["one", "two"]`)+`
			[limit.one]
			max_requests = 1
			[limit.two]
			max_requests = 2`)
		wantStatus(t, p.Get("/x"), 200)
		wantStatus(t, p.Get("/x"), 429)
		wantStatus(t, p.Get("/free"), 200)
		wantStatus(t, p.Get("/free"), 200)
	},
	"route.allow": func(t *testing.T, x *town) {
		p := x.start(t, route("/in", `upstream = "a"
			allow = ["127.0.0.0/8"]`)+route("/out", `upstream = "a"
			allow = ["10.0.0.0/8"]`))
		wantStatus(t, p.Get("/in"), 200)
		wantStatus(t, p.Get("/out"), 403)
		if line := p.WantAccess("/out"); line.Text("outcome") != "forbidden" {
			t.Errorf("got %v", line)
		}
	},
	"route.deny": func(t *testing.T, x *town) {
		p := x.start(t, route("/", `upstream = "a"
			allow = ["127.0.0.0/8"]
			deny = ["127.0.0.1/32"]`))
		wantStatus(t, p.Get("/x"), 403)
	},
	"route.timeout": func(t *testing.T, x *town) {
		p := x.start(t, route("/", `upstream = "slow"
			timeout = "100ms"`))
		wantStatus(t, p.Get("/hang"), 504)
		if line := p.WantAccess("/hang"); line.Text("outcome") != "route_timeout" {
			t.Errorf("got %v", line)
		}
	},
	"route.response_timeout": func(t *testing.T, x *town) {
		p := x.start(t, route("/", `upstream = "slow"
			response_timeout = "100ms"`))
		wantStatus(t, p.Get("/hang"), 504)
		if line := p.WantAccess("/hang"); line.Text("outcome") != "upstream_timeout" {
			t.Errorf("got %v", line)
		}
	},
	"route.body_timeout": func(t *testing.T, x *town) {
		p := x.start(t, route("/", `upstream = "slow"
			body_timeout = "100ms"`))
		if got := p.Get("/stall"); got.Status != 200 || got.Err == nil {
			t.Errorf("got %d, %v", got.Status, got.Err)
		}
		if line := p.WantAccess("/stall"); line.Text("outcome") != "upstream_stalled" {
			t.Errorf("got %v", line)
		}
		w := p.Wire()
		w.Send("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")
		wantStatus(t, w.Response("POST"), 408)
	},
	"route.max_body_bytes": func(t *testing.T, x *town) {
		p := x.start(t, route("/small", `upstream = "a"
			max_body_bytes = 4`)+route("/", `upstream = "a"`))
		wantStatus(t, p.Send("POST", "/small", "1234"), 200)
		wantStatus(t, p.Send("POST", "/small", "12345"), 413)
		wantStatus(t, p.Send("POST", "/large", "12345"), 200)
	},
	"route.mirror": func(t *testing.T, x *town) {
		p := x.start(t, route("/", `upstream = "a"
			mirror = "b"`))
		x.wantFrom(t, p.Send("POST", "/x", "hello"), "a")
		if got := x.b.WantGot(1, "/x")[0]; string(got.Body) != "hello" {
			t.Errorf("the mirror got %q", got.Body)
		}
		p.WantMetric(1, "pace_requests_total", "pace_outcome", "ok")
	},
	"route.mirror_share": func(t *testing.T, x *town) {
		p := x.start(t, route("/", `upstream = "a"
			mirror = "b"
			mirror_share = 0.0`))
		for range 20 {
			x.wantFrom(t, p.Get("/x"), "a")
		}
		x.a.WantGot(20, "/x")
		if got := x.b.Got("/x"); len(got) > 0 {
			t.Errorf("the mirror got %d requests", len(got))
		}
	},
	"route.sample_ratio": func(t *testing.T, x *town) {
		r := otlp.Receiver(t)
		p := x.start(t, route("/never", `upstream = "a"
			sample_ratio = 0.0`)+route("/", `upstream = "a"`), pacetest.ExportTo(r)...)
		wantStatus(t, p.Get("/never"), 200)
		wantStatus(t, p.Get("/always"), 200)
		pacetest.WantTrace(r, 1, pacetest.Path("/always"))
		if line := p.WantAccess("/never"); fmt.Sprint(line["trace_sampled"]) != "false" {
			t.Errorf("got %v", line)
		}
	},
	"route.log": func(t *testing.T, x *town) {
		p := x.start(t, route("/quiet", `upstream = "a"
			log = "none"`)+route("/failures", `upstream = "slow"
			log = "failures"`)+route("/", `upstream = "a"`))
		wantStatus(t, p.Get("/quiet"), 200)
		wantStatus(t, p.Get("/failures?fine"), 200)
		wantStatus(t, p.Get("/failures?fail"), 502)
		wantStatus(t, p.Get("/loud"), 200)
		p.WantAccess("/loud")
		if line := p.WantAccess("/failures"); line.Int("status") != 502 {
			t.Errorf("got %v", line)
		}
		if lines := p.Access("/quiet"); len(lines) > 0 {
			t.Errorf("got %v", lines)
		}
		p.WantMetric(4, "pace_requests_total")
	},
	"route.slow": func(t *testing.T, x *town) {
		r := otlp.Receiver(t)
		p := x.start(t, "tracing.sample_ratio = 0.0\n"+route("/later/kept", `upstream = "slow"
			slow = "100ms"`)+route("/later/", `upstream = "slow"`), pacetest.ExportTo(r)...)
		wantStatus(t, p.Get("/later/kept"), 200)
		if line := p.WantAccess("/later/kept"); line.Text("kept") != "slow" {
			t.Errorf("got %v", line)
		}
		wantStatus(t, p.Get("/later/x"), 200)
		if line := p.WantAccess("/later/x"); line.Text("kept") != "" {
			t.Errorf("got %v", line)
		}
	},
	"upstream.backends": func(t *testing.T, x *town) {
		socket := filepath.Join(t.TempDir(), "app.sock")
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "socket") })}}
		s.Start()
		t.Cleanup(s.Close)
		p := x.start(t, route("/", `upstream = "mixed"`)+fmt.Sprintf(`
			[upstream.mixed]
			backends = [{ url = "unix:%s", weight = 3 }, "http://%s"]`, socket, x.a.Address()))
		served := map[string]int{}
		for range 40 {
			got := p.Get("/x")
			served[got.Body]++
			if got.Body == "socket" && !strings.Contains(got.Header.Get("X-Backend"), "app.sock") {
				t.Errorf("X-Backend is %q", got.Header.Get("X-Backend"))
			}
		}
		if served["socket"] != 30 || served["a"] != 10 {
			t.Errorf("got %v", served)
		}
	},
	"upstream.max_retries": func(t *testing.T, x *town) {
		gone := pacetest.NewClosed(t)
		p := x.start(t, route("/", `upstream = "one"`)+route("/none", `upstream = "none"`)+fmt.Sprintf(`
			[upstream.one]
			backends = ["http://%[1]s", "http://%[2]s"]
			[upstream.none]
			backends = ["http://%[1]s", "http://%[2]s"]
			max_retries = 0`, gone.Address(), x.a.Address()))
		failed := 0
		for range 4 {
			wantStatus(t, p.Get("/x"), 200)
			if p.Get("/none").Status == 502 {
				failed++
			}
		}
		if failed != 2 {
			t.Errorf("%d of 4 failed, want 2", failed)
		}
	},
	"upstream.connect_timeout": func(t *testing.T, x *town) {
		p := x.start(t, route("/", `upstream = "black"`)+fmt.Sprintf(`
			[upstream.black]
			backends = ["http://%s"]
			connect_timeout = "100ms"`, pacetest.NewBlackhole(t).Address()))
		wantStatus(t, p.Get("/x"), 504)
		if line := p.WantAccess("/x"); line.Text("outcome") != "connect_timeout" {
			t.Errorf("got %v", line)
		}
	},
	"upstream.response_timeout": func(t *testing.T, x *town) {
		p := x.start(t, route("/", `upstream = "own"`)+x.slowUpstream("own", `response_timeout = "100ms"`))
		wantStatus(t, p.Get("/hang"), 504)
	},
	"upstream.body_timeout": func(t *testing.T, x *town) {
		p := x.start(t, route("/", `upstream = "own"`)+x.slowUpstream("own", `body_timeout = "100ms"`))
		if got := p.Get("/stall"); got.Status != 200 || got.Err == nil {
			t.Errorf("got %d, %v", got.Status, got.Err)
		}
		if line := p.WantAccess("/stall"); line.Text("outcome") != "upstream_stalled" {
			t.Errorf("got %v", line)
		}
	},
	"upstream.max_response_header_bytes": func(t *testing.T, x *town) {
		p := x.start(t, route("/", `upstream = "own"`)+x.slowUpstream("own", `max_response_header_bytes = 1024`))
		wantStatus(t, p.Get("/long"), 502)
		if line := p.WantAccess("/long"); line.Text("outcome") != "upstream_invalid" {
			t.Errorf("got %v", line)
		}
	},
	"upstream.max_idle_per_backend": func(t *testing.T, x *town) {
		p := x.start(t, route("/", `upstream = "own"`)+x.slowUpstream("own", `max_idle_per_backend = 1`))
		done := make(chan pacetest.Response)
		for range 4 {
			go func() { done <- p.Get("/later") }()
		}
		for range 4 {
			wantStatus(t, <-done, 200)
		}
		pacetest.Eventually(t, func() error {
			if n := x.slow.Open(); n != 1 {
				return notYet("%d connections are open, want 1", n)
			}
			return nil
		})
	},
	"upstream.max_requests":    wantOneAtOnce("max_requests"),
	"upstream.max_connections": wantOneAtOnce("max_connections"),
	"upstream.idle_timeout": func(t *testing.T, x *town) {
		p := x.start(t, route("/", `upstream = "own"`)+x.slowUpstream("own", `idle_timeout = "100ms"`))
		wantStatus(t, p.Get("/fine"), 200)
		pacetest.Eventually(t, func() error {
			if n := x.slow.Open(); n != 0 {
				return notYet("%d connections are open, want none", n)
			}
			return nil
		})
	},
	"limit.enabled": func(t *testing.T, x *town) {
		p := x.start(t, limitedBy(`enabled = false
			max_requests = 1`))
		wantStatus(t, p.Get("/x"), 200)
		wantStatus(t, p.Get("/x"), 200)
	},
	"limit.max_requests": func(t *testing.T, x *town) {
		p := x.start(t, limitedBy(`max_requests = 2`))
		for _, status := range []int{200, 200, 429} {
			wantStatus(t, p.Get("/x"), status)
		}
		p.WantMetric(1, "pace_requests_total", "pace_outcome", "rate_limited", "http_route", "/")
	},
	"limit.window_seconds": func(t *testing.T, x *town) {
		p := x.start(t, limitedBy(`max_requests = 1
			window_seconds = 1`))
		wantStatus(t, p.Get("/x"), 200)
		pacetest.Eventually(t, func() error {
			if p.Get("/x").Status != 200 {
				return errRejected
			}
			return nil
		})
	},
	"limit.key_extractor": func(t *testing.T, x *town) {
		p := x.start(t, "server.trusted_proxies = [\"127.0.0.0/8\"]\n"+limitedBy(`max_requests = 1
			key_extractor = "client_ip"`))
		wantStatus(t, p.Get("/x", "X-Forwarded-For", "10.0.0.1"), 200)
		wantStatus(t, p.Get("/x", "X-Forwarded-For", "10.0.0.1"), 429)
		wantStatus(t, p.Get("/x", "X-Forwarded-For", "10.0.0.2"), 200)
	},
	"limit.max_keys": func(t *testing.T, x *town) {
		p := x.start(t, "server.trusted_proxies = [\"127.0.0.0/8\"]\n"+limitedBy(`max_requests = 1
			max_keys = 1`))
		for i := range 50 {
			wantStatus(t, p.Get("/x", "X-Forwarded-For", fmt.Sprint("10.0.0.", i)), 200)
		}
		pacetest.Eventually(t, func() error {
			if keys := p.Metrics().Sum("pace_limiter_keys"); keys > 40 {
				return notYet("%v keys are remembered", keys)
			}
			return nil
		})
	},
}

// town is the set of backends of one test, and their upstreams.
type town struct {
	a, b, slow *pacetest.Backend
	released   chan struct{} // when it is closed, slow responds to /held
}

func newTown(t *testing.T) *town {
	released := make(chan struct{})
	return &town{
		released: released,
		a:        pacetest.NewBackend(t, saying("a")),
		b:        pacetest.NewBackend(t, saying("b")),
		slow: pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{
			"/":     pacetest.Fine,
			"/hang": pacetest.Hang,
			"/stall": func(x *pacetest.Exchange) {
				x.Write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
				x.AwaitClose()
			},
			"/long":  pacetest.With(200, "X-Long: "+strings.Repeat("x", 2000)+"\r\n", ""),
			"/later": pacetest.Later(200*time.Millisecond, pacetest.Fine),
			"/held":  pacetest.Gated(released, pacetest.Fine),
			"/failures": func(x *pacetest.Exchange) {
				if strings.HasSuffix(x.Target, "?fail") {
					x.Close()
					return
				}
				pacetest.Fine(x)
			},
		})),
	}
}

// saying responds with the backend's name.
func saying(name string) pacetest.Behaviour {
	return func(x *pacetest.Exchange) { pacetest.With(200, "X-Rule: old\r\n", name)(x) }
}

// start runs pace with this configuration and the upstreams a, b and slow.
func (x *town) start(t *testing.T, text string, env ...string) *pacetest.Pace {
	t.Helper()
	return pacetest.StartText(t, text+fmt.Sprintf(`
		[upstream.a]
		backends = ["http://%s"]
		[upstream.b]
		backends = ["http://%s"]
		[upstream.slow]
		backends = ["http://%s"]
	`, x.a.Address(), x.b.Address(), x.slow.Address()), env...)
}

func (x *town) slowUpstream(name, keys string) string {
	return fmt.Sprintf("\n[upstream.%s]\nbackends = [\"http://%s\"]\n%s\n", name, x.slow.Address(), keys)
}

// wantFrom fails t unless the response is the backend's of that name.
func (x *town) wantFrom(t *testing.T, got pacetest.Response, name string) {
	t.Helper()
	if wantStatus(t, got, 200); got.Body != name {
		t.Errorf("%s responded, want %s", got.Body, name)
	}
}

func route(match, keys string) string {
	return fmt.Sprintf("\n[[route]]\nmatch = %q\n%s\n", match, keys)
}

func limitedBy(keys string) string {
	return route("/", `upstream = "a"
		limits = ["some"]`) + "\n[limit.some]\n" + keys
}

// requestHeader is the effect of a rule on the field X-Rule, which the client sends as "old".
func requestHeader(rule string, want ...string) func(*testing.T, *town) {
	return func(t *testing.T, x *town) {
		p := x.start(t, route("/", "upstream = \"a\"\nrequest_headers = { "+rule+" }"))
		wantStatus(t, p.Get("/x", "X-Rule", "old"), 200)
		if got := x.a.WantGot(1, "/x")[0].Header.Values("X-Rule"); !slices.Equal(got, want) {
			t.Errorf("the backend got %q, want %q", got, want)
		}
	}
}

// responseHeader is the same, of what the backend sends.
func responseHeader(rule string, want ...string) func(*testing.T, *town) {
	return func(t *testing.T, x *town) {
		p := x.start(t, route("/", "upstream = \"a\"\nresponse_headers = { "+rule+" }"))
		got := p.Get("/x")
		if wantStatus(t, got, 200); !slices.Equal(got.Header.Values("X-Rule"), want) {
			t.Errorf("the client got %q, want %q", got.Header.Values("X-Rule"), want)
		}
	}
}

func TestLongForm_EveryKeyHasItsEffect(t *testing.T) {
	t.Parallel()
	others := otherTests(t)
	for _, key := range longFormKeys(t) {
		effect, here := effects[key]
		if !here {
			leaf := key[strings.LastIndexByte(key, '.')+1:]
			if !regexp.MustCompile(`\b` + leaf + `("| = )`).MatchString(others) {
				t.Errorf("no test holds %s to its effect", key)
			}
			continue
		}
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			effect(t, newTown(t))
		})
	}
}

// otherTests are the sources of the package's other tests: some keys have a file of their own.
func otherTests(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var sources strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if file != "long_form_keys_test.go" {
			sources.Write(text)
		}
	}
	return sources.String()
}

// longFormKeys are the keys of the schema that pace prints.
func longFormKeys(t *testing.T) (keys []string) {
	t.Helper()
	out := pacetest.Exec(t, t.TempDir(), nil, "check", "--schema").Stdout
	var schema object
	if err := json.Unmarshal([]byte(out), &schema); err != nil {
		t.Fatal(err)
	}
	keys = schema.Properties["route"].Items.keys("route")
	for _, table := range []string{"upstream", "limit"} {
		var named object
		if err := json.Unmarshal(schema.Properties[table].Additional, &named); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, named.keys(table)...)
	}
	if len(keys) < 40 {
		t.Fatalf("only %d keys in the schema: %v", len(keys), keys)
	}
	return keys
}

// object is what a schema says of a table.
type object struct {
	Type       string
	Properties map[string]*object
	Items      *object
	Additional json.RawMessage `json:"additionalProperties"`
}

// keys are those of a table and of the tables inside it.
func (o *object) keys(path string) (all []string) {
	for name, p := range o.Properties {
		if p.Properties != nil {
			all = append(all, p.keys(path+"."+name)...)
		} else {
			all = append(all, path+"."+name)
		}
	}
	slices.Sort(all)
	return all
}

// wantOneAtOnce wants that, with this limit at 1, a second request is rejected while the first is in flight.
func wantOneAtOnce(key string) func(*testing.T, *town) {
	return func(t *testing.T, x *town) {
		p := x.start(t, route("/", `upstream = "own"`)+x.slowUpstream("own", key+" = 1"))
		done := make(chan pacetest.Response)
		go func() { done <- p.Get("/held") }()
		p.WantMetric(1, "pace_backend_active_requests", "pace_upstream", "own")
		wantStatus(t, p.Get("/fine"), 503)
		close(x.released)
		wantStatus(t, <-done, 200)
		wantStatus(t, p.Get("/fine"), 200)
	}
}
