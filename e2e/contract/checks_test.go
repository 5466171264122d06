package contract

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

// checked is the configuration of backends that are checked, often; keys are those of the table, as TOML.
func checked(keys string, backends ...interface{ Address() string }) pacetest.Config {
	if !strings.Contains(keys, "interval") {
		keys += `, interval = "40ms"`
	}
	return set(upstreams(backends...), "upstreams", "health", asWritten("{ "+strings.TrimPrefix(keys, ", ")+" }"))
}

// switched serves as the behaviour that was set last.
type switched struct {
	atomic.Pointer[pacetest.Behaviour]
}

func newSwitched(b pacetest.Behaviour) *switched {
	s := &switched{}
	s.to(b)
	return s
}

func (s *switched) to(b pacetest.Behaviour)    { s.Store(&b) }
func (s *switched) serve(x *pacetest.Exchange) { (*s.Load())(x) }

// checkedBackend serves checks of /healthz as the switch says, and all other requests well.
func checkedBackend(t *testing.T, checks *switched) *pacetest.Backend {
	t.Helper()
	return pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{
		"/healthz": checks.serve,
		"/*":       checks.serve, // HTTP/2, which begins with PRI *
		"/":        pacetest.Fine,
	}))
}

// wantState waits until the API shows a backend in a state, and returns what it shows.
func wantState(t *testing.T, p *pacetest.Pace, address, state string) map[string]any {
	t.Helper()
	var shown map[string]any
	pacetest.Eventually(t, func() error {
		_, body := callAPI(t, p, "", "GET", "/api/v1/upstreams", "")
		for _, u := range body["upstreams"].([]any) {
			for _, b := range u.(map[string]any)["backends"].([]any) {
				if shown = b.(map[string]any); shown["address"] == address && shown["state"] == state {
					return nil
				}
			}
		}
		return notYet("%s is not %s: %v", address, state, body)
	})
	return shown
}

// wantLastCheck waits until the API shows a backend in a state, and fails t unless its last check ended so. why is a
// part of the error; "": it has none.
func wantLastCheck(t *testing.T, p *pacetest.Pace, address, state string, passed bool, status int, why string) {
	t.Helper()
	check, ok := wantState(t, p, address, state)["last_check"].(map[string]any)
	if !ok {
		t.Fatalf("%s has no last check", address)
	}
	said := fmt.Sprint(check["error"])
	if check["passed"] != passed || check["status"] != float64(status) || !strings.Contains(said, why) || why == "" && said != "" {
		t.Errorf("the last check of %s is %v, want passed %t, status %d, %q", address, check, passed, status, why)
	}
	at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(check["at"]))
	if took, ok := check["duration_ms"].(float64); err != nil || time.Since(at) > time.Minute || !ok || took < 0 {
		t.Errorf("the last check of %s is %v", address, check)
	}
}

// stateLines are the log's lines about changes of a backend's state: "from > to by: reason".
func stateLines(p *pacetest.Pace, address string) (lines []string) {
	for _, l := range p.Lines("backend state") {
		if l.Text("backend") == address {
			lines = append(lines, fmt.Sprintf("%s %s > %s by %s: %s", l.Text("upstream"), l.Text("from"), l.Text("to"), l.Text("by"), l.Text("reason")))
		}
	}
	return lines
}

func wantStateLines(t *testing.T, p *pacetest.Pace, address string, want ...string) {
	t.Helper()
	pacetest.Eventually(t, func() error {
		if got := stateLines(p, address); !slices.Equal(got, want) {
			return notYet("the log says of %s\n%s\nwant\n%s", address, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		return nil
	})
}

// TestHealth_FallAndRise: a backend whose checks fail gets no requests, and it gets some again once they pass. Its
// own count is the metric's, and no check is in a metric, a line or a span of requests.
func TestHealth_FallAndRise(t *testing.T) {
	t.Parallel()
	var failed atomic.Int64
	checks := newSwitched(pacetest.Fine)
	ill, well := checkedBackend(t, checks), checkedBackend(t, newSwitched(pacetest.Fine))
	p, spans := pacetest.StartTraced(t, checked(`path = "/healthz?deep=1", host = "app.example"`, ill, well))
	sent := 0
	get := func(n int) {
		for range n {
			wantStatus(t, p.Get("/x"), 200)
		}
		sent += n
	}
	get(4)
	pacetest.Eventually(t, func() error {
		if wantState(t, p, ill.Address(), "healthy")["last_check"] == nil {
			return notYet("the backend was not checked")
		}
		return nil
	})
	wantLastCheck(t, p, ill.Address(), "healthy", true, 200, "")

	checks.to(func(x *pacetest.Exchange) {
		failed.Add(1)
		pacetest.Status(503, "no")(x)
	})
	wantLastCheck(t, p, ill.Address(), "unhealthy", false, 503, "status 503, expected 200-399")
	p.WantMetric(0, "pace_backend_up", "server_port", fmt.Sprint(ill.Port()))
	before := len(ill.Got("/x"))
	get(10)
	if got := len(ill.Got("/x")); got != before {
		t.Errorf("an unhealthy backend got %d requests", got-before)
	}

	checks.to(pacetest.Fine)
	wantState(t, p, ill.Address(), "healthy")
	get(4)
	if got := len(ill.Got("/x")); got <= before {
		t.Error("a backend that is healthy again gets no requests")
	}
	wantStateLines(t, p, ill.Address(),
		"default healthy > unhealthy by check: 3 checks in a row failed, the last one: status 503, expected 200-399",
		"default unhealthy > healthy by check: 2 checks in a row passed")
	wantStateLines(t, p, well.Address())
	p.WantMetric(1, "pace_backend_up", "server_port", fmt.Sprint(ill.Port()))
	p.WantMetric(1, "pace_backend_transitions_total", "server_port", fmt.Sprint(ill.Port()), "to", "unhealthy")
	p.WantMetric(1, "pace_backend_transitions_total", "server_port", fmt.Sprint(ill.Port()), "to", "healthy")

	const path = "/healthz?deep=1"
	p.WantMetric(float64(failed.Load()), "pace_health_checks_total", "pace_upstream", "default", "result", "failed")
	pacetest.Eventually(t, func() error { // another check may have begun since the scrape
		passed := int(p.Metrics().Sum("pace_health_checks_total", "pace_upstream", "default", "result", "passed"))
		if served := len(ill.Got(path)) + len(well.Got(path)) - int(failed.Load()); passed > served || passed < served-2 {
			return notYet("the metric says that %d checks passed, the backends served %d", passed, served)
		}
		return nil
	})
	for _, r := range ill.Got(path) {
		if want := "GET " + path + " HTTP/1.1\r\nHost: app.example\r\nUser-Agent: pace-health-check\r\nAccept: */*"; r.Head != want || r.Nth != 1 {
			t.Errorf("request %d of a connection was\n%s\nwant, as the first,\n%s", r.Nth, r.Head, want)
		}
	}
	p.WantMetric(float64(sent), "http_server_request_duration_seconds_count")
	p.WantMetric(float64(sent), "http_client_request_duration_seconds_count")
	if lines := len(p.AwaitLines(sent, "request")); lines != sent {
		t.Errorf("%d access lines of %d requests", lines, sent)
	}
	p.Stop()
	if server, client := pacetest.Count(spans, otlp.Server), pacetest.Count(spans, otlp.Client); server != sent || client != sent {
		t.Errorf("%d SERVER and %d CLIENT spans of %d requests", server, client, sent)
	}
}

// TestHealth_SaysWhyACheckFails, in log and API, for each way to fail.
func TestHealth_SaysWhyACheckFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, keys string
		checks     pacetest.Behaviour
		status     int
		why        string
	}{
		{"a status that is not expected", `path = "/healthz", status = "204, 300-399"`, pacetest.Fine, 200, "status 200, expected 204, 300-399"},
		{"a redirect, which is not followed", `path = "/healthz", status = "200"`, pacetest.With(302, "Location: /x\r\n", ""), 302, "status 302, expected 200"},
		{"no response", `path = "/healthz"`, (*pacetest.Exchange).AwaitClose, 0, "no whole response within 1s"},
		{"a header that is too large", `path = "/healthz"`, pacetest.With(200, "X: "+strings.Repeat("x", 70<<10)+"\r\n", ""), 0, "malformed response: header is too large"},
		{"no HTTP", `path = "/healthz"`, pacetest.Raw("220 mail\r\n{\"msg\":\"forged\"}\r\n"), 0, "malformed response: not HTTP/1"},
		{"a connection that is reset", `path = "/healthz"`, (*pacetest.Exchange).Reset, 0, "connection reset by peer"},
		{"no HTTP/2", `type = "grpc"`, func(x *pacetest.Exchange) {
			x.Write("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
			x.AwaitClose()
		}, 0, "the backend does not speak HTTP/2"},
		{"HTTP/2 that begins wrong", `type = "grpc"`, func(x *pacetest.Exchange) {
			x.Write("%s", "\x00\x00\x00\x00\x00\x00\x00\x00\x01") // DATA before SETTINGS
			x.AwaitClose()
		}, 0, "the backend does not speak HTTP/2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ill, well := checkedBackend(t, newSwitched(tt.checks)), pacetest.NewBackend(t, pacetest.Fine)
			p := pacetest.Start(t, checked(tt.keys+", fall = 2", ill, well))
			wantLastCheck(t, p, ill.Address(), "unhealthy", false, tt.status, tt.why)
			pacetest.Eventually(t, func() error {
				if lines := stateLines(p, ill.Address()); len(lines) != 1 || !strings.Contains(lines[0], "by check: 2 checks in a row failed, the last one: ") || !strings.HasSuffix(lines[0], tt.why) {
					return notYet("the log says %q", lines)
				}
				return nil
			})
			if strings.Contains(p.Output(), "forged") {
				t.Error("what the backend sent is in the log")
			}
			if n := len(ill.Got("/x")); n != 0 {
				t.Errorf("a redirect was followed %d times", n)
			}
		})
	}
}

// TestHealth_TCPNeedsAConnection, and no more: a backend that hangs passes.
func TestHealth_TCPNeedsAConnection(t *testing.T) {
	t.Parallel()
	reserved := pacetest.NewClosed(t) // so that nobody else gets the port while the backend is gone
	b, well := pacetest.NewBackendAt(t, reserved.Address(), (*pacetest.Exchange).AwaitClose), pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, checked(`type = "tcp", fall = 1, rise = 3`, b, well))
	p.WantMetric(0, "pace_health_checks_total", "result", "failed")
	pacetest.Eventually(t, func() error {
		if b.Accepted() < 3 {
			return notYet("%d checks", b.Accepted())
		}
		return nil
	})
	wantState(t, p, b.Address(), "healthy")
	if n := len(b.Requests()); n != 0 {
		t.Errorf("the backend got %d requests", n)
	}
	b.Kill()
	wantLastCheck(t, p, b.Address(), "unhealthy", false, 0, "connection refused")
	again := pacetest.NewBackendAt(t, b.Address(), pacetest.Fine)
	wantLastCheck(t, p, b.Address(), "healthy", true, 0, "")
	for range 2 { // one for each backend; connections are accepted in the order in which they came
		wantStatus(t, p.Get("/x"), 200)
	}
	if n := again.WantGot(1, "/x")[0].Conn; n < 4 {
		t.Errorf("it was healthy after %d checks", n-1)
	}
	wantStateLines(t, p, b.Address(),
		"default healthy > unhealthy by check: a check failed: dial tcp "+b.Address()+": connection refused",
		"default unhealthy > healthy by check: 3 checks in a row passed")
}

// grpcBackend is a real server of gRPC with its health service.
type grpcBackend struct {
	*health.Server
	address string
	got     chan string // method and user agent of each call
}

func newGRPCBackend(t *testing.T) *grpcBackend {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &grpcBackend{Server: health.NewServer(), address: l.Addr().String(), got: make(chan string, 1000)}
	s := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		select {
		case b.got <- fmt.Sprint(info.FullMethod, " ", md.Get("user-agent"), " ", md.Get(":authority")):
		default:
		}
		return next(ctx, req)
	}))
	healthpb.RegisterHealthServer(s, b)
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return b
}

func (b *grpcBackend) Address() string { return b.address }

func TestHealth_GRPCNeedsServing(t *testing.T) {
	t.Parallel()
	b := newGRPCBackend(t)
	p := pacetest.Start(t, checked(`type = "grpc"`, b))
	if got, want := <-b.got, "/grpc.health.v1.Health/Check [pace-health-check] ["+b.Address()+"]"; got != want {
		t.Errorf("the backend got %s, want %s", got, want)
	}
	wantState(t, p, b.Address(), "healthy")
	b.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	wantLastCheck(t, p, b.Address(), "unhealthy", false, 0, "the backend says NOT_SERVING")
	b.SetServingStatus("", healthpb.HealthCheckResponse_SERVING)
	wantLastCheck(t, p, b.Address(), "healthy", true, 0, "")
	wantStateLines(t, p, b.Address(),
		"default healthy > unhealthy by check: 3 checks in a row failed, the last one: the backend says NOT_SERVING",
		"default unhealthy > healthy by check: 2 checks in a row passed")
	p.WantMetric(0, "http_client_request_duration_seconds_count")
}

// TestHealth_PortIsCheckedElsewhere: requests go to the backend's port, checks to the other one.
func TestHealth_PortIsCheckedElsewhere(t *testing.T) {
	t.Parallel()
	checks := newSwitched(pacetest.Fine)
	b, sidecar := pacetest.NewBackend(t, pacetest.Fine), checkedBackend(t, checks)
	p := pacetest.Start(t, checked(fmt.Sprintf(`path = "/healthz", port = %d`, sidecar.Port()), b))
	wantStatus(t, p.Get("/x"), 200)
	checks.to(pacetest.Status(500, ""))
	wantLastCheck(t, p, b.Address(), "unhealthy", false, 500, "status 500, expected 200-399")
	for _, r := range sidecar.Got("/healthz") {
		if r.Host != sidecar.Address() {
			t.Errorf("a check names the host %s, want %s", r.Host, sidecar.Address())
		}
	}
	if got, other := len(b.Requests()), len(sidecar.Got("/x")); got != 1 || other != 0 {
		t.Errorf("the backend got %d requests, the one that is checked %d; want 1 and 0", got, other)
	}
}

func TestHealth_UnixSocketIsChecked(t *testing.T) {
	t.Parallel()
	b := newUnixBackend(t)
	cfg := func(keys string) pacetest.Config {
		c := pacetest.Config{"upstreams": pacetest.Table{"backends": []string{"unix:" + b.path}}}
		return set(c, "upstreams", "health", asWritten(`{ interval = "40ms", path = "/healthz", `+keys+` }`))
	}
	p := pacetest.Start(t, cfg(`status = "200"`))
	pacetest.Eventually(t, func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		if !slices.Contains(b.got, "GET /healthz localhost ") {
			return notYet("the backend got %q", b.got)
		}
		return nil
	})
	p.Reload(cfg(`status = "204"`))
	wantLastCheck(t, p, b.path, "unhealthy", false, 200, "status 200, expected 204")
	p.WantMetric(0, "pace_backend_up", "server_address", b.path)
}

// TestHealth_OverReloads: what has not changed goes on, with its count of failed checks and its state. Other checks
// take the place of those before, and without the table there are none.
func TestHealth_OverReloads(t *testing.T) {
	t.Parallel()
	ill := checkedBackend(t, newSwitched(pacetest.Status(500, "")))
	well, comes := pacetest.NewBackend(t, pacetest.Fine), pacetest.NewBackend(t, pacetest.Fine)
	const keys = `path = "/healthz"`
	p := pacetest.Start(t, checked(keys, ill, well))
	wantState(t, p, ill.Address(), "unhealthy")

	p.Reload(set(checked(keys, ill, well, comes), "upstreams", "max_retries", 2))
	wantState(t, p, ill.Address(), "unhealthy")
	wantState(t, p, comes.Address(), "healthy")
	first := len(comes.Got("/healthz"))
	pacetest.Eventually(t, func() error {
		if now := len(comes.Got("/healthz")); now == first {
			return notYet("a backend that has come is not checked")
		}
		return nil
	})

	p.Reload(checked(`path = "/other"`, ill, well))
	wantState(t, p, ill.Address(), "healthy") // it serves /other well
	pacetest.Eventually(t, func() error {
		if len(well.Got("/other")) == 0 {
			return notYet("no check of the new path")
		}
		return nil
	})
	n, gone := len(well.Got("/healthz")), len(comes.Requests())

	p.Reload(upstreams(ill, well))
	wantState(t, p, ill.Address(), "healthy")
	old := len(well.Got("/other"))
	time.Sleep(150 * time.Millisecond)               // longer than three intervals
	if now := len(well.Got("/healthz")); now > n+1 { // one may have been in flight
		t.Errorf("%d checks of a path that is checked no more", now-n)
	}
	if now := len(comes.Requests()); now > gone+1 {
		t.Errorf("%d checks of a backend that is gone", now-gone)
	}
	if now := len(well.Got("/other")); now > old+1 {
		t.Errorf("%d checks without the table", now-old)
	}
	wantStateLines(t, p, ill.Address(),
		"default healthy > unhealthy by check: 3 checks in a row failed, the last one: status 500, expected 200-399",
		"default unhealthy > healthy by check: 2 checks in a row passed")
}

// TestHealth_WithoutTheTableNobodyIsUnhealthy: a reload that ends the checks lets in what they kept out.
func TestHealth_WithoutTheTableNobodyIsUnhealthy(t *testing.T) {
	t.Parallel()
	ill, well := checkedBackend(t, newSwitched(pacetest.Status(500, ""))), pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, checked(`path = "/healthz"`, ill, well))
	wantState(t, p, ill.Address(), "unhealthy")
	p.Reload(upstreams(ill, well))
	wantState(t, p, ill.Address(), "healthy")
	for range 4 {
		wantStatus(t, p.Get("/x"), 200)
	}
	if n := len(ill.Got("/x")); n != 2 {
		t.Errorf("it got %d of 4 requests", n)
	}
	wantStateLines(t, p, ill.Address(),
		"default healthy > unhealthy by check: 3 checks in a row failed, the last one: status 500, expected 200-399",
		"default unhealthy > healthy by operator: it is not checked any more")
}

// TestHealth_ACheckIsTheTrialAfterAnEjection: it lets the backend in again, and no request has to try.
func TestHealth_ACheckIsTheTrialAfterAnEjection(t *testing.T) {
	t.Parallel()
	ill := pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{"/x": (*pacetest.Exchange).Reset, "/": pacetest.Fine}))
	well := pacetest.NewBackend(t, pacetest.Fine)
	cfg := set(checked(`path = "/healthz"`, ill, well), "upstreams", "ejection", asWritten(`{ consecutive_failures = 1, base = "300ms" }`))
	p := pacetest.Start(t, cfg)
	for len(ill.Got("/x")) == 0 {
		wantStatus(t, p.Get("/x"), 200)
	}
	pacetest.Eventually(t, func() error {
		lines := stateLines(p, ill.Address())
		if len(lines) < 2 {
			return notYet("the log says %q", lines)
		}
		if !strings.HasPrefix(lines[0], "default healthy > ejected by requests: ") || !strings.HasPrefix(lines[1], "default ejected > healthy by check: the check passed, ") {
			t.Fatalf("the log says %q", lines)
		}
		return nil
	})
	if n := len(ill.Got("/x")); n != 1 {
		t.Errorf("the backend got %d requests, want the one that failed", n)
	}
}
