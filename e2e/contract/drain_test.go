package contract

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

// What an HTTP/2 client sends for GET http://x/, alone on its connection (RFC 9113, RFC 7541 §C.2).
const (
	h2Opening = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	h2GetRoot = "\x00\x00\x06\x01\x05\x00\x00\x00\x01\x82\x86\x84\x41\x01x"
)

const (
	h2Headers = 1
	h2GoAway  = 7
)

// awaitFrame reads frames until one of this type, and returns its payload.
func awaitFrame(t *testing.T, w *pacetest.Wire, kind byte) []byte {
	t.Helper()
	for {
		var head [9]byte
		if _, err := io.ReadFull(w.R, head[:]); err != nil {
			t.Fatalf("no frame of type %d: %v", kind, err)
		}
		payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(w.R, payload); err != nil {
			t.Fatal(err)
		}
		if head[3] == kind {
			return payload
		}
	}
}

// TestDrain_TellsHTTP2AtOnce has one connection with a request in flight, and one that is idle.
func TestDrain_TellsHTTP2AtOnce(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	b := pacetest.NewBackend(t, pacetest.Gated(open, pacetest.Fine))
	p := pacetest.Start(t, set(upstreams(b), "server", "drain_timeout", "1h"))
	busy, idle := p.Wire(), p.Wire()
	busy.Send(h2Opening + h2GetRoot)
	b.WantGot(1, "/")
	idle.Send(h2Opening)
	awaitFrame(t, idle, 4) // SETTINGS: it is open
	p.Signal(sigTERM)
	for name, w := range map[string]*pacetest.Wire{"busy": busy, "idle": idle} {
		payload := awaitFrame(t, w, h2GoAway)
		if last, code := binary.BigEndian.Uint32(payload), binary.BigEndian.Uint32(payload[4:]); last < 1 && name == "busy" || code != 0 {
			t.Errorf("%s: GOAWAY names stream %d, error %d; want at least stream 1, no error", name, last, code)
		}
	}
	if p.Exited() {
		t.Fatal("pace has exited with a request in flight")
	}
	close(open)
	if block := awaitFrame(t, busy, h2Headers); len(block) == 0 || block[0] != 0x88 {
		t.Errorf("the response's header begins with %x, want 88, which is :status 200", block)
	}
	if code := p.Wait(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// TestDrainDelay_KeepsAccepting: for as long as a load balancer needs to look elsewhere.
func TestDrainDelay_KeepsAccepting(t *testing.T) {
	t.Parallel()
	const delay = 5 * time.Second
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, set(upstreams(b), "server", "drain_delay", delay.String()))
	began := time.Now()
	p.Signal(sigTERM)
	pacetest.Eventually(t, func() error {
		if got := p.Ready(); got != 503 {
			return notYet("/readyz answers %d", got)
		}
		return nil
	})
	for round := 0; round < 10 || time.Since(began) < delay/4; round++ {
		for _, mode := range []pacetest.Mode{pacetest.H1, pacetest.H2C} {
			wantStatus(t, pacetest.Do(mode.Client(t), p.Request("GET", "/x", "")), 200) // on a new connection
		}
	}
	if code := p.Wait(); code != 0 {
		t.Errorf("exit %d", code)
	}
	if took := time.Since(began); took < delay {
		t.Errorf("pace ended after %v, want %v", took, delay)
	}
}

// TestDrain_ServesWhatWaitsToBeAccepted stops pace, so that connections wait in the kernel, and lets it
// find the signal and them at once.
func TestDrain_ServesWhatWaitsToBeAccepted(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(b))
	p.Signal(syscall.SIGSTOP)
	wires := make([]*pacetest.Wire, 50)
	for i := range wires {
		wires[i] = p.Wire()
		wires[i].Send(fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: x\r\n\r\n", i))
	}
	p.Signal(sigTERM)
	p.Signal(syscall.SIGCONT)
	for _, w := range wires {
		wantStatus(t, w.Response("GET"), 200)
	}
	if code := p.Wait(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// TestDrain_ResetsNoConnection has clients that connect all the while: each connection that exists when the
// listener closes is answered, and each later one is refused.
func TestDrain_ResetsNoConnection(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(b))
	var responded, reset atomic.Int64
	var clients sync.WaitGroup
	for range 32 {
		clients.Go(func() {
			for {
				c, err := net.DialTimeout("tcp", p.Proxy, pacetest.Patience)
				if err != nil { // refused
					return
				}
				io.WriteString(c, "GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
				c.SetReadDeadline(time.Now().Add(pacetest.Patience))
				if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
					reset.Add(1)
				} else if resp.StatusCode == 200 {
					responded.Add(1)
				}
				c.Close()
			}
		})
	}
	pacetest.Eventually(t, func() error {
		if responded.Load() < 200 {
			return notYet("%d answered", responded.Load())
		}
		return nil
	})
	p.Signal(sigTERM)
	clients.Wait()
	if n := reset.Load(); n > 0 {
		t.Errorf("%d connections were reset, and %d answered", n, responded.Load())
	}
	if code := p.Wait(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// TestDrain_WhatIsAbortedIsCalledSo, by the timeout and by a second signal, before the response and in it.
func TestDrain_WhatIsAbortedIsCalledSo(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, timeout, says string
		end                 func(p *pacetest.Pace)
	}{
		{"the timeout", "300ms", "drain timeout: aborted 2 requests", func(*pacetest.Pace) {}},
		{"a second signal", "1h", "second signal: aborted 2 requests", func(p *pacetest.Pace) {
			p.AwaitDraining()
			p.Signal(sigTERM)
		}},
		{"a second signal during the delay", "1h", "second signal: aborted 2 requests", func(p *pacetest.Pace) { p.Signal(sigINT) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{"/wait": pacetest.Hang, "/body": pacetest.Endless}))
			cfg := set(upstreams(b), "server", "drain_timeout", tt.timeout)
			if strings.Contains(tt.name, "delay") {
				cfg = set(cfg, "server", "drain_delay", "1h")
			}
			p, spans := pacetest.StartTraced(t, cfg)
			waiting, body := p.Wire(), p.Wire()
			waiting.Send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
			body.Send("GET /body HTTP/1.1\r\nHost: x\r\n\r\n")
			if got := body.Head("GET"); got.StatusCode != 200 {
				t.Fatalf("status %d", got.StatusCode)
			}
			b.WantGot(1, "/wait")
			p.Signal(sigTERM)
			pacetest.Eventually(t, func() error {
				if got := p.Ready(); got == 200 {
					return notYet("/readyz answers %d", got)
				}
				return nil
			})
			tt.end(p)
			got := waiting.Response("GET")
			wantStatus(t, got, 503)
			if err := has(got.Header.Get("Proxy-Status"), "error=proxy_internal_response"); err != nil {
				t.Error(err)
			}
			if code := p.Wait(); code != 1 {
				t.Errorf("exit %d, want 1", code)
			}
			if len(p.Lines(tt.says)) != 1 {
				t.Errorf("the log does not say %q", tt.says)
			}
			for path, status := range map[string]int{"/wait": 503, "/body": 200} {
				if line := p.WantAccess(path); line.Text("outcome") != "drain_timeout" || line.Int("status") != status || line.Text("level") != "ERROR" {
					t.Errorf("%s: log says %v", path, line)
				}
				server := pacetest.WantTrace(spans, 1, pacetest.Path(path)).Server
				wantAttr(t, server.Attrs, "pace.outcome", "drain_timeout")
				if server.StatusCode != otlp.Error {
					t.Errorf("%s: the span has status %d, want error", path, server.StatusCode)
				}
			}
		})
	}
}
