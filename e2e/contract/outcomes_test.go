package contract

import (
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

// provoked is one outcome: how a client and a backend bring it about, and what pace must
// then say of it. No outcome that needs a fault of pace's own (internal_error), or a state
// that this configuration cannot reach (no_backend), is here.
type provoked struct {
	behaviour pacetest.Behaviour          // of the backend; nil: at stands for it
	at        func(t *testing.T) address  // where pace sends it, if not to a Backend
	cfg       map[string]pacetest.Table   // beside the pool
	act       func(t *testing.T, s scene) // what the client does; it checks what the client gets

	outcome     string
	status      int    // in telemetry
	proxyStatus string // error=…; "" : the response is not pace's own
	level       string
	spanError   string // error.type; "" : the span's status stays unset
	attempts    int
	err         string // what matches the error's text; "": there is none
	leftIn      string // the phases in which the client may have left; "": it did not
}

type address interface{ Address() string }

// byTLS has pace speak TLS to an address.
type byTLS struct{ address }

func (b byTLS) URL() string { return "https://" + b.Address() }

// scene is the pace and the backends that provoke an outcome.
type scene struct {
	p    *pacetest.Pace
	b    *pacetest.Backend // nil if the address is no backend
	to   string            // host:port of the backend or what stands for it
	path string
	from string // an X-Forwarded-For to send; "": none
	want provoked
}

var once = map[string]pacetest.Table{"upstreams": {"max_retries": 0}}

var outcomes = map[string]provoked{
	"ok": {
		behaviour: pacetest.Fine, act: gets(200), outcome: "ok", status: 200, level: "INFO", attempts: 1,
	},
	"ok: a redirect": {
		behaviour: pacetest.With(302, "Location: /there\r\n", ""), act: gets(302), outcome: "ok", status: 302, level: "INFO", attempts: 1,
	},
	"ok: not modified": {
		behaviour: pacetest.Status(304, ""), act: gets(304), outcome: "ok", status: 304, level: "INFO", attempts: 1,
	},
	"client_error": {
		behaviour: pacetest.Status(404, "no"), act: gets(404), outcome: "client_error", status: 404, level: "INFO", attempts: 1,
	},
	"client_error: the backend's own 429": {
		behaviour: pacetest.Status(429, "no"), act: gets(429), outcome: "client_error", status: 429, level: "INFO", attempts: 1,
	},
	"upstream_error": {
		behaviour: pacetest.Status(500, "no"), act: gets(500), outcome: "upstream_error", status: 500, level: "ERROR", spanError: "500", attempts: 1,
	},
	"upstream_error: the backend's own 503": {
		behaviour: pacetest.Status(503, "no"), act: gets(503), outcome: "upstream_error", status: 503, level: "ERROR", spanError: "503", attempts: 1,
	},
	"rate_limited": {
		behaviour: pacetest.Fine, cfg: map[string]pacetest.Table{"rate_limit": {"max_requests": 1}},
		act: func(t *testing.T, s scene) {
			wantStatus(t, s.p.Get("/warm-up"), 200)
			gets(429)(t, s)
		},
		outcome: "rate_limited", status: 429, proxyStatus: "http_request_denied", level: "WARN",
	},
	"connect_failed": {
		at: func(t *testing.T) address { return pacetest.NewClosed(t) }, act: gets(502),
		outcome: "connect_failed", status: 502, proxyStatus: "connection_refused", level: "ERROR", spanError: "connect_failed", attempts: 1, err: `^dial tcp 127\.0\.0\.1:\d+: connection refused$`,
	},
	"connect_timeout": {
		at: func(t *testing.T) address { return pacetest.NewBlackhole(t) }, act: gets(504),
		cfg:     map[string]pacetest.Table{"upstreams": {"connect_timeout": "200ms"}},
		outcome: "connect_timeout", status: 504, proxyStatus: "connection_timeout", level: "ERROR", spanError: "connect_timeout", attempts: 1, err: `^dial tcp \S+:\d+: i/o timeout$`,
	},
	"tls_failed": {
		at: func(t *testing.T) address { return byTLS{pacetest.NewBackend(t, pacetest.Fine)} }, act: gets(502),
		outcome: "tls_failed", status: 502, proxyStatus: "tls_protocol_error", level: "ERROR", spanError: "tls_failed", attempts: 1, err: `^(tls: first record does not look like a TLS handshake|EOF: the backend closed the connection)$`, // as the bytes look to it, the backend responds or closes,
	},
	"tls_failed: the certificate": {
		at: func(t *testing.T) address {
			return pacetest.NewTLSBackend(t, pacetest.NewCA(t).Server("127.0.0.1"), pacetest.Fine)
		},
		act:     gets(502),
		outcome: "tls_failed", status: 502, proxyStatus: "tls_certificate_error", level: "ERROR", spanError: "tls_failed", attempts: 1, err: `^certificate is signed by an unknown authority: test CA$`,
	},
	"upstream_timeout": {
		behaviour: pacetest.Hang, act: gets(504), cfg: map[string]pacetest.Table{"upstreams": {"response_timeout": "200ms"}},
		outcome: "upstream_timeout", status: 504, proxyStatus: "http_response_timeout", level: "ERROR", spanError: "upstream_timeout", attempts: 1, err: `^read tcp 127\.0\.0\.1:\d+->127\.0\.0\.1:\d+: i/o timeout$`,
	},
	"upstream_timeout: half a header": {
		behaviour: func(x *pacetest.Exchange) {
			x.Write("HTTP/1.1 200 OK\r\nContent-Le")
			x.AwaitClose()
		},
		act: gets(504), cfg: map[string]pacetest.Table{"upstreams": {"response_timeout": "200ms"}},
		outcome: "upstream_timeout", status: 504, proxyStatus: "http_response_timeout", level: "ERROR", spanError: "upstream_timeout", attempts: 1, err: `^read tcp 127\.0\.0\.1:\d+->127\.0\.0\.1:\d+: i/o timeout$`,
	},
	"upstream_reset: RST": {
		behaviour: pacetest.ResetBefore, act: gets(502), cfg: once,
		outcome: "upstream_reset", status: 502, proxyStatus: "connection_terminated", level: "ERROR", spanError: "upstream_reset", attempts: 1, err: `^read tcp \S+->\S+: connection reset by peer$`,
	},
	"upstream_reset: FIN": {
		behaviour: pacetest.CloseBefore, act: gets(502), cfg: once,
		outcome: "upstream_reset", status: 502, proxyStatus: "connection_terminated", level: "ERROR", spanError: "upstream_reset", attempts: 1, err: `^EOF: `,
	},
	"upstream_reset: in the header": {
		behaviour: pacetest.Raw("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Ha"), act: gets(502), cfg: once,
		outcome: "upstream_reset", status: 502, proxyStatus: "connection_terminated", level: "ERROR", spanError: "upstream_reset", attempts: 1, err: `^EOF: `,
	},
	"upstream_invalid": {
		behaviour: pacetest.Garbage, act: gets(502), cfg: once,
		outcome: "upstream_invalid", status: 502, proxyStatus: "http_protocol_error", level: "ERROR", spanError: "upstream_invalid", attempts: 1, err: `^malformed response: not HTTP/1$`,
	},
	"upstream_invalid: two lengths": {
		behaviour: pacetest.Raw("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nfine"), act: gets(502), cfg: once,
		outcome: "upstream_invalid", status: 502, proxyStatus: "http_protocol_error", level: "ERROR", spanError: "upstream_invalid", attempts: 1, err: `^malformed response: two lengths$`,
	},
	"upstream_invalid: a status that is no number": {
		behaviour: pacetest.Raw("HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n"), act: gets(502), cfg: once,
		outcome: "upstream_invalid", status: 502, proxyStatus: "http_protocol_error", level: "ERROR", spanError: "upstream_invalid", attempts: 1, err: `^malformed response: status code$`,
	},
	"upstream_truncated: with length": {
		behaviour: pacetest.CutLength, act: getsCut(400), outcome: "upstream_truncated", status: 200, level: "ERROR",
		spanError: "upstream_truncated", attempts: 1, err: `^EOF: `,
	},
	"upstream_truncated: chunked": {
		behaviour: pacetest.CutChunked, act: getsCut(600), outcome: "upstream_truncated", status: 200, level: "ERROR",
		spanError: "upstream_truncated", attempts: 1, err: `^EOF: `,
	},
	"upstream_truncated: a chunk's size is garbage": {
		behaviour: pacetest.Raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfine\r\nnonsense\r\n"), act: getsCut(4),
		outcome: "upstream_truncated", status: 200, level: "ERROR", spanError: "upstream_truncated", attempts: 1, err: `^malformed response: chunk size`,
	},
	"client_gone: RST": {
		behaviour: pacetest.Hang, act: leavesWaiting((*pacetest.Wire).Leave), outcome: "client_gone", status: 499, level: "WARN", attempts: 1, leftIn: "wait",
	},
	"client_gone: FIN": {
		behaviour: pacetest.Hang, act: leavesWaiting(func(w *pacetest.Wire) { w.Close() }), outcome: "client_gone", status: 499, level: "WARN", attempts: 1, leftIn: "wait",
	},
	"client_aborted: RST": {
		behaviour: pacetest.Endless, act: leavesInBody((*pacetest.Wire).Leave), outcome: "client_aborted", status: 200, level: "WARN", attempts: 1, leftIn: "receive deliver",
	},
	"client_aborted: FIN": {
		behaviour: pacetest.Endless, act: leavesInBody(func(w *pacetest.Wire) { w.Close() }), outcome: "client_aborted", status: 200, level: "WARN", attempts: 1, leftIn: "receive deliver",
	},
	"too_large: by its length": {
		behaviour: pacetest.Fine, act: posts(413, strings.Repeat("x", 101)), cfg: map[string]pacetest.Table{"server": {"max_body_bytes": 100}},
		outcome: "too_large", status: 413, proxyStatus: "http_request_error", level: "WARN",
	},
	"upgraded": {
		behaviour: pacetest.UpgradeEcho, act: upgrades, outcome: "upgraded", status: 101, level: "INFO", attempts: 1,
	},
}

// TestOutcomes holds each outcome to the table of interface.md in every signal.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	for name, tt := range outcomes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := scene{path: "/x", want: tt}
			target := address(nil)
			if tt.behaviour != nil {
				s.b = pacetest.NewBackend(t, tt.behaviour)
				target = s.b
			} else {
				target = tt.at(t)
			}
			s.to = target.Address()
			cfg := unhurried(upstreams(target))
			for table, keys := range tt.cfg {
				for key, value := range keys {
					set(cfg, table, key, value)
				}
			}
			var spans *otlp.Recv
			s.p, spans = pacetest.StartTraced(t, cfg)
			tt.act(t, s)
			tt.wantLog(t, s)
			tt.wantMetrics(t, s)
			tt.wantSpans(t, spans, s)
		})
	}
}

func (tt provoked) wantLog(t *testing.T, s scene) {
	t.Helper()
	line := s.p.WantAccess(s.path)
	if line.Text("outcome") != tt.outcome || line.Int("status") != tt.status || !strings.EqualFold(line.Text("level"), tt.level) {
		t.Errorf("log says outcome %s, status %s, level %s; want %s, %d, %s",
			line.Text("outcome"), line.Text("status"), line.Text("level"), tt.outcome, tt.status, tt.level)
	}
	if line.Int("attempts") != tt.attempts {
		t.Errorf("log says %s attempts, want %d", line.Text("attempts"), tt.attempts)
	}
	if got := line.Text("left_in"); (got == "") != (tt.leftIn == "") || !strings.Contains(tt.leftIn, got) {
		t.Errorf("log says left_in %q, want %q", got, tt.leftIn)
	}
	backend := ""
	if tt.attempts > 0 { // also if none answered
		backend = s.to
	}
	if got := line.Text("backend"); got != backend {
		t.Errorf("log says backend %q, want %q", got, backend)
	}
	got, there := line["error"].(string)
	if there != (tt.err != "") || !regexp.MustCompile(tt.err).MatchString(got) {
		t.Errorf("log says error %q, want %q", got, tt.err)
	}
	if line["failovers"] != nil {
		t.Errorf("log says failovers %v", line["failovers"])
	}
}

func (tt provoked) wantMetrics(t *testing.T, s scene) {
	t.Helper()
	status := strconv.Itoa(tt.status)
	s.p.WantMetric(1, "http_server_request_duration_seconds_count", "pace_outcome", tt.outcome, "http_response_status_code", status,
		"error_type", tt.errorType(s.p.Metrics()), "http_route", "/", "url_scheme", "http")
	m := s.p.Metrics()
	if got := m.Sum("http_requests_duration_seconds_count", "status", status); got != 1 {
		t.Errorf("http_requests_duration_seconds has %v with status %s, want 1", got, status)
	}
	for _, name := range []string{"http_requests_duration_seconds_count", "http_server_request_duration_seconds_count"} {
		if got := m.Sum(name) - warmUps(s); got != 1 {
			t.Errorf("%s has %v requests, want 1", name, got)
		}
	}
	if got := m.Sum("http_client_request_duration_seconds_count") - warmUps(s); got != float64(tt.attempts) {
		t.Errorf("http_client_request_duration_seconds has %v attempts, want %d", got, tt.attempts)
	}
	s.p.WantMetric(0, "http_server_active_requests")
	if got := m.Sum("pace_requests_total", "pace_outcome", tt.outcome, "pace_side", tt.sideOf(), "http_route", "/"); got != 1 && tt.outcome != "ok" {
		t.Errorf("pace_requests_total has %v of %s on the %s side, want 1", got, tt.outcome, tt.sideOf())
	}
	if got := m.Sum("pace_requests_total") - warmUps(s); got != 1 {
		t.Errorf("pace_requests_total has %v requests, want 1", got)
	}
	left := m.Sum("pace_client_left_total", "left_in", s.p.WantAccess(s.path).Text("left_in"), "http_route", "/")
	if all := m.Sum("pace_client_left_total"); all != left || (left == 1) != (tt.leftIn != "") {
		t.Errorf("pace_client_left_total has %v, %v of them in the phase that the line says", all, left)
	}
}

// sideOf is whose doing the outcome is.
func (tt provoked) sideOf() string {
	switch tt.outcome {
	case "ok", "upgraded":
		return "none"
	case "rate_limited":
		return "limiter"
	case "client_error", "client_gone", "client_aborted", "too_large":
		return "client"
	}
	return "backend"
}

// errorType is the label the row must have: the span's error.type where its status is
// Error, none where the exchange was fine, and for the 4xx and clients that left whatever
// the running pace has, since interface.md leaves that open ("on errors").
func (tt provoked) errorType(m pacetest.Metrics) string {
	if tt.spanError != "" || tt.outcome == "ok" || tt.outcome == "upgraded" {
		return tt.spanError
	}
	for _, series := range m["http_server_request_duration_seconds"].GetMetric() {
		if pacetest.Label(series, "pace_outcome") == tt.outcome {
			return pacetest.Label(series, "error_type")
		}
	}
	return ""
}

// warmUps is how many requests the client sent before the one that counts.
func warmUps(s scene) float64 {
	if s.b == nil {
		return 0
	}
	return float64(len(s.b.Got("/warm-up")))
}

func (tt provoked) wantSpans(t *testing.T, spans *otlp.Recv, s scene) {
	t.Helper()
	trace := pacetest.WantTrace(spans, tt.attempts, pacetest.Path(s.path))
	wantAttr(t, trace.Server.Attrs, "pace.outcome", tt.outcome)
	wantAttr(t, trace.Server.Attrs, "http.response.status_code", tt.status)
	wantAttr(t, trace.Server.Attrs, "pace.attempts", tt.attempts)
	if len(trace.Clients) != tt.attempts {
		t.Errorf("%d CLIENT spans, want %d", len(trace.Clients), tt.attempts)
	}
	if tt.spanError != "" {
		wantAttr(t, trace.Server.Attrs, "error.type", tt.spanError)
	}
	for _, span := range append(trace.Clients, trace.Server) {
		if want := s.p.WantAccess(s.path).Text("error"); span.StatusMessage != want {
			t.Errorf("the status of the span %s is described as %q, the log says error %q", span.Name, span.StatusMessage, want)
		}
	}
	for _, span := range trace.Clients {
		wantAttr(t, span.Attrs, "peer.service", "default/"+s.to)
	}
	want := map[bool]int{true: otlp.Error, false: otlp.Unset}[tt.spanError != ""]
	if trace.Server.StatusCode != want {
		t.Errorf("the span's status is %d, want %d", trace.Server.StatusCode, want)
	}
	if got, _ := trace.Server.Attrs["pace.left_in"].(string); got != s.p.WantAccess(s.path).Text("left_in") {
		t.Errorf("the span has pace.left_in %q, the line %q", got, s.p.WantAccess(s.path).Text("left_in"))
	}
	limited := s.p.Metrics().Sum("pace_rejections_total", "reason", "rate_limited")
	if n := len(trace.Server.Named("pace.rate_limited")); n != int(limited) || (n == 1) != (tt.outcome == "rate_limited") {
		t.Errorf("%d events pace.rate_limited, counter %v", n, limited)
	}
}

// gets sends a GET and wants status, and of pace's own responses the outcome's Proxy-Status.
func gets(status int) func(*testing.T, scene) {
	return func(t *testing.T, s scene) {
		t.Helper()
		got := s.p.Get(s.path)
		wantStatus(t, got, status)
		wantProxyStatus(t, got, s.want.proxyStatus)
		wantDetails(t, got, s)
	}
}

// posts sends a POST with body.
func posts(status int, body string) func(*testing.T, scene) {
	return func(t *testing.T, s scene) {
		t.Helper()
		got := s.p.Send("POST", s.path, body)
		wantStatus(t, got, status)
		wantProxyStatus(t, got, s.want.proxyStatus)
		wantDetails(t, got, s)
	}
}

func wantProxyStatus(t *testing.T, got pacetest.Response, word string) {
	t.Helper()
	want := ""
	if word != "" {
		want = "pace; error=" + word + `; details="…"`
	}
	v := got.Header.Get("Proxy-Status")
	if detail.ReplaceAllString(v, `details="…"`) != want {
		t.Errorf("Proxy-Status = %q, want %q", v, want)
	}
}

// detail is an outcome's word, which is all that Proxy-Status tells beside the error.
var detail = regexp.MustCompile(`details="[a-z_]+"$`)

// wantDetails wants Proxy-Status to name the outcome of the scene, if the response is pace's own.
func wantDetails(t *testing.T, got pacetest.Response, s scene) {
	t.Helper()
	if s.want.proxyStatus == "" {
		return
	}
	wantProxyStatus(t, got, s.want.proxyStatus)
	if v := got.Header.Get("Proxy-Status"); !strings.HasSuffix(v, `; details="`+s.want.outcome+`"`) {
		t.Errorf("Proxy-Status = %q, want the outcome %s in its details", v, s.want.outcome)
	}
}

// getsCut wants a 200 whose body breaks off after at most n bytes.
func getsCut(n int) func(*testing.T, scene) {
	return func(t *testing.T, s scene) {
		t.Helper()
		got := s.p.Get(s.path)
		if got.Status != 200 && got.Status != 0 || got.Err == nil || len(got.Body) > n {
			t.Errorf("status %d, %d bytes, error %v; want a body of at most %d bytes that breaks off", got.Status, len(got.Body), got.Err, n)
		}
	}
}

func leavesWaiting(leave func(*pacetest.Wire)) func(*testing.T, scene) {
	return func(t *testing.T, s scene) {
		w := s.p.Wire()
		w.Send("GET " + s.path + " HTTP/1.1\r\nHost: x\r\n\r\n")
		s.b.WantGot(1, s.path)
		awaitPhase(t, s.p, "wait") // the backend has the request a moment before that
		leave(w)
		wantLetGo(t, s.b)
	}
}

func leavesInBody(leave func(*pacetest.Wire)) func(*testing.T, scene) {
	return func(t *testing.T, s scene) {
		w := s.p.Wire()
		w.Send("GET " + s.path + " HTTP/1.1\r\nHost: x\r\n\r\n")
		resp := w.Head("GET")
		if _, err := io.CopyN(io.Discard, resp.Body, 100_000); err != nil || resp.StatusCode != 200 {
			t.Fatalf("status %d, error %v in the first bytes", resp.StatusCode, err)
		}
		leave(w)
		wantLetGo(t, s.b)
	}
}

// wantLetGo waits until pace has released the backend, because a client that left must not keep it busy.
func wantLetGo(t *testing.T, b *pacetest.Backend) {
	t.Helper()
	pacetest.Eventually(t, func() error {
		if n := b.Open(); n > 0 {
			return fmt.Errorf("pace keeps %d connections to the backend", n)
		}
		return nil
	})
}

func upgrades(t *testing.T, s scene) {
	t.Helper()
	w := s.p.Wire()
	w.Send("GET " + s.path + " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-Forwarded-For: " + s.from + "\r\n\r\n")
	if resp := w.Head("GET"); resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "echo" {
		t.Fatalf("status %d, Upgrade %q", resp.StatusCode, resp.Header.Get("Upgrade"))
	}
	w.Send("hello")
	echo := make([]byte, 5)
	if _, err := io.ReadFull(w.R, echo); err != nil || string(echo) != "hello" {
		t.Fatalf("echo %q, error %v", echo, err)
	}
	w.Close()
}

func TestOutcome_TooLargeChunked(t *testing.T) {
	t.Parallel()
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		b := pacetest.NewBackend(t, pacetest.Fine)
		p := pacetest.Start(t, set(upstreams(b), "server", "max_body_bytes", 100))
		req := p.Request("POST", "/x", "")
		req.Body, req.ContentLength = io.NopCloser(strings.NewReader(strings.Repeat("x", 101))), -1
		got := pacetest.Do(mode.Client(t), req)
		wantStatus(t, got, 413)
		wantProxyStatus(t, got, "http_request_error")
		if line := p.WantAccess("/x"); line.Text("outcome") != "too_large" || line.Int("status") != 413 {
			t.Errorf("log says %s, %s", line.Text("outcome"), line.Text("status"))
		}
		p.WantMetric(1, "http_server_request_duration_seconds_count", "pace_outcome", "too_large")
		whole := p.Send("POST", "/whole", strings.Repeat("x", 100))
		wantStatus(t, whole, 200)
		pacetest.Eventually(t, func() error { // the backend may still be reading
			for _, r := range b.Got("/x") {
				if r.BodyErr == nil {
					return notYet("the backend got a body cut at the limit that ended as if whole")
				}
			}
			return nil
		})
	})
}

func TestOutcome_Draining(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	b := pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{"/hold": pacetest.Gated(open, pacetest.Fine), "/": pacetest.Fine}))
	p, spans := pacetest.StartTraced(t, upstreams(b))
	held := make(chan pacetest.Response, 1)
	c := pacetest.H1.Client(t)
	go func() { held <- pacetest.Do(c, p.Request("GET", "/hold", "")) }()
	b.WantGot(1, "/hold")
	late := p.Wire()
	late.Send("GET /late HTTP/1.1\r\nHost: x\r\n") // its header ends while pace is ending
	wantAccepted(t, p)
	p.Signal(sigTERM)
	p.AwaitRejecting()
	late.Send("\r\n")
	got := late.Response("GET")
	wantStatus(t, got, 503)
	wantProxyStatus(t, got, "proxy_internal_response")
	close(open)
	wantStatus(t, <-held, 200)
	if code := p.Wait(); code != 0 {
		t.Errorf("exit %d", code)
	}
	if line := p.WantAccess("/late"); line.Text("outcome") != "draining" || line.Int("status") != 503 || !strings.EqualFold(line.Text("level"), "error") {
		t.Errorf("log says %v", line)
	}
	server := pacetest.WantTrace(spans, 0, pacetest.Path("/late")).Server
	wantAttr(t, server.Attrs, "pace.outcome", "draining")
	if n := len(b.Got("/late")); n != 0 {
		t.Errorf("the backend got the late request %d times", n)
	}
}

// wantAccepted waits until pace has taken both connections off its listener: the one of the
// held request and the one that has sent half a header.
func wantAccepted(t *testing.T, p *pacetest.Pace) {
	t.Helper()
	pacetest.Eventually(t, func() error {
		if n := p.Metrics().Sum("pace_connections"); n < 2 {
			return fmt.Errorf("pace_connections = %v, want 2", n)
		}
		return nil
	})
}
