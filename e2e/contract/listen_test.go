package contract

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"pace/e2e/pacetest"
)

// overSocket is a client whose connections go to a socket in the file system, whatever a URL names.
func overSocket(t *testing.T, path string) *http.Client {
	t.Helper()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: pacetest.Patience}
}

// A client on a socket in the file system counts as one on loopback, in all that pace reports and sends on. What
// a killed pace leaves behind is replaced by the next.
func TestListen_SocketInTheFileSystem(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		if x.Target == "/switch" {
			x.Write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
			x.Echo()
			return
		}
		x.ReadBody()
		x.Write("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(x.Body), x.Body)
	})
	path := filepath.Join(t.TempDir(), "pace.sock")
	cfg := set(upstreams(b), "server", "listen", "unix:"+path)
	killed := pacetest.Start(t, cfg)
	killed.Kill()
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("a pace that was killed leaves its socket: %v", err)
	}
	p := pacetest.Start(t, cfg)
	if p.Proxy != "unix:"+path {
		t.Errorf("the start line says that the proxy is at %q", p.Proxy)
	}
	if i, err := os.Stat(path); err != nil || i.Mode().Perm() != 0o660 {
		t.Errorf("the socket has mode %v, %v; want 0660", i.Mode(), err)
	}
	client := overSocket(t, path)
	for name, body := range map[string][]byte{"small": []byte("hello"), "large": bytes.Repeat([]byte("0123456789abcdef"), 1<<18)} {
		resp, err := client.Post("http://pace.example/"+name, "text/plain", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 || !bytes.Equal(got, body) {
			t.Errorf("a %s body: got %d with %d bytes, %v; want 200 with %d", name, resp.StatusCode, len(got), err, len(body))
		}
	}
	if got := b.WantGot(1, "/small")[0].Header; got.Get("X-Forwarded-For") != "127.0.0.1" || got.Get("X-Forwarded-Host") != "pace.example" {
		t.Errorf("the backend got %v", got)
	}
	if line := p.WantAccess("/small"); line.Text("client") != "127.0.0.1" {
		t.Errorf("got the access line %v", line)
	}
	echoOverSocket(t, path)
	if line := p.WantAccess("/switch"); line.Text("close_reason") != "client_closed" {
		t.Errorf("got the stream's line %v", line)
	}
	resp, err := client.Get("http://pace.example/metrics") // a peer on loopback may see it
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("the metrics page: got %d", resp.StatusCode)
	}
	if code := p.Stop(); code != 0 {
		t.Errorf("exit %d", code)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("a pace that has ended leaves its socket: %v", err)
	}
}

// echoOverSocket switches to another protocol, sends, says that it has no more to say, and reads to the end.
func echoOverSocket(t *testing.T, path string) {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(pacetest.Patience))
	io.WriteString(c, "GET /switch HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != 101 {
		t.Fatalf("got %v, %v", resp, err)
	}
	io.WriteString(c, "hello")
	c.(*net.UnixConn).CloseWrite()
	if got, err := io.ReadAll(r); err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
}

// The admin listener on a socket in the file system accepts every Host, since no browser can be led there.
func TestListen_AdminOnASocket(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	path := filepath.Join(t.TempDir(), "admin.sock")
	file := filepath.Join(t.TempDir(), "proxy.toml")
	text := "server.listen = \"127.0.0.1:0\"\nadmin.listen = \"unix:" + path + "\"\nlog.format = \"json\"\n[upstreams]\nbackends = [\"http://" + b.Address() + "\"]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := pacetest.Launch(t, nil, "run", "--config", file)
	client := overSocket(t, path)
	for _, page := range []string{"/readyz", "/livez", "/metrics", "/api/v1/inflight"} {
		pacetest.Eventually(t, func() error {
			resp, err := client.Get("http://anybody.example" + page)
			if err != nil {
				return err
			}
			resp.Body.Close()
			if resp.StatusCode != 200 {
				return notYet("%s: got %d", page, resp.StatusCode)
			}
			return nil
		})
	}
	if lines := p.AwaitLines(1, "listening"); len(lines) != 1 || lines[0].Text("admin") != "unix:"+path {
		t.Errorf("got the start line %v", lines)
	}
	if code := p.Stop(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// An address that cannot be opened ends the start with exit code 1, and the message says what to do.
func TestListen_WhatCannotBeOpened(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"unix:" + file:            "the file is not a socket; choose another path, or remove the file",
		"unix:/nowhere/pace.sock": "choose a path in a folder that exists and that pace may write",
		"fd:http":                 "systemd has passed no socket; start pace with its socket unit, or write host:port",
	} {
		name := filepath.Join(t.TempDir(), "proxy.toml")
		text := "server.listen = \"" + address + "\"\nadmin.listen = \"\"\n[upstreams]\nbackends = [\"http://" + b.Address() + "\"]\n"
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := pacetest.Exec(t, t.TempDir(), nil, "run", "--config", name); got.Code != 1 || !strings.Contains(got.Stderr, want) || !strings.Contains(got.Stderr, address) {
			t.Errorf("%s: exit %d, %s", address, got.Code, got.Stderr)
		}
	}
}

// A reload opens the new address before it closes the old one. pace serves every connection that was opened at
// the old address, and closes it after its next response. Requests in flight there finish.
func TestReload_Listener(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	b := pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{"/held": pacetest.Gated(open, pacetest.Fine), "/": pacetest.Fine}))
	p := pacetest.Start(t, upstreams(b))
	old := p.Proxy
	held, idle := p.Wire(), p.Wire()
	held.Send("GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
	b.WantGot(1, "/held")
	idle.Send("GET /before HTTP/1.1\r\nHost: x\r\n\r\n")
	wantStatus(t, idle.Response("GET"), 200)
	h2 := p.H2Wire()

	var served, broken atomic.Int64
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for {
				c, err := net.DialTimeout("tcp", old, pacetest.Patience)
				if err != nil { // it is gone
					return
				}
				c.SetDeadline(time.Now().Add(pacetest.Patience))
				io.WriteString(c, "GET /load HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
				if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != 200 {
					broken.Add(1)
				} else {
					served.Add(1)
				}
				c.Close()
			}
		})
	}
	pacetest.Eventually(t, func() error {
		if served.Load() < 50 {
			return notYet("%d served", served.Load())
		}
		return nil
	})
	wantReload(t, p.Reload(set(upstreams(b), "server", "listen", "127.0.0.2:0")), `server.listen: "127.0.0.1:0" became "127.0.0.2:0"`)
	clients.Wait()
	if n := broken.Load(); n > 0 {
		t.Errorf("%d connections broke, and %d were served", n, served.Load())
	}
	lines := p.Lines("listening")
	p.Proxy = lines[len(lines)-1].Text("proxy")
	if !strings.HasPrefix(p.Proxy, "127.0.0.2:") {
		t.Fatalf("pace listens on %q", p.Proxy)
	}
	wantStatus(t, p.Get("/after"), 200)

	idle.Send("GET /again HTTP/1.1\r\nHost: x\r\n\r\n")
	if again := idle.Head("GET"); again.StatusCode != 200 || !again.Close {
		t.Errorf("the next request on an open connection: got %d, with Connection: close %t; want 200, and true", again.StatusCode, again.Close)
	}
	for {
		f, err := h2.ReadFrame()
		if err != nil {
			t.Fatalf("no GOAWAY: %v", err)
		}
		if g, ok := f.(*http2.GoAwayFrame); ok {
			if g.LastStreamID != 1<<31-1 || g.ErrCode != 0 {
				t.Errorf("got %v", g)
			}
			break
		}
	}
	close(open)
	wantStatus(t, held.Response("GET"), 200)

	// An address that is in use is refused, and the one in force stays.
	used, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	line := p.Reload(set(upstreams(b), "server", "listen", used.Addr().String()))
	want := "server.listen: listen " + used.Addr().String() + ": the address is in use; stop the process that uses it, or choose another address"
	if faults := line.List("faults"); line.Text("level") != "ERROR" || len(faults) != 1 || !strings.Contains(faults[0], want) {
		t.Errorf("got %v", line)
	}
	wantStatus(t, p.Get("/still"), 200)
}
