package contract

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pace/e2e/pacetest"
	"pace/e2e/parts"
)

// socketUnit is a socket that the test holds open, as systemd does for a socket unit.
type socketUnit struct {
	pacetest.Socket
	address string
}

func newSocketUnit(t *testing.T, name string) socketUnit {
	t.Helper()
	plain := net.ListenConfig{}
	plain.SetMultipathTCP(false) // systemd's are plain TCP, too
	l, err := plain.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return socketUnit{pacetest.Socket{Name: name, File: f}, l.Addr().String()}
}

// Both listeners may be sockets from systemd, each by its name. One that nothing uses is a warning.
func TestSystemd_Sockets(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	web, admin, other := newSocketUnit(t, "http"), newSocketUnit(t, "pace-admin.socket"), newSocketUnit(t, "other")
	cfg := set(set(upstreams(b), "server", "listen", "fd:http"), "admin", "listen", "fd:pace-admin.socket")
	p := pacetest.StartActivated(t, cfg, []pacetest.Socket{other.Socket, admin.Socket, web.Socket})
	if p.Proxy != web.address || p.Admin != admin.address {
		t.Errorf("pace is at %s and %s, want %s and %s", p.Proxy, p.Admin, web.address, admin.address)
	}
	wantStatus(t, p.Get("/x"), 200)
	if lines := p.Lines("systemd has passed a socket that nothing uses"); len(lines) != 1 || lines[0].Text("socket") != "fd:other" || lines[0].Text("level") != "WARN" {
		t.Errorf("got the lines %v", lines)
	}
	if code := p.Stop(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// A name that systemd has not passed, or has passed twice, ends the start with exit code 1.
func TestSystemd_WrongNames(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	one, two := newSocketUnit(t, "http"), newSocketUnit(t, "http")
	for name, tt := range map[string]struct{ listen, want string }{
		"a name that was not passed": {"fd:web", "systemd has passed no socket of this name; write one of fd:http, fd:http"},
		"a name that two have":       {"fd:http", "systemd has passed 2 sockets of this name; write a socket unit for each, with its own FileDescriptorName="},
	} {
		file := filepath.Join(t.TempDir(), "proxy.toml")
		text := "server.listen = \"" + tt.listen + "\"\nadmin.listen = \"\"\n[upstreams]\nbackends = [\"http://" + b.Address() + "\"]\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p := pacetest.LaunchActivated(t, file, []pacetest.Socket{one.Socket, two.Socket})
		if code := p.Wait(); code != 1 || !strings.Contains(p.Stderr(), tt.want) {
			t.Errorf("%s: exit %d, %s", name, code, p.Stderr())
		}
	}
}

// starter returns what starts a pace on the socket; all have the same backend.
func (u socketUnit) starter(t *testing.T) func() *pacetest.Pace {
	t.Helper()
	b := pacetest.NewBackend(t, pacetest.Fine)
	cfg := unhurried(set(set(upstreams(b), "server", "listen", "fd:http"), "admin", "listen", ""))
	return func() *pacetest.Pace { return pacetest.StartActivated(t, cfg, []pacetest.Socket{u.Socket}) }
}

// restart restarts p ten times, while 50 requests at least are served in between.
func restart(t *testing.T, p *pacetest.Pace, start func() *pacetest.Pace, served *atomic.Int64) {
	t.Helper()
	for i := range 10 {
		before := served.Load()
		pacetest.Eventually(t, func() error {
			if served.Load() < before+50 {
				return notYet("%d served", served.Load()-before)
			}
			return nil
		})
		old := p
		if i%2 == 0 { // the next one starts before the old one ends; else while it drains
			p = start()
			old.Signal(sigTERM)
		} else {
			old.Signal(sigTERM)
			p = start()
		}
		if code := old.Wait(); code != 0 {
			t.Errorf("restart %d: exit %d", i, code)
		}
	}
}

// wantServed is nil if a response is the backend's.
func wantServed(resp *http.Response) error {
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		return fmt.Errorf("status %d, Proxy-Status %q", resp.StatusCode, resp.Header["Proxy-Status"])
	}
	_, err := io.Copy(io.Discard, resp.Body)
	return err
}

// Ten restarts while clients connect all the time. Each connection is served, by one pace or by the next: the
// socket is never closed, so the connections in its queue are never reset.
func TestSystemd_RestartsRefuseNobody(t *testing.T) {
	// Not parallel: a connection on which no request comes for a second is none that a drain waits for.
	web := newSocketUnit(t, "http")
	start := web.starter(t)
	p := start()
	stop := make(chan struct{})
	var served, failed, connected atomic.Int64
	var clients sync.WaitGroup
	one := func() {
		defer connected.Add(-1)
		c, err := net.DialTimeout("tcp", web.address, pacetest.Patience)
		if err == nil {
			defer c.Close()
			c.SetDeadline(time.Now().Add(pacetest.Patience))
			io.WriteString(c, "GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			var resp *http.Response
			if resp, err = http.ReadResponse(bufio.NewReader(c), nil); err == nil {
				err = wantServed(resp)
			}
		}
		if err == nil {
			served.Add(1)
		} else if failed.Add(1) < 10 {
			t.Error(err)
		}
	}
	clients.Go(func() {
		second := time.NewTicker(time.Second / 500)
		defer second.Stop()
		for {
			select {
			case <-stop:
				return
			case <-second.C:
				if connected.Add(1) > 100 { // the machine is busy, and more would only wait for each other
					connected.Add(-1)
				} else {
					clients.Go(one)
				}
			}
		}
	})
	restart(t, p, start, &served)
	close(stop)
	clients.Wait()
	if n := failed.Load(); n > 0 {
		t.Errorf("%d connections failed, and %d were served", n, served.Load())
	}
	t.Logf("%d connections were served over ten restarts", served.Load())
}

// Nor does a restart fail a request of clients that keep their connections, over HTTP/1.1 and HTTP/2.
func TestSystemd_RestartsFailNoRequest(t *testing.T) {
	// Not parallel, but for the two protocols: see TestSystemd_RestartsRefuseNobody.
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		web := newSocketUnit(t, "http")
		start := web.starter(t)
		p := start()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var served, failed atomic.Int64
		var clients sync.WaitGroup
		for range 4 {
			client := mode.Client(t)
			for range 5 {
				clients.Go(func() {
					for ctx.Err() == nil {
						resp, err := client.Get("http://" + web.address + "/x")
						if err == nil {
							err = wantServed(resp)
						}
						if err == nil {
							served.Add(1)
						} else if failed.Add(1) < 10 {
							t.Error(err)
						}
					}
				})
			}
		}
		restart(t, p, start, &served)
		stop()
		clients.Wait()
		if n := failed.Load(); n > 0 {
			t.Errorf("%d requests failed, and %d were served", n, served.Load())
		}
		t.Logf("%d requests were served over ten restarts", served.Load())
	})
}

// pace reports to systemd when it is ready, reloads and ends, and that it is alive.
func TestSystemd_Notify(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	path := filepath.Join(t.TempDir(), "notify")
	reports, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer reports.Close()
	alive := 0
	next := func() string {
		t.Helper()
		for {
			var buffer [1000]byte
			reports.SetReadDeadline(time.Now().Add(pacetest.Patience))
			n, err := reports.Read(buffer[:])
			if err != nil {
				t.Fatal(err)
			}
			if got := string(buffer[:n]); got != "WATCHDOG=1" {
				return got
			}
			alive++
		}
	}
	p := pacetest.Start(t, upstreams(b), "NOTIFY_SOCKET="+path, "WATCHDOG_USEC=200000")
	if got := next(); got != "READY=1" {
		t.Errorf("got %q as pace starts, want READY=1", got)
	}
	reloading := regexp.MustCompile(`^RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]*\n?$`)
	for _, cfg := range []pacetest.Config{set(upstreams(b), "headers", "proxy_value", "new"), set(upstreams(b), "log", "level", "loud")} {
		p.Reload(cfg) // the second one is refused
		if got := next(); !reloading.MatchString(got) {
			t.Errorf("got %q as a reload begins, want %v", got, reloading)
		}
		if got := next(); got != "READY=1" {
			t.Errorf("got %q as a reload ends, want READY=1", got)
		}
	}
	for alive < 3 {
		var buffer [1000]byte
		reports.SetReadDeadline(time.Now().Add(pacetest.Patience))
		n, err := reports.Read(buffer[:])
		if err != nil || string(buffer[:n]) != "WATCHDOG=1" {
			t.Fatalf("got %q, %v; want that pace is alive", buffer[:n], err)
		}
		alive++
	}
	p.Signal(syscall.SIGTERM)
	if got := next(); got != "STOPPING=1" {
		t.Errorf("got %q as pace ends, want STOPPING=1", got)
	}
	if code := p.Wait(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// The unit files that are shipped have no fault that systemd finds.
func TestSystemd_UnitsAreValid(t *testing.T) {
	t.Parallel()
	analyze := parts.Path(t, "systemd-analyze")
	folder := t.TempDir()
	files := []string{"verify", "--man=no"}
	for _, name := range []string{"pace.service", "pace.socket"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "docs", "deployment", name))
		if err != nil {
			t.Fatal(err)
		}
		here := strings.ReplaceAll(string(text), "/usr/local/bin/pace", pacetest.Binary(t)) // it must exist
		file := filepath.Join(folder, name)
		if err := os.WriteFile(file, []byte(here), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	if out, err := exec.CommandContext(t.Context(), analyze, files...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}
