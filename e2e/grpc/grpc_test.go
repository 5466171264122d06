// Package grpc has clients of google.golang.org/grpc call backends through the built pace, and compares what
// client and backend recorded with what pace says.
package grpc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

func TestMain(m *testing.M) { pacetest.Main(m) }

// upstreams is a configuration whose pool is backends.
func upstreams(backends ...interface{ Address() string }) pacetest.Config {
	return pacetest.Config{"upstreams": pacetest.Upstreams(backends...)}
}

// connect waits until a client is connected.
func connect(t *testing.T, c *grpc.ClientConn) {
	t.Helper()
	c.Connect()
	for state := c.GetState(); state != connectivity.Ready; state = c.GetState() {
		c.WaitForStateChange(t.Context(), state)
	}
}

// client connects to pace in clear text.
func client(t *testing.T, p *pacetest.Pace) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient("passthrough:///"+p.Proxy, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// call makes a unary call of the method, and returns its status and all of its metadata.
func call(t *testing.T, c *grpc.ClientConn, method string) (*status.Status, metadata.MD) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), pacetest.Patience)
	defer cancel()
	return callWithin(ctx, c, method)
}

func callWithin(ctx context.Context, c *grpc.ClientConn, method string) (*status.Status, metadata.MD) {
	var header, trailer metadata.MD
	err := c.Invoke(ctx, method, &emptypb.Empty{}, &emptypb.Empty{}, grpc.Header(&header), grpc.Trailer(&trailer))
	return status.Convert(err), metadata.Join(header, trailer)
}

// want is what pace must say of a call.
type want struct {
	code    codes.Code // -1: none
	name    string     // of the code
	outcome string
	side    string
	level   string
	http    int  // status, in telemetry; 0: 200
	failed  bool // the SERVER span has the status Error
}

// check compares log, metrics and SERVER span of the one call of the method with want. It returns the span.
func check(t *testing.T, p *pacetest.Pace, spans *otlp.Recv, method string, w want) otlp.Span {
	t.Helper()
	if w.http == 0 {
		w.http = 200
	}
	line := p.WantAccess(method)
	got := fmt.Sprintf("%s %s %d %s", line.Text("outcome"), line.Text("grpc_status"), line.Int("status"), strings.ToLower(line.Text("level")))
	number := ""
	if w.code != none {
		number = fmt.Sprint(uint32(w.code))
	}
	if expected := fmt.Sprintf("%s %s %d %s", w.outcome, number, w.http, w.level); got != expected {
		t.Errorf("%s: the log says %q, want %q: %v", method, got, expected, line)
	}
	server := pacetest.WantTrace(spans, 0, pacetest.Path(method)).Server
	errorType := w.name
	if w.code == codes.OK {
		errorType = ""
	}
	for name, value := range map[string]string{"rpc.response.status_code": w.name, "error.type": errorType, "pace.outcome": w.outcome} {
		if got, _ := server.Attrs[name].(string); got != value {
			t.Errorf("%s: the span's %s is %q, want %q", method, name, got, value)
		}
	}
	if failed := server.StatusCode == otlp.Error; failed != w.failed {
		t.Errorf("%s: the span's status is %d, want an error: %t", method, server.StatusCode, w.failed)
	}
	return server
}

// none is that no code is known.
const none = codes.Code(1 << 30)

// codeNames are the names of the codes in gRPC's own list; package codes writes them in another way.
var codeNames = []string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
	"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

// wantOf is what pace must say of a call that a backend ended with a code.
func wantOf(c codes.Code) want {
	switch c {
	case codes.OK:
		return want{c, "OK", "ok", "none", "info", 0, false}
	case codes.Unknown, codes.DeadlineExceeded, codes.Unimplemented, codes.Internal, codes.Unavailable, codes.DataLoss:
		return want{c, codeNames[c], "upstream_error", "backend", "error", 0, true}
	}
	return want{c, codeNames[c], "client_error", "client", "info", 0, false}
}

const message = "\x00\x00\x00\x00\x00" // of no bytes, with gRPC's prefix

// script has an HTTP/1.1 backend respond as a method's last segment says. No library of gRPC is in the way, so it
// may send what none would.
func script(x *pacetest.Exchange) {
	x.ReadBody()
	kind, value, _ := strings.Cut(x.Target[strings.LastIndex(x.Target, "/")+1:], "-")
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\n"
	const chunked = head + "Transfer-Encoding: chunked\r\n\r\n5\r\n" + message + "\r\n0\r\n"
	switch kind {
	case "trailer":
		x.Write("%sGrpc-Status: %s\r\nGrpc-Message: it%%20said %s\r\n\r\n", chunked, value, value)
	case "only":
		x.Write("%sGrpc-Status: %s\r\nGrpc-Message: it%%20said %s\r\nContent-Length: 0\r\n\r\n", head, value, value)
	case "twice":
		x.Write("%sGrpc-Status: %s\r\nGrpc-Status: %s\r\n\r\n", chunked, value, value)
	case "missing":
		x.Write("%s\r\n", chunked)
	case "http":
		x.Write("HTTP/1.1 %s No\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nno", value)
	case "cut":
		x.Write("%s", strings.TrimSuffix(chunked, "0\r\n"))
		x.Close()
	case "hang":
		x.AwaitClose()
	case "reset":
		x.Reset()
	}
}

func TestCode_OfABackendIsTheOutcome(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, script)
	p, spans := pacetest.StartTraced(t, withoutEjection(upstreams(b)))
	c := client(t, p)
	for _, way := range []string{"trailer", "only"} {
		for code, name := range codeNames {
			method := fmt.Sprintf("/test.Codes/%s-%d", way, code)
			if way == "only" && code == 0 { // a unary call that is fine has a message
				continue
			}
			got, _ := call(t, c, method)
			if text := fmt.Sprintf("it said %d", code); got.Code() != codes.Code(code) || code != 0 && got.Message() != text {
				t.Errorf("%s: the client got %v %q, want %s %q", method, got.Code(), got.Message(), name, text)
			}
			check(t, p, spans, method, wantOf(codes.Code(code)))
			client := pacetest.WantTrace(spans, 1, pacetest.Path(method)).Clients[0]
			if got := client.Attrs["rpc.response.status_code"]; got != name {
				t.Errorf("%s: the CLIENT span has the code %v, want %s", method, got, name)
			}
			if failed := client.StatusCode == otlp.Error; failed != (code != 0) {
				t.Errorf("%s: the CLIENT span's status is %d", method, client.StatusCode)
			}
		}
	}
	for code, n := range map[codes.Code]float64{codes.Unavailable: 2, codes.NotFound: 2} {
		p.WantMetric(n, "http_server_request_duration_seconds_count", "error_type", codeNames[code], "pace_outcome", wantOf(code).outcome, "http_response_status_code", "200")
		p.WantMetric(n, "http_client_request_duration_seconds_count", "error_type", codeNames[code], "server_address", "127.0.0.1")
	}
	p.WantMetric(12, "pace_requests_total", "pace_outcome", "upstream_error", "pace_side", "backend")
}

func TestCode_OfAStrangeResponseIsTheClients(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, script)
	p, spans := pacetest.StartTraced(t, withoutEjection(upstreams(b)))
	c := client(t, p)
	for _, tt := range []struct {
		method string
		code   codes.Code
		http   int
		differ bool // the client does not do what gRPC's own documents say, and pace does
	}{
		{"missing", codes.Unknown, 0, true},
		{"trailer-17", codes.Unknown, 0, true},
		{"trailer-x", codes.Unknown, 0, false},
		{"only--1", codes.Unknown, 0, true},
		{"http-400", codes.Internal, 400, false},
		{"http-401", codes.Unauthenticated, 401, false},
		{"http-403", codes.PermissionDenied, 403, false},
		{"http-404", codes.Unimplemented, 404, false},
		{"http-418", codes.Unknown, 418, false},
		{"http-429", codes.Unavailable, 429, false},
		{"http-500", codes.Unknown, 500, false},
		{"http-502", codes.Unavailable, 502, false},
		{"http-503", codes.Unavailable, 503, false},
		{"http-504", codes.Unavailable, 504, false},
	} {
		method := "/test.Strange/" + tt.method
		got, _ := call(t, c, method)
		if tt.differ == (got.Code() == tt.code) {
			t.Errorf("%s: the client got %v %q, want %v: %t", method, got.Code(), got.Message(), tt.code, !tt.differ)
		}
		w := wantOf(tt.code)
		w.http = tt.http
		w.failed = w.failed || tt.http >= 500
		check(t, p, spans, method, w)
	}
}

func withoutEjection(cfg pacetest.Config) pacetest.Config {
	cfg["upstreams.ejection"] = pacetest.Table{"enabled": false}
	return cfg
}

// TestOwn_ResponsesAreCalls: what pace says itself, a client of gRPC understands.
func TestOwn_ResponsesAreCalls(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, script)
	cfg := pacetest.Config{"upstream.up": pacetest.Upstreams(b), "upstream.down": pacetest.Upstreams(pacetest.NewClosed(t)), "limit.one": {"max_requests": 1}}
	cfg["upstream.up"]["max_retries"] = 0
	cfg["upstream.hurried"] = pacetest.Upstreams(b).With("response_timeout", "200ms")
	cfg = cfg.WithRoutes(
		pacetest.Table{"match": "/test.Up/", "upstream": "up"},
		pacetest.Table{"match": "/test.Hurried/", "upstream": "hurried"},
		pacetest.Table{"match": "/test.Down/", "upstream": "down"},
		pacetest.Table{"match": "/test.Denied/", "upstream": "up", "deny": []string{"127.0.0.0/8"}},
		pacetest.Table{"match": "/test.Limited/", "upstream": "up", "limits": []string{"one"}},
		pacetest.Table{"match": "/test.Timed/", "upstream": "up", "timeout": "100ms"},
		pacetest.Table{"match": "/test.Small/", "upstream": "up", "max_body_bytes": 1},
		pacetest.Table{"match": "GET /test.Get/", "upstream": "up"},
		pacetest.Table{"match": "/test.Says/", "respond": 503},
		pacetest.Table{"match": "/test.Moved/", "redirect": "https://example.org/"},
	)
	p, spans := pacetest.StartTraced(t, cfg)
	c := client(t, p)
	if got, _ := call(t, c, "/test.Limited/trailer-0"); got.Code() != codes.OK {
		t.Fatalf("the first call under the limit: %v", got)
	}
	for _, tt := range []struct {
		method string
		want
		says string
	}{
		{"/test.Nowhere/M", want{codes.Unimplemented, "UNIMPLEMENTED", "no_route", "client", "warn", 0, true}, "No route of this proxy matches the request. Outcome: no_route"},
		{"/test.Denied/M", want{codes.PermissionDenied, "PERMISSION_DENIED", "forbidden", "client", "warn", 0, false}, "You may not use this address. Outcome: forbidden"},
		{"/test.Limited/M", want{codes.ResourceExhausted, "RESOURCE_EXHAUSTED", "rate_limited", "limiter", "warn", 0, false}, "You have sent too many requests; try again later. Outcome: rate_limited"},
		{"/test.Timed/hang", want{codes.DeadlineExceeded, "DEADLINE_EXCEEDED", "route_timeout", "backend", "error", 0, true}, "The exchange took longer than this proxy allows. Outcome: route_timeout"},
		{"/test.Hurried/hang", want{codes.DeadlineExceeded, "DEADLINE_EXCEEDED", "upstream_timeout", "backend", "error", 0, true}, "The backend did not respond in time. Outcome: upstream_timeout"},
		{"/test.Up/reset", want{codes.Unavailable, "UNAVAILABLE", "upstream_reset", "backend", "error", 0, true}, "The backend closed the connection before its response was complete. Outcome: upstream_reset"},
		{"/test.Down/M", want{codes.Unavailable, "UNAVAILABLE", "connect_failed", "backend", "error", 0, true}, "The proxy could not connect to the backend. Outcome: connect_failed"},
		{"/test.Small/M", want{codes.Internal, "INTERNAL", "too_large", "client", "warn", 0, true}, "The body of the request is larger than this proxy allows. Outcome: too_large"},
		{"/test.Get/M", want{codes.Internal, "INTERNAL", "method_not_allowed", "client", "warn", 0, true}, "No route of this proxy has this method for this address. Outcome: method_not_allowed"},
		{"/test.Says/M", want{codes.Unavailable, "UNAVAILABLE", "responded", "none", "info", 0, true}, "This response is from the proxy itself; it asked no backend. Outcome: responded"},
		{"/test.Moved/M", want{codes.Unknown, "UNKNOWN", "redirected", "none", "info", 0, true}, "This address has moved. Outcome: redirected"},
	} {
		got, md := call(t, c, tt.method)
		if got.Code() != tt.code || got.Message() != tt.says {
			t.Errorf("%s: the client got %v %q, want %v %q", tt.method, got.Code(), got.Message(), tt.code, tt.says)
		}
		if len(md["x-trace-id"]) != 1 {
			t.Errorf("%s: the metadata has no trace id: %v", tt.method, md)
		}
		server := check(t, p, spans, tt.method, tt.want)
		if len(md["x-trace-id"]) == 1 && server.TraceID != md["x-trace-id"][0] {
			t.Errorf("%s: the client was told the trace %s, exported is %s", tt.method, md["x-trace-id"], server.TraceID)
		}
		p.WantMetric(1, "pace_requests_total", "pace_outcome", tt.outcome, "pace_side", tt.side)
	}
}

// TestTruncated_CallHasACode: the header went out, so the trailer says what happened.
func TestTruncated_CallHasACode(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, script)
	p, spans := pacetest.StartTraced(t, upstreams(b))
	got, _ := call(t, client(t, p), "/test.Codes/cut")
	if got.Code() != codes.Unavailable || !strings.Contains(got.Message(), "upstream_truncated") {
		t.Errorf("the client got %v %q", got.Code(), got.Message())
	}
	check(t, p, spans, "/test.Codes/cut", want{codes.Unavailable, "UNAVAILABLE", "upstream_truncated", "backend", "error", 0, true})
}

// TestDeadline_OfTheClientEndsTheCall by a timeout that counts as the backend's, whoever of client and pace notices
// first. A request that was on its way to pace for long has left pace less than its client's time.
func TestDeadline_OfTheClientEndsTheCall(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, script)
	p, spans := pacetest.StartTraced(t, upstreams(b))
	c := client(t, p)
	call(t, c, "/test.Codes/trailer-0") // connects
	inTime := 0
	for n := range 10 {
		method := fmt.Sprintf("/test.Slow/hang-%d", n)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		got, _ := callWithin(ctx, c, method)
		cancel()
		if got.Code() != codes.DeadlineExceeded {
			t.Errorf("%s: the client got %v %q", method, got.Code(), got.Message())
		}
		if took, _ := p.WantAccess(method)["duration_ms"].(float64); took < 180 {
			continue
		}
		inTime++
		check(t, p, spans, method, deadlineExceeded)
	}
	if inTime < 3 {
		t.Errorf("only %d of 10 calls were at pace in time", inTime)
	}
	pacetest.Eventually(t, func() error {
		if n := b.Open(); n > 0 {
			return errors.New("pace keeps connections to the backend")
		}
		return nil
	})
}

var deadlineExceeded = want{codes.DeadlineExceeded, "DEADLINE_EXCEEDED", "upstream_timeout", "backend", "error", 0, true}

// raw sends a call by net/http, which knows nothing of deadlines.
func raw(t *testing.T, p *pacetest.Pace, mode pacetest.Mode, method string, pairs ...string) pacetest.Response {
	t.Helper()
	return pacetest.Do(mode.Client(t), p.Request("POST", method, message, append(pairs, "Content-Type", "application/grpc+proto", "Te", "trailers")...))
}

// TestTimeout_OfARequest: pace itself ends the call; what is no timeout changes nothing, and goes on as it came.
func TestTimeout_OfARequest(t *testing.T) {
	t.Parallel()
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		b := pacetest.NewBackend(t, script)
		p, spans := pacetest.StartTraced(t, withoutEjection(upstreams(b)))
		for n, timeout := range []string{"300m", "300000u", "0S", "1n"} {
			method := fmt.Sprintf("/test.Slow/hang-%d", n)
			got := raw(t, p, mode, method, "Grpc-Timeout", timeout)
			if got.Status != 200 || got.Err != nil || got.Body != "" || got.Header.Get("Grpc-Status") != "4" || got.Header.Get("Content-Type") != "application/grpc" {
				t.Errorf("%s: the client got %+v", timeout, got)
			}
			check(t, p, spans, method, deadlineExceeded)
			for _, r := range b.Got(method) {
				if got := r.Header.Get("Grpc-Timeout"); got != timeout {
					t.Errorf("the backend got the timeout %q, want %q", got, timeout)
				}
			}
		}
		for n, timeout := range []string{"", "1", "n", "-1n", "1x", "1 n", "1.5n", "000000001n", "+1n", "99999999H", "1n, 2n"} {
			method := fmt.Sprintf("/test.Bad%d/trailer-0", n)
			got := raw(t, p, mode, method, "Grpc-Timeout", timeout)
			if got.Status != 200 || got.Err != nil || got.Body != message || got.Trailer.Get("Grpc-Status") != "0" {
				t.Errorf("%q: the client got %+v", timeout, got)
			}
			check(t, p, spans, method, wantOf(codes.OK))
			if got := b.WantGot(1, method)[0].Header["Grpc-Timeout"]; len(got) != 1 || got[0] != timeout {
				t.Errorf("the backend got the timeout %q, want %q", got, timeout)
			}
		}
	})
}

// TestWeb_IsNoCall: gRPC-Web has its status in the body, so its outcome is that of its status, and pace's own
// responses are those of HTTP.
func TestWeb_IsNoCall(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.With(200, "Content-Type: application/grpc-web+proto\r\n", "\x80\x00\x00\x00\x10grpc-status: 14\r\n"))
	p := pacetest.Start(t, pacetest.Config{"upstream.web": pacetest.Upstreams(b)}.WithRoutes(pacetest.Table{"match": "/test.Web/", "upstream": "web"}))
	for _, kind := range []string{"application/grpc-web", "application/grpc-web+proto", "application/grpc-web-text"} {
		got := pacetest.Do(pacetest.H1.Client(t), p.Request("POST", "/test.Web/M", message, "Content-Type", kind))
		if got.Status != 200 || !strings.Contains(got.Body, "grpc-status: 14") {
			t.Errorf("%s: the client got %+v", kind, got)
		}
		if got := pacetest.Do(pacetest.H1.Client(t), p.Request("POST", "/nowhere", message, "Content-Type", kind)); got.Status != 404 || got.Header.Get("Grpc-Status") != "" {
			t.Errorf("%s: pace responded %+v", kind, got)
		}
	}
	pacetest.Eventually(t, func() error {
		if n := len(p.Access("/test.Web/M")); n != 3 {
			return fmt.Errorf("%d lines", n)
		}
		return nil
	})
	for _, line := range p.Access("/test.Web/M") {
		if line.Text("outcome") != "ok" || line.Text("grpc_status") != "" {
			t.Errorf("the log says %v", line)
		}
	}
}
