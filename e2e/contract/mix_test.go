package contract

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

// fate is what becomes of one request: by whose doing, and how pace must book it.
type fate struct {
	path    string // its first segment, by which the backends know what to do
	method  string
	outcome string
	status  int  // in telemetry
	wire    bool // only over HTTP/1.1
	act     func(m *mix, path string) error
}

var fates = []fate{
	{path: "/fine", method: "GET", outcome: "ok", status: 200, act: answered(200)},
	{path: "/fine", method: "POST", outcome: "ok", status: 200, act: answered(200)},
	{path: "/404", method: "GET", outcome: "client_error", status: 404, act: answered(404)},
	{path: "/500", method: "GET", outcome: "upstream_error", status: 500, act: answered(500)},
	{path: "/cut-length", method: "GET", outcome: "upstream_truncated", status: 200, act: cut},
	{path: "/cut-chunked", method: "GET", outcome: "upstream_truncated", status: 200, act: cut},
	{path: "/reset", method: "POST", outcome: "upstream_reset", status: 502, act: answered(502)},
	{path: "/reset", method: "GET", outcome: "upstream_reset", status: 502, act: answered(502)},
	{path: "/garbage", method: "POST", outcome: "upstream_invalid", status: 502, act: answered(502)},
	{path: "/garbage", method: "GET", outcome: "upstream_invalid", status: 502, act: answered(502)},
	{path: "/hang", method: "GET", outcome: "client_gone", status: 499, act: leftWaiting},
	{path: "/endless", method: "GET", outcome: "client_aborted", status: 200, act: leftInBody},
	{path: "/rejected", method: "GET", outcome: "rate_limited", status: 429, act: rejected},
	{path: "/upgrade", method: "GET", outcome: "upgraded", status: 101, wire: true, act: upgraded},
}

// mixAnswers is what each backend of the mix does.
var mixAnswers = map[string]pacetest.Answer{
	"/": pacetest.Fine, "/404": pacetest.Status(404, "no"), "/500": pacetest.Status(500, "no"),
	"/cut-length": pacetest.CutLength, "/cut-chunked": pacetest.CutChunked, "/reset": pacetest.ResetBefore, "/garbage": pacetest.Garbage,
	"/hang": pacetest.Hang, "/endless": pacetest.Endless, "/upgrade": pacetest.UpgradeEcho,
}

// mix is one run: more than 500 requests of known fate, in random order, by eight clients.
type mix struct {
	t      *testing.T
	mode   pacetest.Mode
	p      *pacetest.Pace
	a, b   *pacetest.Backend
	spans  *otlp.Recv
	mu     sync.Mutex
	client map[string]clientFate // what befell each path, by its client; guarded by mu
}

type clientFate struct {
	fate
	n int
}

// TestMix is issue 4's: every request is in both histograms and the log exactly once, with
// the status and outcome that client and backends know it to have had.
func TestMix(t *testing.T) {
	t.Parallel()
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		m := newMix(t, mode)
		m.run(540)
		m.wantLog()
		m.wantHistograms()
		m.wantSpans()
	})
}

const exhausted = "192.0.2.1" // the client that has had its one place

func newMix(t *testing.T, mode pacetest.Mode) *mix {
	m := &mix{t: t, mode: mode, client: map[string]clientFate{}}
	m.a, m.b = pacetest.NewBackend(t, pacetest.ByPath(mixAnswers)), pacetest.NewBackend(t, pacetest.ByPath(mixAnswers))
	cfg := upstreams(m.a, m.b)
	cfg["rate_limit"] = pacetest.Table{"max_requests": 1, "window_seconds": 3600}
	cfg["server"] = pacetest.Table{"trusted_proxies": []string{"127.0.0.0/8"}}
	m.p, m.spans = pacetest.StartTraced(t, cfg, "OTEL_BSP_MAX_QUEUE_SIZE=10000")
	wantStatus(t, m.p.Get("/fine/0", "X-Forwarded-For", exhausted), 200)
	m.client["/fine/0"] = clientFate{fate: fates[0]}
	return m
}

// run lets n requests meet their fates; each client's order is random from a fixed seed.
func (m *mix) run(n int) {
	const workers = 8
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			r := rand.New(rand.NewPCG(4, uint64(w)))
			for i := 1 + w; i <= n; i += workers {
				f := fates[r.IntN(len(fates))]
				if f.wire && m.mode != pacetest.H1 {
					f = fates[0]
				}
				path := fmt.Sprintf("%s/%d", f.path, i)
				m.mu.Lock()
				m.client[path] = clientFate{f, i}
				m.mu.Unlock()
				if err := f.act(m, path); err != nil {
					m.t.Errorf("%s %s: %v", f.method, path, err)
				}
			}
		})
	}
	group.Wait()
}

func (m *mix) fate(path string) clientFate {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.client[path]
}

// addressOf is the client address of request n: each its own, so that the limit of one hits
// none but those meant to be rejected.
func addressOf(n int) string { return fmt.Sprintf("10.0.%d.%d", n/250, n%250) }

func (m *mix) do(path, from string) pacetest.Response {
	f := m.fate(path)
	body := ""
	if f.method == "POST" {
		body = "data"
	}
	return pacetest.Do(m.mode.Client(m.t), m.p.Request(f.method, path, body, "X-Forwarded-For", from))
}

func answered(status int) func(*mix, string) error {
	return func(m *mix, path string) error {
		got := m.do(path, addressOf(m.fate(path).n))
		if got.Err != nil || got.Status != status {
			return fmt.Errorf("status %d, %v; want %d", got.Status, got.Err, status)
		}
		return nil
	}
}

func cut(m *mix, path string) error {
	if got := m.do(path, addressOf(m.fate(path).n)); got.Err == nil || got.Status != 200 && got.Status != 0 {
		return fmt.Errorf("status %d, %d bytes, no error; want a body broken off", got.Status, len(got.Body))
	}
	return nil
}

func rejected(m *mix, path string) error {
	if got := m.do(path, exhausted); got.Status != 429 {
		return fmt.Errorf("status %d, %v; want 429", got.Status, got.Err)
	}
	return nil
}

// leftWaiting leaves once a backend has the request.
func leftWaiting(m *mix, path string) error {
	req := pacetest.NewCancelled(m.p.Request("GET", path, "", "X-Forwarded-For", addressOf(m.fate(path).n)))
	ended := make(chan pacetest.Response, 1)
	c := m.mode.Client(m.t)
	go func() { ended <- pacetest.Do(c, req.Request) }()
	for m.reached(path) == 0 {
		select {
		case got := <-ended:
			return fmt.Errorf("status %d, %v before a backend had it", got.Status, got.Err)
		case <-time.After(time.Millisecond):
		}
	}
	req.Cancel()
	if got := <-ended; got.Err == nil {
		return fmt.Errorf("status %d, though it left", got.Status)
	}
	return nil
}

// leftInBody leaves after the first bytes of an endless body.
func leftInBody(m *mix, path string) error {
	req := pacetest.NewCancelled(m.p.Request("GET", path, "", "X-Forwarded-For", addressOf(m.fate(path).n)))
	defer req.Cancel()
	resp, err := m.mode.Client(m.t).Do(req.Request)
	if err != nil {
		return err
	}
	_, err = io.CopyN(io.Discard, resp.Body, 50_000)
	return err
}

func upgraded(m *mix, path string) error {
	w := pacetest.DialWire(m.t, m.p.Proxy)
	defer w.Close()
	fmt.Fprintf(w, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-Forwarded-For: %s\r\n\r\nhello",
		path, addressOf(m.fate(path).n))
	head, err := w.R.ReadString('\n')
	if err != nil || !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		return fmt.Errorf("%q, %v; want 101", head, err)
	}
	for line := head; line != "\r\n" && err == nil; {
		line, err = w.R.ReadString('\n')
	}
	echo := make([]byte, 5)
	if _, err := io.ReadFull(w.R, echo); err != nil || string(echo) != "hello" {
		return fmt.Errorf("echo %q, %v", echo, err)
	}
	return nil
}

// reached is how many requests for path the backends got, by their own account: each is an
// attempt, for no connection of the mix fails before it is written to.
func (m *mix) reached(path string) int { return len(m.a.Got(path)) + len(m.b.Got(path)) }

// wantLog holds the log to the truth, line by line.
func (m *mix) wantLog() {
	t := m.t
	t.Helper()
	pacetest.Eventually(t, func() error {
		if n := len(m.p.Lines("request")); n < len(m.client) {
			return notYet("%d access lines for %d requests", n, len(m.client))
		}
		return nil
	})
	seen := map[string]bool{}
	for _, line := range m.p.Lines("request") {
		path := line.Text("path")
		f, sent := m.client[path]
		if !sent || seen[path] {
			t.Errorf("a line too many for %s", path)
		}
		seen[path] = true
		if line.Text("outcome") != f.outcome || line.Int("status") != f.status || line.Text("method") != f.method {
			t.Errorf("%s %s: log says %s, %s; it was %s, %d", f.method, path, line.Text("outcome"), line.Text("status"), f.outcome, f.status)
		}
		if n := m.reached(path); line.Int("attempts") != n {
			t.Errorf("%s %s: log says %s attempts, the backends got %d", f.method, path, line.Text("attempts"), n)
		}
	}
}

// wantHistograms holds both to the truth, status by status and outcome by outcome.
func (m *mix) wantHistograms() {
	t := m.t
	t.Helper()
	byStatus, byOutcome, attempts := map[string]float64{}, map[string]float64{}, 0
	for path, f := range m.client {
		byStatus[f.method+" "+strconv.Itoa(f.status)]++
		byOutcome[f.outcome+" "+strconv.Itoa(f.status)]++
		attempts += m.reached(path)
	}
	total := float64(len(m.client))
	m.p.WantMetric(total, "http_requests_duration_seconds_count")
	m.p.WantMetric(total, "http_server_request_duration_seconds_count")
	for key, want := range byStatus {
		method, status, _ := strings.Cut(key, " ")
		m.p.WantMetric(want, "http_requests_duration_seconds_count", "method", method, "status", status)
	}
	for key, want := range byOutcome {
		outcome, status, _ := strings.Cut(key, " ")
		m.p.WantMetric(want, "http_server_request_duration_seconds_count", "pace_outcome", outcome, "http_response_status_code", status)
	}
	m.p.WantMetric(byOutcome["rate_limited 429"], "pace_rejections_total", "reason", "rate_limited")
	m.p.WantMetric(float64(attempts), "http_client_request_duration_seconds_count")
	m.p.WantMetric(0, "http_server_active_requests")
}

// wantSpans: a SERVER span for each request; CLIENT spans = picks + failovers + retries,
// which is what the backends got.
func (m *mix) wantSpans() {
	t := m.t
	t.Helper()
	m.spans.Wait(func([]otlp.Span) bool { return pacetest.Count(m.spans, otlp.Server) >= len(m.client) })
	picks, attempts := 0, 0
	for path := range m.client {
		n := m.reached(path)
		picks += min(n, 1)
		attempts += n
	}
	metrics := m.p.Metrics()
	failovers, retries := int(metrics.Sum("pace_failovers_total")), int(metrics.Sum("pace_retries_total"))
	clients := pacetest.Count(m.spans, otlp.Client)
	if clients != attempts || clients != picks+failovers+retries {
		t.Errorf("%d CLIENT spans; the backends got %d; %d picks + %d failovers + %d retries", clients, attempts, picks, failovers, retries)
	}
	for name, counter := range map[string]int{
		"pace.failover": failovers, "pace.retry": retries, "pace.rate_limited": int(metrics.Sum("pace_rejections_total")),
	} {
		if n := pacetest.CountEvents(m.spans, name); n != counter {
			t.Errorf("%d events %s, counter %d", n, name, counter)
		}
	}
	for _, s := range m.spans.Spans() {
		if s.Kind != otlp.Server {
			continue
		}
		f, sent := m.client[fmt.Sprint(s.Attrs["url.path"])]
		if !sent || s.Attrs["pace.outcome"] != f.outcome || s.Attrs["http.response.status_code"] != int64(f.status) {
			t.Errorf("%v: the span says %v, %v; it was %s, %d", s.Attrs["url.path"], s.Attrs["pace.outcome"], s.Attrs["http.response.status_code"], f.outcome, f.status)
		}
	}
}
