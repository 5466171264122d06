package contract

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"pace/e2e/pacetest"
)

// echoServer is a WebSocket server that sends every message back; it knows nothing of pace.
type echoServer struct{ addr string }

func (e echoServer) Address() string { return e.addr }

func newEchoServer(t *testing.T) echoServer {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"chat"}, InsecureSkipVerify: true})
		if err != nil {
			return
		}
		c.SetReadLimit(4 << 20)
		for {
			kind, message, err := c.Read(r.Context())
			if err != nil {
				return
			}
			if string(message) == "bye" {
				c.Close(websocket.StatusCode(4001), "as asked")
				return
			}
			if err := c.Write(r.Context(), kind, message); err != nil {
				return
			}
		}
	}))
	t.Cleanup(server.Close)
	return echoServer{server.Listener.Addr().String()}
}

func TestWebSocket_Echo(t *testing.T) {
	t.Parallel()
	p := pacetest.Start(t, upstreams(newEchoServer(t)))
	ctx, cancel := context.WithTimeout(t.Context(), pacetest.Patience)
	defer cancel()
	c, resp, err := websocket.Dial(ctx, "ws://"+p.Proxy+"/ws", &websocket.DialOptions{Subprotocols: []string{"chat"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if resp.Header.Get("X-Backend") == "" || c.Subprotocol() != "chat" || !hex32.MatchString(resp.Header.Get("X-Trace-Id")) {
		t.Errorf("X-Backend %q, X-Trace-Id %q, subprotocol %q", resp.Header.Get("X-Backend"), resp.Header.Get("X-Trace-Id"), c.Subprotocol())
	}
	c.SetReadLimit(4 << 20)
	for _, message := range []string{"a", strings.Repeat("b", 70_000), strings.Repeat("c", 1<<20)} {
		if err := c.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Read(ctx); err != nil || string(got) != message {
			t.Fatalf("%d bytes came back, error %v; want %d", len(got), err, len(message))
		}
	}
	c.Write(ctx, websocket.MessageText, []byte("bye"))
	if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != 4001 {
		t.Errorf("the server's close code came as %v", err)
	}
	if line := p.WantAccess("/ws"); line.Text("outcome") != "upgraded" || line.Int("status") != 101 {
		t.Errorf("log says %s, %s", line.Text("outcome"), line.Text("status"))
	}
	p.WantMetric(0, "http_server_active_requests")
}

// TestUpgrade_IsNoRequestOfHours: a stream's life is not a request's duration.
func TestUpgrade_IsNoRequestOfHours(t *testing.T) {
	t.Parallel()
	const held = 2 * time.Second
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		x.Write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		time.Sleep(held)
		x.Close()
	})
	p := pacetest.Start(t, upstreams(b))
	w := p.Wire()
	w.Send("GET /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	if got := w.Head("GET"); got.StatusCode != 101 {
		t.Fatalf("status %d", got.StatusCode)
	}
	w.Rest()
	p.WantMetric(1, "http_server_request_duration_seconds_count", "pace_outcome", "upgraded", "http_response_status_code", "101")
	m := p.Metrics()
	for _, name := range []string{"http_server_request_duration_seconds_sum", "http_requests_duration_seconds_sum"} {
		if got := m.Sum(name); got >= held.Seconds() {
			t.Errorf("%s = %v: the stream of %v is in it", name, got, held)
		}
	}
}

func TestUpgrade_BytesRightBehindTheHeaders(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		x.Write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nfirst")
		x.Echo()
	})
	p := pacetest.Start(t, upstreams(b))
	w := p.Wire()
	w.Send("GET /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly")
	w.Head("GET")
	got := make([]byte, len("firstearly"))
	if _, err := io.ReadFull(w.R, got); err != nil || string(got) != "firstearly" {
		t.Errorf("came %q, %v", got, err)
	}
}

// TestUpgrade_HalfClose: a client that has said all still hears the rest.
func TestUpgrade_HalfClose(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.UpgradeEcho)
	p := pacetest.Start(t, upstreams(b))
	w := p.Wire()
	w.Send("GET /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	w.Head("GET")
	w.Send("all")
	w.CloseWrite()
	if got, _ := w.Rest(); got != "all" {
		t.Errorf("came %q, want %q", got, "all")
	}
}

func TestUpgrade_DeclinedIsAnOrdinaryAnswer(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Status(403, "no"))
	p := pacetest.Start(t, upstreams(b))
	w := p.Wire()
	for range 2 { // the connection stays good
		w.Send("GET /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		if got := w.Response("GET"); got.Status != 403 || got.Body != "no" {
			t.Errorf("status %d, body %q", got.Status, got.Body)
		}
	}
	if sent := b.Requests()[0].Header; sent.Get("Upgrade") != "echo" || !strings.EqualFold(sent.Get("Connection"), "upgrade") {
		t.Errorf("the backend got Upgrade %q, Connection %q", sent.Get("Upgrade"), sent.Get("Connection"))
	}
	p.WantMetric(2, "http_server_request_duration_seconds_count", "pace_outcome", "client_error")
}

// TestUpgrade_Unasked: a 101 to a plain request is a fault of the backend's.
func TestUpgrade_Unasked(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.UpgradeEcho)
	p := pacetest.Start(t, set(upstreams(b), "upstreams", "max_retries", 0))
	wantStatus(t, p.Get("/x"), 502)
	if line := p.WantAccess("/x"); line.Text("outcome") != "upstream_invalid" {
		t.Errorf("outcome %q, want upstream_invalid", line.Text("outcome"))
	}
}
