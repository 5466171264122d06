package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pace/lb"
	"pace/proxy/transport"
	"pace/proxy/upstream"
	"pace/telemetry"
	"pace/telemetry/metrics"
)

// TestNext is the table of what follows a failed attempt.
func TestNext(t *testing.T) {
	t.Parallel()
	const sent = 100 // bytes
	reset := func(sent int64, reused, responded bool) *failure {
		return &failure{Error: &transport.Error{Kind: transport.Reset, BytesSent: sent, Reused: reused, Responded: responded}, outcome: telemetry.UpstreamReset}
	}
	failed := func(kind transport.Kind, o telemetry.Outcome, sent int64) *failure {
		return &failure{Error: &transport.Error{Kind: kind, BytesSent: sent}, outcome: o}
	}
	for name, tt := range map[string]struct {
		method     string
		read       int64 // bytes of the body that are used up; -1: there is no body
		failure    *failure
		tried      int // of two backends
		failovers  int // so far
		retries    int
		maxRetries int
		want       string
	}{
		"a GET goes to the other backend":                           {"GET", -1, reset(sent, false, false), 1, 0, 0, 1, "failover"},
		"whose connection was refused, too":                         {"GET", -1, failed(transport.ConnectFailed, telemetry.ConnectFailed, 0), 1, 0, 0, 1, "failover"},
		"whose answer was not HTTP":                                 {"GET", -1, failed(transport.Invalid, telemetry.UpstreamInvalid, sent), 1, 0, 0, 1, "failover"},
		"whose answer did not come in time":                         {"GET", -1, failed(transport.ResponseTimeout, telemetry.UpstreamTimeout, sent), 1, 0, 0, 1, "failover"},
		"but not if none may be made":                               {"GET", -1, reset(sent, false, false), 1, 0, 0, 0, "end"},
		"nor a second time":                                         {"GET", -1, reset(sent, false, false), 1, 1, 0, 1, "end"},
		"nor if all were tried":                                     {"GET", -1, reset(sent, false, false), 2, 0, 0, 5, "end"},
		"nor if the client left":                                    {"GET", -1, failed(transport.Canceled, telemetry.ClientGone, sent), 1, 0, 0, 1, "end"},
		"nor if the client's body broke the rules":                  {"PUT", 0, failed(transport.RequestBody, telemetry.BadRequest, sent), 1, 0, 0, 1, "end"},
		"nor if the client stalled":                                 {"PUT", 0, failed(transport.RequestBody, telemetry.RequestTimeout, sent), 1, 0, 0, 1, "end"},
		"a POST of which bytes went out is never sent again":        {"POST", -1, reset(sent, false, false), 1, 0, 0, 1, "end"},
		"not even on a stale connection":                            {"POST", -1, reset(sent, true, false), 1, 0, 0, 1, "end"},
		"a POST of which nothing went out is":                       {"POST", -1, failed(transport.ConnectFailed, telemetry.ConnectFailed, 0), 1, 0, 0, 1, "failover"},
		"with its body":                                             {"POST", 0, failed(transport.ConnectTimeout, telemetry.ConnectTimeout, 0), 1, 0, 0, 1, "failover"},
		"a PATCH is like a POST":                                    {"PATCH", -1, reset(sent, false, false), 1, 0, 0, 1, "end"},
		"an unknown method is like a POST":                          {"BREW", -1, reset(sent, false, false), 1, 0, 0, 1, "end"},
		"a PUT whose body is untouched is sent again":               {"PUT", 0, reset(sent, false, false), 1, 0, 0, 1, "failover"},
		"a PUT whose body is used up is not":                        {"PUT", 1, reset(sent, false, false), 1, 0, 0, 1, "end"},
		"not even if no byte of it went out":                        {"PUT", 1, reset(0, false, false), 1, 0, 0, 1, "end"},
		"QUERY is safe":                                             {"QUERY", -1, reset(sent, false, false), 1, 0, 0, 1, "failover"},
		"another backend goes before a retry":                       {"GET", -1, reset(sent, true, false), 1, 0, 0, 1, "failover"},
		"a stale connection is retried where no other is left":      {"GET", -1, reset(sent, true, false), 2, 1, 0, 1, "retry"},
		"or where no failover may be made":                          {"GET", -1, reset(sent, true, false), 1, 0, 0, 0, "retry"},
		"once":                                                      {"GET", -1, reset(sent, true, false), 2, 1, 1, 1, "end"},
		"not if the connection was new":                             {"GET", -1, reset(sent, false, false), 2, 1, 0, 1, "end"},
		"not if a byte of the answer had come":                      {"GET", -1, reset(sent, true, true), 2, 1, 0, 1, "end"},
		"not if it answered rubbish":                                {"GET", -1, &failure{Error: &transport.Error{Kind: transport.Invalid, BytesSent: sent, Reused: true}, outcome: telemetry.UpstreamInvalid}, 2, 1, 0, 1, "end"},
		"an early byte of the answer is no reason against failover": {"GET", -1, reset(sent, true, true), 1, 0, 0, 1, "failover"},
	} {
		t.Run(name, func(t *testing.T) {
			pool := upstream.New(upstream.Options{Addresses: addresses("10.0.0.1:80", "10.0.0.2:80"), Retry: upstream.RetryOptions{On: RetryWords(), Failovers: tt.maxRetries}}, nil)
			var tried []*lb.Backend
			for _, b := range pool.Backends()[:tt.tried] {
				tried = append(tried, b.Backend)
			}
			q := &request{
				upstream: pool, r: &http.Request{Method: tt.method},
				rec: &telemetry.Record{Attempts: make([]telemetry.Attempt, tt.tried), Failovers: make([]telemetry.Failover, tt.failovers), Retries: make([]telemetry.Retry, tt.retries)},
			}
			if tt.read >= 0 {
				q.body = bodyOf(t.Context(), strings.NewReader("1234"))
				io.CopyN(io.Discard, q.body, tt.read)
			}
			last := tried[len(tried)-1]
			q.rec.Attempts[tt.tried-1] = telemetry.Attempt{Backend: last.Addr, BytesSent: tt.failure.BytesSent}
			next, ended := q.next(tt.failure, tried)
			if tt.want == "end" && ended != tt.failure {
				t.Errorf("the attempts ended as %v, want the failure", ended)
			}
			switch got := next; {
			case tt.want == "end" && (got != upstream.Step{}):
				t.Errorf("got %+v, want no further attempt", got)
			case tt.want == "failover" && (got.Backend == nil || got.Backend.Backend == last || got.Fresh):
				t.Errorf("got %+v, want another backend than %s", got, last.Addr)
			case tt.want == "retry" && (got.Backend == nil || got.Backend.Backend != last || !got.Fresh):
				t.Errorf("got %+v, want a new connection to %s", got, last.Addr)
			}
			failovers, retries := len(q.rec.Failovers)-tt.failovers, len(q.rec.Retries)-tt.retries
			if failovers != btoi(tt.want == "failover") || retries != btoi(tt.want == "retry") {
				t.Errorf("noted %d failovers and %d retries", failovers, retries)
			}
			if failovers == 1 {
				f := q.rec.Failovers[tt.failovers]
				if f.From != last.Addr || f.To != next.Backend.Addr || f.Reason != tt.failure.outcome.String() || f.Attempt != tt.tried || f.BytesSent != tt.failure.BytesSent {
					t.Errorf("noted %+v", f)
				}
			}
		})
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// A backend that breaks off while the client is still sending is the one to blame, however slow
// the client is.
func TestResetWhileTheClientSendsIsTheBackends(t *testing.T) {
	t.Parallel()
	backend := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		reset(c)
	})
	for _, framing := range []string{"Content-Length: 10", "Transfer-Encoding: chunked"} {
		for _, timeout := range []time.Duration{0, 10 * time.Second} {
			for _, method := range []string{"POST", "PUT"} {
				p := start(t, func(o *setup) { o.BodyTimeout = timeout }, backend, backend)
				resp, body := p.ask(t, method+" / HTTP/1.1\r\nHost: x\r\n"+framing+"\r\n\r\n")
				if l := p.line(t); resp.StatusCode != 502 || !strings.Contains(body, "\nOutcome: upstream_reset\n") || l["outcome"] != "upstream_reset" || l["attempts"] != 1.0 {
					t.Errorf("%s, %s, timeout %v: got %d %q, line %v", method, framing, timeout, resp.StatusCode, body, l)
				}
			}
		}
	}
}

// A body that nobody has read yet goes to the next backend whole, also if the client takes longer
// to send it than an attempt that failed would wait.
func TestFailoverTakesAnUntouchedBodyAlong(t *testing.T) {
	t.Parallel()
	dead := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		reset(c)
	})
	live := origin(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %v", b, err)
	})
	for name, wait := range map[string]time.Duration{"the body comes at once": 0, "the body comes later": 100 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			p := start(t, func(o *setup) { o.BodyTimeout = 10 * time.Second }, dead, live)
			c, r := p.dial(t)
			io.WriteString(c, "PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
			if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 100 {
				t.Fatalf("got %v, %v; want to be asked for the body", resp, err)
			}
			time.Sleep(wait)
			io.WriteString(c, "hello")
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if l := p.line(t); string(body) != "hello <nil>" || err != nil || l["outcome"] != "ok" || l["attempts"] != 2.0 {
				t.Errorf("got %q, %v, line %v", body, err, l)
			}
		})
	}
}

// A connection that the backend closed while it was idle is made anew, which no client notices; nothing is sent twice.
func TestRetryOnAStaleConnection(t *testing.T) {
	t.Parallel()
	var served atomic.Int64
	backend := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		for i := 0; ; i++ {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			if i == 1 { // takes the second request and closes, as if it had been idle for too long
				reset(c)
				return
			}
			served.Add(1)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
		}
	})
	p := start(t, nil, backend)
	for range 2 {
		if resp, body := get(t, p.URL); resp.StatusCode != 200 || body != "hi" {
			t.Errorf("got %d %q", resp.StatusCode, body)
		}
	}
	lines := p.lines(t, 2)
	if n := p.metric(t, metrics.Retries.Name, "reason", "stale_connection"); n != 1 || lines[1]["attempts"] != 2.0 || served.Load() != 2 {
		t.Errorf("got %v retries, %v attempts, %d served; want 1, 2, 2", n, lines[1]["attempts"], served.Load())
	}
	resp, body := p.ask(t, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
	if resp.StatusCode != 502 || !strings.Contains(body, "\nOutcome: upstream_reset\n") {
		t.Errorf("a POST on a stale connection: got %d %q, want no second try", resp.StatusCode, body)
	}
}
