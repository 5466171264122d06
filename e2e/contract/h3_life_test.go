package contract

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"pace/e2e/pacetest"
)

// Draining sends GOAWAY once on every connection over HTTP/3, lets the request in flight finish, refuses new connections
// at once, and waits neither for a client that is idle nor for one that dials anew.
func TestH3_Drain(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	b := pacetest.NewBackend(t, pacetest.Gated(open, pacetest.Fine))
	ca := pacetest.NewCA(t)
	p := pacetest.Start(t, set(overH3(upstreams(b), ca.Issue("pace.test")), "server", "drain_timeout", "1h"))
	busy, idle := ca.H3Wire(p.Proxy, "pace.test"), ca.H3Wire(p.Proxy, "pace.test")
	response := busy.Stream(h3Head()())
	response.Close()
	b.WantGot(1, "/x")
	p.Signal(sigTERM)
	for name, w := range map[string]*pacetest.H3Wire{"busy": busy, "idle": idle} {
		wantGoaway(t, name, w.Control())
	}
	began := time.Now()
	if _, err := dialH3(t, p.Proxy, "", h3Config(ca, "pace.test")); err == nil || time.Since(began) > pacetest.Patience/2 {
		t.Errorf("a new connection got %v after %v", err, time.Since(began))
	}
	if p.Exited() {
		t.Fatal("pace has exited with a request in flight")
	}
	close(open)
	if got, err := io.ReadAll(response); err != nil || len(got) == 0 {
		t.Errorf("the request in flight got %q, %v", got, err)
	}
	busy.CloseWithError(0x100, "") // as clients do that have read GOAWAY
	began = time.Now()
	if code := p.Wait(); code != 0 {
		t.Errorf("exit %d", code)
	}
	if d := time.Since(began); d > 4*time.Second {
		t.Errorf("pace ended %v after the last response", d)
	}
	if line := p.WantAccess("/x"); line.Text("outcome") != "ok" {
		t.Errorf("the line says %v", line)
	}
}

// wantGoaway reads a server's control stream up to GOAWAY, which must be whole.
func wantGoaway(t *testing.T, name string, control *quic.ReceiveStream) {
	t.Helper()
	b := make([]byte, 0, 64)
	for {
		one := make([]byte, 1)
		if _, err := control.Read(one); err != nil {
			t.Errorf("%s: no GOAWAY in %x: %v", name, b, err)
			return
		}
		b = append(b, one[0])
		if n := len(b); n >= 3 && b[n-3] == 7 && b[n-2] == 1 {
			return
		}
	}
}

// A response whose end is still under way when its handler has ended gets to the client although pace drains: here the
// client takes the first of it only 3 s later.
func TestH3_DrainOverASlowPath(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	ca := pacetest.NewCA(t)
	p := pacetest.Start(t, set(overH3(upstreams(b), ca.Issue("pace.test")), "server", "drain_timeout", "1h"))
	w := ca.H3WireWith(p.Proxy, "pace.test", &quic.Config{InitialStreamReceiveWindow: 16, MaxStreamReceiveWindow: 16})
	s := w.Stream(h3Head()())
	s.Close()
	if line := p.WantAccess("/x"); line.Text("outcome") != "ok" {
		t.Errorf("the line says %v", line)
	}
	p.Signal(sigTERM)
	time.Sleep(3 * time.Second)
	s.SetReadDeadline(time.Now().Add(pacetest.Patience))
	if got, err := io.ReadAll(s); err != nil || len(got) <= 16 {
		t.Errorf("the client got %q, %v", got, err)
	}
	w.CloseWithError(0x100, "")
	if code := p.Wait(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// A request whose header comes to its end long after pace has begun to drain gets 503, without a field of the
// connection: that would make the response malformed.
func TestH3_DrainRejects(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	b := pacetest.NewBackend(t, pacetest.Gated(open, pacetest.Fine))
	ca := pacetest.NewCA(t)
	p := pacetest.Start(t, set(overH3(upstreams(b), ca.Issue("pace.test")), "server", "drain_timeout", "1h"))
	w := ca.H3Wire(p.Proxy, "pace.test")
	header := h3Head()()
	late := w.Stream(header[:5])
	busy := w.Stream(header)
	busy.Close()
	b.WantGot(1, "/x")
	p.Signal(sigTERM)
	wantGoaway(t, "its connection", w.Control())
	p.AwaitRejecting()
	late.Write(header[5:])
	late.Close()
	kind, payload, err := pacetest.H3Frame(bufio.NewReader(late))
	if err != nil || kind != 1 {
		t.Fatalf("the client got frame %d, %v", kind, err)
	}
	fields := pacetest.H3Fields(t, payload)
	if fields[":status"] != "503" {
		t.Errorf("the client got %v", fields)
	}
	for _, name := range []string{"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"} {
		if value, ok := fields[name]; ok {
			t.Errorf("the client got %s: %s, which RFC 9114 §4.2 forbids", name, value)
		}
	}
	close(open)
	io.ReadAll(busy)
	w.CloseWithError(0x100, "")
	if code := p.Wait(); code != 0 {
		t.Errorf("exit %d", code)
	}
	var outcomes []string
	for _, line := range p.Lines("request") {
		outcomes = append(outcomes, line.Text("outcome"))
	}
	if !slices.Equal(outcomes, []string{"draining", "ok"}) {
		t.Errorf("the lines say %v", outcomes)
	}
}

// A request that takes longer than drain_timeout is aborted, as over TCP.
func TestH3_DrainTimeout(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) { x.AwaitClose() })
	ca := pacetest.NewCA(t)
	p := pacetest.Start(t, set(overH3(upstreams(b), ca.Issue("pace.test")), "server", "drain_timeout", "300ms"))
	got := make(chan pacetest.Response, 1)
	req, client := h3Request(t, p, "GET", "/x", nil), ca.H3("pace.test")
	go func() { got <- pacetest.Do(client.Client, req) }()
	b.WantGot(1, "/x")
	p.Signal(sigTERM)
	if r := <-got; r.Status != 503 {
		t.Errorf("the client got %d, %v", r.Status, r.Err)
	}
	if code := p.Wait(); code != 1 {
		t.Errorf("exit %d", code)
	}
	if line := p.WantAccess("/x"); line.Text("outcome") != "drain_timeout" {
		t.Errorf("the line says %v", line)
	}
}

// Connections go on while the configuration is reloaded and certificates are replaced; new ones get what is new. Without
// http3 the clients leave, and with it again they come back.
func TestH3_Reload(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		if x.Target == "/slow" {
			<-open
		}
		pacetest.Fine(x)
	})
	ca := pacetest.NewCA(t)
	cert := ca.Issue("pace.test")
	port := freePort(t)
	c := overH3(upstreams(b), cert)
	c["listener.a"]["listen"] = fmt.Sprint("127.0.0.1:", port)
	p := pacetest.Start(t, c)
	old := ca.H3("pace.test")
	get := func(client *pacetest.H3Client, want int) {
		t.Helper()
		if got := pacetest.Do(client.Client, h3Request(t, p, "GET", "/x", nil)); got.Status != want {
			t.Errorf("got %d, %v; want %d", got.Status, got.Err, want)
		}
	}
	get(old, 200)
	ca.IssueTo(cert, "pace.test", "new.test")
	p.Reload(set(c, "server", "read_header_timeout", "7s"))
	get(ca.H3("new.test"), 200)
	get(old, 200)
	if n := old.Dials.Load(); n != 1 {
		t.Errorf("the client has dialled %d times", n)
	}
	slow := make(chan pacetest.Response, 1)
	req := h3Request(t, p, "GET", "/slow", nil)
	go func() { slow <- pacetest.Do(old.Client, req) }()
	b.WantGot(1, "/slow")
	c["listener.a"]["http3"] = false
	p.Reload(c)
	if _, err := dialH3(t, p.Proxy, "", h3Config(ca, "pace.test")); err == nil {
		t.Error("HTTP/3 is switched off, and a client was served")
	}
	c["listener.a"]["http3"] = true
	if line := p.Reload(c); line.Text("msg") != "configuration reloaded" { // the port is in use, by pace itself
		t.Errorf("HTTP/3 cannot be switched on again: %v", line)
	}
	get(ca.H3("pace.test"), 200)
	close(open)
	if got := <-slow; got.Status != 200 {
		t.Errorf("the request in flight got %d, %v", got.Status, got.Err)
	}
	get(ca.H3("pace.test"), 200)
	c["listener.a"]["http3"] = false
	p.Reload(c)
	pacetest.Eventually(t, func() error { // the port is free when the last client has left
		udp, err := net.ListenPacket("udp4", p.Proxy)
		if err == nil {
			udp.Close()
		}
		return err
	})
	c["listener.a"]["http3"] = true
	p.Reload(c)
	get(ca.H3("pace.test"), 200)
}

// The log says on which UDP ports HTTP/3 is served, at the start and when a reload switches it on.
func TestH3_IsInTheLog(t *testing.T) {
	t.Parallel()
	ca := pacetest.NewCA(t)
	c := overH3(upstreams(pacetest.NewBackend(t, pacetest.Fine)), ca.Issue("pace.test"))
	c["listener.b"] = pacetest.Table{"listen": "127.0.0.1:0", "tls": true}
	p := pacetest.Start(t, c)
	want := func(nth int, proxy, http3 string) {
		t.Helper()
		lines := p.Lines("listening")
		if len(lines) != nth || lines[nth-1].Text("proxy") != proxy || lines[nth-1].Text("http3") != http3 {
			t.Errorf("got the lines %v, want %d, the last with proxy %q and http3 %q", lines, nth, proxy, http3)
		}
	}
	first, second := p.Listeners[0], p.Listeners[1]
	want(1, first+", "+second, first+"/udp")
	c["listener.b"]["http3"] = true
	p.Reload(c)
	want(2, "", second+"/udp")
	c["listener.b"]["http3"] = false
	p.Reload(c)
	want(2, "", second+"/udp")
	third := fmt.Sprint("127.0.0.1:", freePort(t))
	c["listener.a"]["listen"] = third
	p.Reload(c)
	want(3, third, third+"/udp")
}

// An idle connection ends after idle_timeout, and one without a request after read_header_timeout.
func TestH3_IdleConnections(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	ca := pacetest.NewCA(t)
	c := set(overH3(upstreams(b), ca.Issue("pace.test")), "server", "idle_timeout", "300ms")
	p := pacetest.Start(t, set(c, "server", "read_header_timeout", "3s"))
	used := ca.H3Wire(p.Proxy, "pace.test")
	s := used.Stream(h3Head()())
	s.Close()
	if _, err := io.ReadAll(s); err != nil {
		t.Fatal(err)
	}
	unused, partial := ca.H3Wire(p.Proxy, "pace.test"), ca.H3Wire(p.Proxy, "pace.test")
	partial.Stream(h3Head()()[:5])
	for name, w := range map[string]*pacetest.H3Wire{"used": used, "unused": unused, "with half a header": partial} {
		select {
		case <-w.Context().Done():
		case <-time.After(pacetest.Patience):
			t.Errorf("the connection %s has not ended", name)
		}
	}
	p.WantMetric(0, "pace_connections", "state", "idle")
}
