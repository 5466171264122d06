package pacetest

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
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// processEnv marks a process as a backend; its value is "ADDR FILE".
const processEnv = "PACETEST_PROCESS"

// Process is a backend in its own process, which a test can kill. It writes each request to a file before
// it responds, so the record survives the process.
type Process struct {
	t    testing.TB
	addr string
	file string
	cmd  *exec.Cmd
}

// Served is a request as a [Process] wrote it down.
type Served struct {
	Target, Traceparent, RequestID string
	Body                           int64 // its bytes; -1: it did not come whole
	Nth                            int64 // its number on its connection, from 1
}

// served is a line of that file.
const served = "%q %q %q %d %d\n"

// StartProcess starts a Process on a port that stays reserved while the process is dead.
func StartProcess(t testing.TB) *Process {
	t.Helper()
	p := &Process{t: t, addr: NewClosed(t).Address(), file: filepath.Join(t.TempDir(), "served")}
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

// Restart starts it again on the same port, after Kill.
func (p *Process) Restart() {
	p.t.Helper()
	if err := p.start(); err != nil {
		p.t.Error(err) // not Fatal, because Restart often runs on another goroutine than the test
	}
}

func (p *Process) start() error {
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), processEnv+"="+p.addr+" "+p.file)
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a test that panics cleans up nothing
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err == nil {
		_, err = bufio.NewReader(out).ReadString('\n') // it listens
	}
	if err != nil {
		return fmt.Errorf("start the backend's process: %w", err)
	}
	return nil
}

// Address returns its host:port.
func (p *Process) Address() string { return p.addr }

// Kill ends it with SIGKILL.
func (p *Process) Kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// Served returns the requests it got, in order.
func (p *Process) Served() (all []Served) {
	p.t.Helper()
	account, err := os.ReadFile(p.file)
	if err != nil && !os.IsNotExist(err) {
		p.t.Error(err)
	}
	for line := range strings.Lines(string(account)) {
		var s Served
		if _, err := fmt.Sscanf(line, served, &s.Target, &s.Traceparent, &s.RequestID, &s.Body, &s.Nth); err != nil {
			p.t.Errorf("the account of %s reads %q: %v", p.addr, line, err)
		}
		all = append(all, s)
	}
	return all
}

// ServeProcess serves requests for ever in a process that [StartProcess] started. In any other process it
// returns at once. [Main] calls it with a handler that responds "fine"; a TestMain that needs another
// handler calls it first.
func ServeProcess(handler http.HandlerFunc) {
	addr, file, is := strings.Cut(os.Getenv(processEnv), " ")
	if !is {
		return
	}
	account, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr())
	server := &http.Server{ConnContext: countRequests, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			n = -1
		}
		nth := r.Context().Value(countKey{}).(*atomic.Int64).Add(1)
		// One write for each line, so that the lines of concurrent requests do not mix.
		fmt.Fprintf(account, served, r.RequestURI, r.Header.Get("Traceparent"), r.Header.Get("X-Request-Id"), n, nth)
		handler(w, r)
	})}
	panic(server.Serve(listener))
}

type countKey struct{}

// countRequests lets a connection count its requests.
func countRequests(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, countKey{}, new(atomic.Int64))
}
