package contract

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pace/e2e/pacetest"
)

const (
	sigTERM = syscall.SIGTERM
	sigINT  = syscall.SIGINT
	sigUSR1 = syscall.SIGUSR1
	sigHUP  = syscall.SIGHUP
)

func TestDrain_FinishesFlushesAndExits0(t *testing.T) {
	t.Parallel()
	for name, sig := range map[string]syscall.Signal{"TERM": sigTERM, "INT": sigINT} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			open := make(chan struct{})
			b := pacetest.NewBackend(t, pacetest.Gated(open, pacetest.Fine))
			// Spans leave only at the end: an hour between batches.
			p, spans := pacetest.StartTraced(t, upstreams(b), "OTEL_BSP_SCHEDULE_DELAY=3600000")
			held := make(chan pacetest.Response, 2)
			for _, mode := range []pacetest.Mode{pacetest.H1, pacetest.H2C} {
				c := mode.Client(t)
				go func() { held <- pacetest.Do(c, p.Request("GET", "/"+string(mode), "")) }()
				b.WantGot(1, "/"+string(mode))
			}
			p.Signal(sig)
			pacetest.Eventually(t, func() error {
				if got := p.Ready(); got != 503 {
					return fmt.Errorf("/readyz answers %d while requests are in flight", got)
				}
				return nil
			})
			if p.Exited() {
				t.Fatal("pace has exited with two requests in flight")
			}
			close(open)
			wantStatus(t, <-held, 200)
			wantStatus(t, <-held, 200)
			if code := p.Wait(); code != 0 {
				t.Errorf("exit %d, want 0", code)
			}
			for _, path := range []string{"/h1", "/h2c"} {
				pacetest.WantTrace(spans, 1, pacetest.Path(path))
				p.WantAccess(path)
			}
			if c, err := net.Dial("tcp", p.Proxy); err == nil {
				c.Close()
				t.Error("something still listens")
			}
		})
	}
}

func TestDrain_EndsAtItsTimeout(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Hang)
	p := pacetest.Start(t, set(upstreams(b), "server", "drain_timeout", "500ms"))
	w := p.Wire()
	w.Send("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
	b.WantGot(1, "/x")
	began := time.Now()
	if code := p.Stop(); code != 1 {
		t.Errorf("exit %d, want 1: a request was aborted", code)
	}
	if took := time.Since(began); took < 500*time.Millisecond || took > 10*time.Second {
		t.Errorf("pace ended after %v with drain_timeout 500ms", took)
	}
	if n := len(p.Access("/x")); n != 1 {
		t.Errorf("%d access lines for the request that was cut, want 1", n)
	}
}

func TestDrain_SecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Hang)
	p := pacetest.Start(t, set(upstreams(b), "server", "drain_timeout", "1h"))
	w := p.Wire()
	w.Send("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
	b.WantGot(1, "/x")
	p.Signal(sigTERM)
	pacetest.Eventually(t, func() error {
		if got := p.Ready(); got == 200 {
			return fmt.Errorf("/readyz answers %d", got)
		}
		return nil
	})
	p.Signal(sigTERM)
	if code := p.Wait(); code != 1 {
		t.Errorf("exit %d, want 1: a request was aborted", code)
	} // within pacetest.Patience, far less than the hour
}

func TestDrain_IdleConnectionsDoNotHoldIt(t *testing.T) {
	t.Parallel()
	p := pacetest.Start(t, set(upstreams(pacetest.NewBackend(t, pacetest.Fine)), "server", "drain_timeout", "1h"))
	w := p.Wire()
	w.Send("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
	wantStatus(t, w.Response("GET"), 200)
	if code := p.Stop(); code != 0 {
		t.Errorf("exit %d", code)
	}
	if rest, err := w.Rest(); rest != "" || err != nil {
		t.Errorf("the idle client got %q, %v", rest, err)
	}
}

func TestUSR1_ReopensTheLog(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pace.log")
	p := pacetest.Start(t, set(upstreams(pacetest.NewBackend(t, pacetest.Fine)), "log", "file", file))
	wantStatus(t, p.Get("/before"), 200)
	p.WantAccess("/before")
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, p.Get("/between"), 200) // still goes to the old file
	pacetest.Eventually(t, func() error { return contains(file+".1", "/between") })
	p.Signal(sigUSR1)
	pacetest.Eventually(t, func() error { // the file is there a moment before lines go to it
		wantStatus(t, p.Get("/turned"), 200)
		return contains(file, "/turned")
	})
	wantStatus(t, p.Get("/after"), 200)
	p.WantAccess("/after")
	if err := contains(file+".1", "/after"); err == nil {
		t.Error("the old file has the request that came after USR1")
	}
	if p.Stderr() != "" {
		t.Errorf("with log.file set, stderr has %q", p.Stderr())
	}
}

// TestHUP_EndsNothing: a terminal that closes sends it, too.
func TestHUP_EndsNothing(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	b := pacetest.NewBackend(t, pacetest.Gated(open, pacetest.Fine))
	p := pacetest.Start(t, upstreams(b))
	w := p.Wire()
	w.Send("GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
	b.WantGot(1, "/held")
	p.Signal(sigHUP)
	pacetest.Eventually(t, func() error {
		for _, line := range p.Lines("configuration unchanged") {
			if line.Text("by") == "SIGHUP" {
				return nil
			}
		}
		return notYet("no line about the reload; exited: %t", p.Exited())
	})
	close(open)
	wantStatus(t, w.Response("GET"), 200)
	wantStatus(t, p.Get("/after"), 200)
	if code := p.Stop(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// TestHUP_DuringTheStart does not end it, and is reported when there is a log.
func TestHUP_DuringTheStart(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "proxy.toml")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	p := pacetest.Launch(t, nil, "run", fifo)
	w, err := os.OpenFile(fifo, os.O_WRONLY, 0) // when pace has opened it, and waits for the text
	if err != nil {
		t.Fatal(err)
	}
	p.Signal(sigHUP)
	cfg := onFreePorts(t, upstreams(pacetest.NewBackend(t, pacetest.Fine)))
	cfg["log"] = pacetest.Table{"format": "json"}
	if _, err := w.WriteString(cfg.TOML()); err != nil {
		t.Fatal(err)
	}
	w.Close()
	p.Proxy = cfg["server"]["listen"].(string)
	awaitServing(t, p)
	pacetest.Eventually(t, func() error { return has(p.Stderr(), "what is no regular file cannot be read a second time") })
	if code := p.Stop(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

func contains(file, text string) error {
	got, err := os.ReadFile(file)
	if err == nil && !strings.Contains(string(got), text) {
		err = fmt.Errorf("%s is not in %s", text, file)
	}
	return err
}

func TestStart_RaisesTheFileLimit(t *testing.T) {
	t.Parallel()
	p := pacetest.Start(t, upstreams(pacetest.NewClosed(t)))
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", p.PID))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(limits)) {
		if rest, ok := strings.CutPrefix(line, "Max open files"); ok {
			if f := strings.Fields(rest); f[0] != f[1] {
				t.Errorf("soft limit %s, hard limit %s", f[0], f[1])
			}
		}
	}
}
