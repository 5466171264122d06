package dashboards

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pace/e2e/pacetest"
	"pace/e2e/parts"
)

// town is several paces, called houses, and a Prometheus that scrapes all of them as one job. There are
// several because some outcomes need settings or backends that would disturb the other outcomes.
type town struct {
	t      *testing.T
	houses map[string]*pacetest.Pace
	prom   *parts.Prom
	held   []*pacetest.Wire // kept open: a request that waits, a stream
	late   []*pacetest.Wire // to the house that drains: each has sent half a header
	ca     *pacetest.CA     // of the certificate of the house that serves TLS
	seal   string           // the file with its key
}

// service is the service name of all houses in Jaeger.
const service = "pace-town"

// lateComers is how many requests arrive while a pace drains.
const lateComers = 40

// settle starts the town. Its spans go to collector, the host:port of an OTLP receiver.
func settle(t *testing.T, collector string) *town {
	t.Helper()
	w := &town{t: t, houses: map[string]*pacetest.Pace{}}
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold) })
	backend := func() *pacetest.Backend { return pacetest.NewBackend(t, behaviour(hold)) }
	for name, cfg := range map[string]pacetest.Config{
		"main": {"upstreams": pacetest.Upstreams(backend(), backend()).With("response_timeout", "1500ms"),
			"server": {"max_body_bytes": 1000, "body_timeout": "200ms"}},
		"limited": {"upstreams": pacetest.Upstreams(backend()), "rate_limit": {"max_requests": 2, "window_seconds": 3600}},
		"crowded": {"upstreams": pacetest.Upstreams(backend()), "server": {"trusted_proxies": []string{"127.0.0.0/8"}},
			"rate_limit": {"max_requests": 2, "window_seconds": 3600, "max_keys": 1}},
		"lone":  {"upstreams": pacetest.Upstreams(backend()).With("health", pacetest.Table{"type": "tcp", "interval": "1s"})},
		"spent": {"upstreams": pacetest.Upstreams(pacetest.NewClosed(t), pacetest.NewClosed(t)), "upstreams.retry": {"budget": 0.0}},
		"shaky": {"upstreams": pacetest.Upstreams(backend(), backend()), "upstreams.ejection": {"consecutive_failures": 1, "base": "1ms", "max": "1ms"}},
		"half":  {"upstreams": pacetest.Upstreams(pacetest.NewClosed(t), backend())},
		"dead": {"upstreams": pacetest.Upstreams(pacetest.NewClosed(t), pacetest.NewClosed(t)), "tracing": {"sample_ratio": 0.0}, // its traces are kept for their errors
			"upstreams.ejection": {"max_share": 1.0},                  // then none may be picked, and both are
			"tracing.keep":       {"per_second": 1, "per_reason": 1}}, // but not all of them
		"routed": pacetest.Config{"upstreams": pacetest.Upstreams(backend()), "upstream.shadow": pacetest.Upstreams(backend())}.WithRoutes(
			pacetest.Table{"match": "POST /copied", "upstream": "default", "mirror": "shadow"},
			pacetest.Table{"match": "/forbidden", "upstream": "default", "deny": []string{"0.0.0.0/0"}},
			pacetest.Table{"match": "GET /slow", "upstream": "default", "timeout": "100ms"},
			pacetest.Table{"match": "GET /stall", "upstream": "default", "body_timeout": "100ms"}),
		"far":    {"upstreams": pacetest.Upstreams(pacetest.NewBlackhole(t), pacetest.NewBlackhole(t)).With("connect_timeout", "150ms")},
		"lost":   {"upstreams": pacetest.Upstreams(noSuchName{})},
		"forged": {"upstreams": pacetest.Upstreams(pacetest.NewTLSBackend(t, pacetest.NewCA(t).Server("127.0.0.1"), pacetest.Fine))}, // pace does not know its CA
		"poor":   {"upstreams": pacetest.Upstreams(backend())},
		"hasty":  {"upstreams": pacetest.Upstreams(backend()), "server": {"drain_timeout": "100ms"}},
		"ending": {"upstreams": pacetest.Upstreams(backend()).With("response_timeout", "10m"), "server": {"drain_timeout": "10m", "read_header_timeout": "10m"}},
	} {
		w.houses[name] = pacetest.Start(t, cfg, "OTEL_SERVICE_NAME="+service, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+collector, "OTEL_BSP_SCHEDULE_DELAY=50")
	}
	w.ca = pacetest.NewCA(t)
	certificate := w.ca.Issue("sealed.test")
	w.seal = certificate.Key
	w.houses["sealed"] = pacetest.StartUnready(t, pacetest.Config{"upstreams": pacetest.Upstreams(backend()),
		"listener.a": {"listen": "127.0.0.1:0", "tls": true}, "certificate[0]": certificate.Table(),
		"acme": { // the authority is down, so it never gets ready
			"domains": []string{"unissued.test"}, "directory": "https://" + pacetest.NewClosed(t).Address(), "accept_terms": true,
			"storage": filepath.Join(t.TempDir(), "acme")}})
	w.houses["mute"] = startMute(t, pacetest.NewClosed(t).Address(), pacetest.NewClosed(t).Address(), backend())
	var targets []string
	for name, h := range w.houses {
		if name != "hasty" { // the test stops it soon
			targets = append(targets, h.Admin)
		}
	}
	w.prom = parts.Prometheus(t, targets...)
	w.occupy()
	w.drain()
	w.starve()
	w.cutShort()
	return w
}

// noSuchName is a backend whose name does not resolve (RFC 2606 §2).
type noSuchName struct{}

func (noSuchName) Address() string { return "nowhere.invalid:80" }

// starve makes a pace run out of file descriptors during one request.
func (w *town) starve() {
	p := w.houses["poor"]
	c := p.Wire()
	defer c.Close()
	p.WantMetric(1, "pace_connections")
	before := unix.Rlimit{}
	if err := unix.Prlimit(p.PID, unix.RLIMIT_NOFILE, nil, &before); err != nil {
		w.t.Fatal(err)
	}
	few := unix.Rlimit{Cur: 3, Max: before.Max} // open descriptors stay open
	if err := unix.Prlimit(p.PID, unix.RLIMIT_NOFILE, &few, nil); err != nil {
		w.t.Fatal(err)
	}
	c.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	c.Response("GET")
	if err := unix.Prlimit(p.PID, unix.RLIMIT_NOFILE, &before, nil); err != nil {
		w.t.Fatal(err)
	}
}

// cutShort stops a pace that does not wait for its requests. Its spans show that.
func (w *town) cutShort() {
	p := w.houses["hasty"]
	w.hold(p)
	p.Signal(syscall.SIGTERM)
	p.Wait()
}

// behaviour responds by path. It holds some responses until hold is closed.
func behaviour(hold <-chan struct{}) pacetest.Behaviour {
	return pacetest.ByPath(map[string]pacetest.Behaviour{
		"/":        pacetest.Fine,
		"/missing": pacetest.Status(404, "no"),
		"/error":   pacetest.Status(500, "no"),
		"/slow":    pacetest.Later(1200*time.Millisecond, pacetest.Fine),
		"/hang":    pacetest.Hang,
		"/reset":   pacetest.ResetBefore,
		"/garbage": pacetest.Garbage,
		"/cut":     pacetest.CutLength,
		"/stall": func(x *pacetest.Exchange) {
			x.Write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
			x.AwaitClose()
		},
		"/endless":   pacetest.Endless,
		"/upgrade":   pacetest.UpgradeEcho,
		"/hold":      pacetest.Gated(hold, pacetest.Fine),
		"/once":      pacetest.CloseReused,
		"/town.Down": grpcStatus(14), // UNAVAILABLE
		"/town.Lost": grpcStatus(5),  // NOT_FOUND
	})
}

// grpcStatus ends a call of gRPC with a code, without a message.
func grpcStatus(code int) pacetest.Behaviour {
	return pacetest.With(200, fmt.Sprintf("Content-Type: application/grpc\r\nGrpc-Status: %d\r\n", code), "")
}

// startMute starts a pace that loses all its telemetry: no collector takes what it exports, and its log is full.
func startMute(t *testing.T, proxy, admin string, b *pacetest.Backend) *pacetest.Pace {
	t.Helper()
	cfg := pacetest.Config{
		"server": {"listen": proxy}, "admin": {"listen": admin}, "log": {"format": "json", "file": "/dev/full"},
		"upstreams": pacetest.Upstreams(b),
	}
	file := filepath.Join(t.TempDir(), "proxy.toml")
	if err := os.WriteFile(file, []byte(cfg.TOML()), 0o600); err != nil {
		t.Fatal(err)
	}
	nobody := pacetest.NewClosed(t).Address()
	// Its log cannot report the addresses, so the test chooses them.
	p := pacetest.Launch(t, []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + nobody, "OTEL_METRICS_EXPORTER=otlp", "OTEL_LOGS_EXPORTER=otlp",
		"OTEL_BSP_SCHEDULE_DELAY=50", "OTEL_BSP_EXPORT_TIMEOUT=100", "OTEL_BLRP_SCHEDULE_DELAY=50", "OTEL_BLRP_EXPORT_TIMEOUT=100",
		"OTEL_METRIC_EXPORT_INTERVAL=200", "OTEL_METRIC_EXPORT_TIMEOUT=100",
	}, "run", "--config", file)
	p.Proxy, p.Admin = proxy, admin
	p.AwaitReady()
	return p
}

// restartMute kills the mute pace, and starts it again at the same addresses.
func (w *town) restartMute() {
	p := w.houses["mute"]
	p.Kill()
	w.houses["mute"] = startMute(w.t, p.Proxy, p.Admin, pacetest.NewBackend(w.t, pacetest.Fine))
}

// occupy leaves a request waiting and a stream open, for the gauges.
func (w *town) occupy() {
	main := w.houses["main"]
	w.hold(main)
	w.held = append(w.held, upgrade(w.t, main))
}

// hold sends a request that gets no response, and waits until it is the pace's only active one.
func (w *town) hold(p *pacetest.Pace) {
	c := p.Wire()
	c.Send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
	w.held = append(w.held, c)
	pacetest.Eventually(w.t, func() error {
		if n := p.Metrics().Sum("http_server_active_requests"); n != 1 {
			return fmt.Errorf("http_server_active_requests = %v", n)
		}
		return nil
	})
}

// upgrade switches protocols and receives the echo of one message; the stream stays open.
func upgrade(t *testing.T, p *pacetest.Pace) *pacetest.Wire {
	t.Helper()
	c := p.Wire()
	c.Send("GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	if resp := c.Head("GET"); resp.StatusCode != 101 {
		t.Errorf("upgrade: status %d", resp.StatusCode)
	}
	c.Send("ping")
	io.ReadFull(c.R, make([]byte, 4))
	return c
}

// drain sends TERM to a pace that keeps draining, because a request waits.
func (w *town) drain() {
	p := w.houses["ending"]
	w.hold(p)
	for range lateComers {
		c := p.Wire()
		c.SetDeadline(time.Time{}) // it waits for its round
		c.Send("GET / HTTP/1.1\r\nHost: x\r\n")
		w.late = append(w.late, c)
	}
	pacetest.Eventually(w.t, func() error {
		if n := p.Metrics().Sum("pace_connections"); n < lateComers+1 {
			return fmt.Errorf("pace_connections = %v", n)
		}
		return nil
	})
	p.Signal(syscall.SIGTERM)
	p.AwaitRejecting()
}

// busy runs one round of everything that can happen to a request, concurrently.
func (w *town) busy() {
	var wait sync.WaitGroup
	defer wait.Wait()
	for _, act := range []struct {
		times int
		do    func()
	}{
		{20, w.get("main", "/")},
		{220, w.get("main", "/missing")},
		{8, w.get("main", "/error")},
		{3, w.get("main", "/slow")}, {4, w.get("main", "/slow")}, // more than 1 % of all, for the alert about p99
		{1, w.get("main", "/hang")},
		{4, w.get("main", "/reset")},
		{3, w.get("main", "/garbage")},
		{3, w.get("main", "/cut")},
		{3, func() { w.houses["main"].Send("POST", "/", strings.Repeat("x", 2000)) }},
		{2, w.raw("main", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello")}, // stalls
		{2, w.raw("main", "CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n")},
		{2, w.raw("main", "this is not HTTP\r\n\r\n")},
		{2, w.leave("/slow", 0)},
		{2, w.leave("/endless", 1<<16)},
		{2, func() { upgrade(w.t, w.houses["main"]).Leave() }},
		{60, w.get("limited", "/")},
		{3, w.raw("crowded", "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n")},
		{3, w.raw("crowded", "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 10.0.0.2\r\n\r\n")},
		{8, w.get("lone", "/once")},
		{10, w.get("half", "/")},
		{8, w.get("dead", "/")},
		{40, w.get("spent", "/")},
		{3, w.shake},
		{2, w.get("far", "/")},
		{2, w.get("lost", "/")},
		{2, w.get("forged", "/")},
		{8, w.get("mute", "/")},
		{2, w.get("routed", "/")},
		{2, w.get("routed", "/copied")}, // its method is not allowed
		{2, w.get("routed", "/forbidden")},
		{2, w.get("routed", "/slow")},
		{2, w.get("routed", "/stall")},
		{2, func() { w.houses["routed"].Send("POST", "/copied", strings.Repeat("x", 1<<20)) }}, // too large for a mirror
		{1, func() { w.houses["routed"].HUP() }},
		{2, w.raw("sealed", "GET / HTTP/1.1\r\nHost: x\r\n\r\n")}, // no TLS
		{2, w.unseal},
		{3, w.call("/town.Down/Call")},
		{3, w.call("/town.Lost/Call")},
		{1, w.spoil},
		{lateComers / 4, w.comeLate},
	} {
		wait.Go(func() {
			for range act.times {
				act.do()
			}
		})
	}
}

// shake has a backend ejected, and let in again by a request that is its trial.
func (w *town) shake() {
	p := w.houses["shaky"]
	p.Get("/error")
	p.Get("/")
}

func (w *town) get(house, path string) func() {
	return func() { w.houses[house].Get(path) }
}

func (w *town) raw(house, bytes string) func() {
	return func() {
		c := w.houses[house].Wire()
		c.Send(bytes)
		c.R.ReadString('\n') // other tests check the response
		c.Close()
	}
}

// leave aborts the connection once it has received that many bytes; with 0, once pace counts the request.
func (w *town) leave(path string, bytes int64) func() {
	return func() {
		c := w.houses["main"].Wire()
		c.Send("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n")
		if bytes > 0 {
			io.CopyN(io.Discard, c.R, bytes)
		} else {
			c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // it is slow: a tenth of its time
			c.Rest()
		}
		c.Leave()
	}
}

// call makes a call of gRPC, without a message.
func (w *town) call(method string) func() {
	client := pacetest.H2C.Client(w.t)
	return func() {
		req := w.houses["main"].Request("POST", method, "")
		req.Header.Set("Content-Type", "application/grpc")
		req.Header.Set("TE", "trailers")
		if got := pacetest.Do(client, req); got.Status != 200 {
			w.t.Errorf("%s: %d, %v", method, got.Status, got.Err)
		}
	}
}

// unseal asks for a page over TLS, on a connection of its own.
func (w *town) unseal() {
	client := w.ca.Client(pacetest.H1, "sealed.test")
	defer client.CloseIdleConnections()
	req, err := http.NewRequest("GET", "https://"+w.houses["sealed"].Proxy+"/", nil)
	if err != nil {
		w.t.Error(err)
		return
	}
	if got := pacetest.Do(client, req); got.Status != 200 {
		w.t.Errorf("over TLS: %d, %v", got.Status, got.Err)
	}
}

// spoil writes nonsense in place of a key. The certificate before stays in force.
func (w *town) spoil() {
	if err := os.WriteFile(w.seal, fmt.Append(nil, "nonsense of ", time.Now()), 0o600); err != nil {
		w.t.Error(err)
	}
}

// comeLate ends the header of a request while pace drains.
func (w *town) comeLate() {
	c := w.late[0]
	w.late = w.late[1:]
	c.Send("\r\n")
	c.Response("GET")
	c.Close()
}
