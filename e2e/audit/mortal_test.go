package audit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"pace/e2e/pacetest"
)

// mortalEnv marks a process as a backend; its value is "ADDR FILE".
const mortalEnv = "PACE_AUDIT_MORTAL"

// mortal is a backend in a process of its own, which dies by SIGKILL and comes back. It writes each
// request down before it answers, so its account outlives it.
type mortal struct {
	t    testing.TB
	addr string
	file string
	cmd  *exec.Cmd
}

func startMortal(t testing.TB) *mortal {
	// A closed address stays taken while its process is dead, too.
	m := &mortal{t: t, addr: pacetest.NewClosed(t).Address(), file: filepath.Join(t.TempDir(), "served")}
	m.restart()
	t.Cleanup(func() { m.kill() })
	return m
}

// Address returns its host:port.
func (m *mortal) Address() string { return m.addr }

func (m *mortal) restart() {
	m.cmd = exec.Command(os.Args[0])
	m.cmd.Env = append(os.Environ(), mortalEnv+"="+m.addr+" "+m.file)
	m.cmd.Stderr = os.Stderr
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := m.cmd.StdoutPipe()
	if err == nil {
		err = m.cmd.Start()
	}
	if err == nil {
		_, err = bufio.NewReader(out).ReadString('\n') // it listens
	}
	if err != nil {
		m.t.Errorf("a backend's process does not start: %v", err)
	}
}

// kill ends it with SIGKILL.
func (m *mortal) kill() {
	m.cmd.Process.Kill()
	m.cmd.Wait()
}

// doom makes it leave those hanging that come to die; their death is near.
func (m *mortal) doom() {
	resp, err := http.Get("http://" + m.addr + "/doom")
	if err != nil {
		m.t.Errorf("doom: %v", err)
		return
	}
	resp.Body.Close()
}

// served returns the attempts that it got, by span.
func (m *mortal) served() map[string]attempt {
	text, err := os.ReadFile(m.file)
	if err != nil && !os.IsNotExist(err) {
		m.t.Error(err)
	}
	all := map[string]attempt{}
	for line := range strings.Lines(string(text)) {
		a, parent := attempt{backend: m.addr}, ""
		if _, err := fmt.Sscan(line, &parent, &a.requestID, &a.body, &a.nth); err != nil {
			m.t.Errorf("the account of %s reads %q: %v", m.addr, line, err)
		}
		a.trace, a.span, a.flags = pacetest.Traceparent(parent)
		if _, twice := all[a.span]; twice {
			m.t.Errorf("%s got the attempt %s twice", m.addr, parent)
		}
		all[a.span] = a
	}
	return all
}

// serveMortal is the whole life of a mortal's process.
func serveMortal() {
	addr, file, _ := strings.Cut(os.Getenv(mortalEnv), " ")
	served, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr())
	var doomed atomic.Bool
	server := &http.Server{ConnContext: countRequests, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/doom" {
			doomed.Store(true)
			return
		}
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			n = -1
		}
		nth := r.Context().Value(countKey{}).(*atomic.Int64).Add(1)
		// One write a line: the kernel keeps the lines of concurrent requests apart.
		fmt.Fprintf(served, "%s %s %d %d\n", r.Header.Get("Traceparent"), r.Header.Get("X-Request-Id"), n, nth)
		live(w, r, doomed.Load())
	})}
	panic(server.Serve(listener))
}

// live answers, unless its time has come.
func live(w http.ResponseWriter, r *http.Request, doomed bool) {
	switch {
	case strings.HasPrefix(r.URL.Path, "/dying") && doomed:
		select {}
	case strings.HasPrefix(r.URL.Path, "/flow"):
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, strings.Repeat("x", part))
		if doomed {
			http.NewResponseController(w).Flush()
			select {}
		}
		io.WriteString(w, strings.Repeat("x", 1000-part))
	default:
		io.WriteString(w, "fine")
	}
}

const (
	massacres = 6
	victims   = 12 // exchanges that are there when a backend dies, of which about half are at it
)

// massacre kills the mortals in turn while the mix goes on. Each time some exchanges are known to
// wait for the victim, or to be in the midst of its answer.
func (tw *town) massacre(deaths <-chan []*exchange, own *ownClients) {
	i := 0
	for dying := range deaths {
		victim := tw.mortal[i%len(tw.mortal)]
		i++
		victim.doom()
		tw.die(victim, dying, own)
	}
}

func (tw *town) die(victim *mortal, dying []*exchange, own *ownClients) {
	var group sync.WaitGroup
	over := make([]atomic.Bool, len(dying))
	for i, x := range dying {
		group.Go(func() {
			x.run(own)
			over[i].Store(true)
		})
	}
	pacetest.Eventually(tw.t, func() error {
		there := victim.served()
		for i, x := range dying {
			if !over[i].Load() && !waits(x, there) {
				return errors.New(x.path + " has not come to where it is to die")
			}
		}
		return nil
	})
	victim.kill()
	group.Wait()
	victim.restart()
	tw.awaitTravellers()
}

// awaitTravellers returns when all are home who were on their way when a backend died: they must not
// meet a second death.
func (tw *town) awaitTravellers() {
	tw.season.Lock()
	//lint:ignore SA2001 to have waited is all
	tw.season.Unlock()
}

// waits says whether the exchange hangs at the victim, with what it is to have of the answer.
func waits(x *exchange, there map[string]attempt) bool {
	for _, a := range there {
		if a.trace == x.trace {
			if x.name != "flow" {
				return true
			}
			select {
			case <-x.seen:
				return true
			default:
				return false
			}
		}
	}
	return false
}

type countKey struct{}

// countRequests lets a connection count its requests.
func countRequests(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, countKey{}, new(atomic.Int64))
}
