package pacetest

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// processEnv marks a process as a backend; its value is "ADDR FILE".
const processEnv = "PACETEST_PROCESS"

// Process is a backend in a process of its own, which can be killed as by the kernel. It
// writes each request's target to a file before it answers, so its account outlives it.
type Process struct {
	t    testing.TB
	addr string
	file string
	cmd  *exec.Cmd
}

// StartProcess starts one on a port that stays its own while it is dead.
func StartProcess(t testing.TB) *Process {
	t.Helper()
	p := &Process{t: t, addr: NewClosed(t).Address(), file: filepath.Join(t.TempDir(), "served")}
	p.Restart()
	t.Cleanup(p.Kill)
	return p
}

// Restart starts it again on the same port, after Kill.
func (p *Process) Restart() {
	p.t.Helper()
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), processEnv+"="+p.addr+" "+p.file)
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		p.t.Fatalf("the backend's process does not listen: %v", err)
	}
}

// Address returns its host:port.
func (p *Process) Address() string { return p.addr }

// Kill ends it with SIGKILL.
func (p *Process) Kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// Served returns the targets of the requests it got, in order.
func (p *Process) Served() []string {
	p.t.Helper()
	text, err := os.ReadFile(p.file)
	if err != nil && !os.IsNotExist(err) {
		p.t.Fatal(err)
	}
	return slices.Collect(strings.FieldsSeq(string(text)))
}

// serveProcess is the whole life of a backend's process.
func serveProcess() {
	addr, file, _ := strings.Cut(os.Getenv(processEnv), " ")
	served, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr())
	panic(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// One write a line: the kernel keeps the lines of concurrent requests apart.
		fmt.Fprintf(served, "%s\n", r.RequestURI)
		fmt.Fprintf(w, "fine")
	})))
}
