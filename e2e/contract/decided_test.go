package contract

import (
	"net/http"
	"strings"
	"syscall"
	"testing"

	"pace/e2e/pacetest"
)

// This file holds pace to what docs/decisions/0012-edges-of-http.md decides.

func TestDecided_AClientThatClosesItsHalfHasLeft(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{})
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		pacetest.Hang(x)
		close(closed)
	})
	p, spans := pacetest.StartTraced(t, upstreams(b))
	w := p.Wire()
	w.Send("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
	b.WantGot(1, "/x")
	awaitPhase(t, p, "wait")
	w.CloseWrite()
	if got, _ := w.Rest(); got != "" {
		t.Errorf("the client got %q, want nothing", got)
	}
	<-closed // the backend need not go on for nobody
	line := p.WantAccess("/x")
	if line.Text("outcome") != "client_gone" || line.Int("status") != 499 || line.Text("left_in") != "wait" {
		t.Errorf("the access line says %v", line)
	}
	trace := pacetest.WantTrace(spans, 1, pacetest.Path("/x"))
	wantAttr(t, trace.Server.Attrs, "pace.outcome", "client_gone")
	p.WantMetric(1, "http_server_request_duration_seconds_count", "pace_outcome", "client_gone")
}

func TestDecided_EarlyHintsGoToWhoDidNotAsk(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Raw("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfine"))
	p := pacetest.Start(t, upstreams(b))
	for version, want := range map[string]string{"1.1": "103 Early Hints", "1.0": "200 OK"} {
		w := p.Wire()
		w.Send("GET /x HTTP/" + version + "\r\nHost: x\r\n\r\n")
		first := w.Head("GET")
		if first.Status != want {
			t.Errorf("HTTP/%s: the first response is %s, want %s", version, first.Status, want)
		}
		if first.StatusCode != http.StatusEarlyHints {
			continue
		}
		if link := first.Header.Get("Link"); link != "</a.css>; rel=preload" {
			t.Errorf("HTTP/%s: Link is %q", version, link)
		}
		if got := w.Response("GET"); got.Status != 200 || got.Body != "fine" {
			t.Errorf("HTTP/%s: the client got %d %q after it", version, got.Status, got.Body)
		}
	}
	p.WantMetric(2, "http_server_request_duration_seconds_count", "pace_outcome", "ok", "http_response_status_code", "200")
}

func TestDecided_ChunkedTwiceIsRefusedFromClients(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(b))
	all := []string{"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked, chunked\r\n"}
	for _, fields := range all {
		w := p.Wire()
		w.Send("POST /x HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n3\r\nabc\r\n0\r\n\r\n")
		wantStatus(t, w.Response("POST"), 501)
		if rest, _ := w.Rest(); rest != "" {
			t.Errorf("after the refusal comes %q, want the connection's end", rest)
		}
	}
	p.WantMetric(float64(len(all)), "pace_refused_total", "reason", "unsupported")
	p.WantMetric(0, "http_server_request_duration_seconds_count")
	if got := len(b.Requests()); got != 0 {
		t.Errorf("the backend got %d requests, want none", got)
	}
}

func TestDecided_ChunkedTwiceIsInvalidFromBackends(t *testing.T) {
	t.Parallel()
	for _, fields := range []string{"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked, chunked\r\n"} {
		b := pacetest.NewBackend(t, pacetest.Raw("HTTP/1.1 200 OK\r\n"+fields+"\r\n3\r\nabc\r\n0\r\n\r\n"))
		p := pacetest.Start(t, upstreams(b))
		got := p.Get("/x")
		wantStatus(t, got, 502)
		if line := p.WantAccess("/x"); line.Text("outcome") != "upstream_invalid" {
			t.Errorf("the access line says %v", line)
		}
		b.WantGot(1, "/x")
	}
}

func TestDecided_ASmallPUTIsNotReplayed(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.CloseReused)
	p := pacetest.Start(t, upstreams(b))
	wantStatus(t, p.Get("/warm"), 200)
	wantStatus(t, p.Send("PUT", "/x", "abc"), 502)
	if line := p.WantAccess("/x"); line.Text("outcome") != "upstream_reset" || line.Int("attempts") != 1 {
		t.Errorf("the access line says %v", line)
	}
	b.WantGot(1, "/x")
	p.WantMetric(0, "pace_retries_total")

	// Without a body the same PUT is retried.
	wantStatus(t, p.Get("/warm"), 200)
	wantStatus(t, p.Send("PUT", "/y", ""), 200)
	b.WantGot(2, "/y")
	p.WantMetric(1, "pace_retries_total")
}

// bodiless are requests whose response has no body, and a backend's response to each.
var bodiless = []struct{ method, response string }{
	{"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"},
	{"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"},
}

func TestDecided_LateBytesOnAnIdleConnectionCostNobody(t *testing.T) {
	t.Parallel()
	for _, tt := range bodiless {
		responded, late := make(chan struct{}), make(chan struct{})
		b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
			x.ReadBody()
			if x.Target != "/first" {
				pacetest.Fine(x)
				return
			}
			x.Write("%s", tt.response)
			<-responded
			x.Write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")
			close(late)
			x.AwaitClose()
		})
		p := pacetest.Start(t, upstreams(b))
		p.Send(tt.method, "/first", "")
		p.WantAccess("/first") // its connection is in the pool
		close(responded)
		<-late
		if got := p.Get("/second"); got.Status != 200 || got.Body != "fine" {
			t.Errorf("after %s: the next client got %d %q", tt.method, got.Status, got.Body)
		}
		if got := b.WantGot(1, "/second")[0]; got.Conn != 2 {
			t.Errorf("after %s: the next request came on connection %d, want a new one", tt.method, got.Conn)
		}
	}
}

func TestDecided_LateBytesInTheNextExchangeAreInvalid(t *testing.T) {
	t.Parallel()
	for _, tt := range bodiless {
		b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
			x.ReadBody()
			switch {
			case x.Target == "/first":
				x.Write("%s", tt.response)
			case x.Target == "/second":
				x.Write("hello")
				pacetest.Fine(x)
				x.AwaitClose()
			default:
				pacetest.Fine(x)
			}
		})
		p := pacetest.Start(t, upstreams(b))
		p.Send(tt.method, "/first", "")
		p.WantAccess("/first")
		got := p.Get("/second")
		wantStatus(t, got, 502)
		if strings.Contains(got.Body, "hello") {
			t.Errorf("after %s: the client got the late bytes: %q", tt.method, got.Body)
		}
		if line := p.WantAccess("/second"); line.Text("outcome") != "upstream_invalid" || line.Int("attempts") != 1 {
			t.Errorf("after %s: the access line says %v", tt.method, line)
		}
		b.WantGot(1, "/second") // sent once
		p.WantMetric(0, "pace_retries_total")
		wantStatus(t, p.Get("/third"), 200)
		if got := b.WantGot(1, "/third")[0]; got.Conn != 2 {
			t.Errorf("after %s: the third request came on connection %d, want a new one", tt.method, got.Conn)
		}
	}
}

func TestDecided_QUITDumpsTheGoroutines(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Hang)
	p := pacetest.Start(t, upstreams(b))
	w := p.Wire()
	w.Send("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
	pacetest.Eventually(t, func() error {
		if len(b.Requests()) == 0 {
			return notYet("the request at the backend")
		}
		return nil
	})
	p.Signal(syscall.SIGQUIT)
	if code := p.Wait(); code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
	for _, want := range []string{"SIGQUIT: quit", "pace/proxy.(*Handler).ServeHTTP"} {
		if !strings.Contains(p.Stderr(), want) {
			t.Errorf("stderr lacks %q", want)
		}
	}
}
