package contract

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"pace/e2e/pacetest"
)

const switchToTCP = "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"

// TestUpgrade_WithABody: as docker exec does it. The connection is switched after the whole body was sent,
// also if the backend agrees before it has read it.
func TestUpgrade_WithABody(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789", 100_000)
	for _, tt := range []struct {
		name, fields, sent, body string
		early                    bool
	}{
		{"a short body", "Content-Length: 29\r\n", `{"Detach":false,"Tty":false}` + "\n", `{"Detach":false,"Tty":false}` + "\n", false},
		{"a short body, and a 101 before it is read", "Content-Length: 2\r\n", "{}", "{}", true},
		{"a chunked body", "Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n", "{}", false},
		{"a chunked body, and a 101 before it is read", "Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n", "{}", true},
		{"a large body", fmt.Sprintf("Content-Length: %d\r\n", len(long)), long, long, false},
		{"a large body, and a 101 before it is read", fmt.Sprintf("Content-Length: %d\r\n", len(long)), long, long, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
				if !tt.early {
					x.ReadBody()
				}
				x.Write("%s", switchToTCP)
				if tt.early {
					time.Sleep(20 * time.Millisecond)
					x.ReadBody()
				}
				x.Write("attached\n")
				x.Echo()
			})
			p, spans := pacetest.StartTraced(t, upstreams(b))
			w := p.Wire()
			// What follows the body in one piece with it is the new protocol's already.
			w.Send("POST /exec/1/start HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\n" + tt.fields + "\r\n" + tt.sent + "ls\n")
			got := w.Head("POST")
			if got.StatusCode != 101 || got.Header.Get("Upgrade") != "tcp" || got.Header.Get("Connection") != "Upgrade" {
				t.Fatalf("got %d, Upgrade %q, Connection %q", got.StatusCode, got.Header.Get("Upgrade"), got.Header.Get("Connection"))
			}
			w.Send("exit\n")
			w.CloseWrite()
			if rest, err := io.ReadAll(w.R); string(rest) != "attached\nls\nexit\n" || err != nil {
				t.Errorf("the stream brought %q, %v", rest, err)
			}
			r := b.WantGot(1, "/exec/1/start")[0]
			if string(r.Body) != tt.body || r.BodyErr != nil || r.Header.Get("Upgrade") != "tcp" || r.Header.Get("Connection") != "Upgrade" {
				t.Errorf("the backend got %d bytes (%v), Upgrade %q, Connection %q; want %d", len(r.Body), r.BodyErr, r.Header.Get("Upgrade"), r.Header.Get("Connection"), len(tt.body))
			}
			line := p.WantAccess("/exec/1/start")
			if line.Text("outcome") != "upgraded" || line.Int("status") != 101 || line.Int("bytes_in") != len(tt.body)+len("ls\nexit\n") || line.Int("bytes_out") != len("attached\nls\nexit\n") {
				t.Errorf("the line says %v", line)
			}
			wantAttr(t, pacetest.WantTrace(spans, 1, pacetest.ID(got.Header.Get("X-Trace-Id"))).Server.Attrs, "pace.outcome", "upgraded")
			p.WantMetric(1, "http_server_request_duration_seconds_count", "pace_outcome", "upgraded")
			p.WantMetric(1, "pace_stream_duration_seconds_count", "kind", "other")
		})
	}
}

// TestUpgrade_WithABodyThatIsDeclined: an ordinary response on connections that stay good.
func TestUpgrade_WithABodyThatIsDeclined(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Status(409, "not running"))
	p := pacetest.Start(t, upstreams(b))
	w := p.Wire()
	for range 2 {
		w.Send("POST /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 2\r\n\r\n{}")
		if got := w.Response("POST"); got.Status != 409 || got.Body != "not running" {
			t.Errorf("status %d, body %q", got.Status, got.Body)
		}
	}
	for _, r := range b.Got("/x") {
		if string(r.Body) != "{}" || r.Header.Get("Upgrade") != "tcp" {
			t.Errorf("the backend got %q, Upgrade %q", r.Body, r.Header.Get("Upgrade"))
		}
	}
	if b.Accepted() != 1 {
		t.Errorf("%d connections were made, want one", b.Accepted())
	}
}

// TestUpgrade_ABodyOverTheLimitIsNotSwitched, nor is one that its client breaks off.
func TestUpgrade_ABodyOverTheLimitIsNotSwitched(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		x.Write("%s", switchToTCP)
		x.AwaitClose()
	})
	p := pacetest.Start(t, set(upstreams(b), "server", "max_body_bytes", 1000))
	const head = "POST /%s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nTransfer-Encoding: chunked\r\n\r\n"
	w := p.Wire()
	w.Send(fmt.Sprintf(head, "large") + "7d0\r\n" + strings.Repeat("x", 2000) + "\r\n0\r\n\r\n")
	if got := w.Head("POST"); got.StatusCode != 413 {
		t.Errorf("status %d, want 413", got.StatusCode)
	}
	w = p.Wire()
	w.Send(fmt.Sprintf(head, "left") + "5\r\nhel")
	b.WantGot(1, "/left")
	w.Leave()
	if line := p.WantAccess("/left"); line.Text("outcome") != "client_gone" {
		t.Errorf("outcome %q, want client_gone", line.Text("outcome"))
	}
}
