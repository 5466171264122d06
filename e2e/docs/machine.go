package docs

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"pace/e2e/parts"
)

// patience bounds each block, and each wait for a server; it is a bound on failures, not a pause.
const patience = 4 * time.Minute

// machine runs the commands of a page. It has its own network, processes and mounts, so that the page's
// ports are free, and its files under /etc and /usr/local/bin do not change those of the real machine.
// All of it ends with the test.
type machine struct {
	t       testing.TB
	dir     string // of this test: the files below
	env     []string
	pid     int // of the process whose namespaces are entered
	servers []*server
}

// server is a block that keeps running.
type server struct {
	block *block
	ports []string
	cmd   *exec.Cmd
	out   string        // file
	done  chan struct{} // closed once it has ended

	stopped bool // by us; another server may have its ports
}

// newMachine starts one, on which repository is what $URL names.
func newMachine(t testing.TB, repository string) *machine {
	t.Helper()
	m := &machine{t: t, dir: t.TempDir()}
	m.env = append(os.Environ(), "URL="+repository, "CWD="+filepath.Join(m.dir, "cwd"), "HOME="+os.Getenv("HOME"), "GOFLAGS=-buildvcs=false")
	script, err := filepath.Abs("testdata/machine.sh")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", script, m.dir)
	cmd.Env, cmd.Stderr = m.env, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close() // the machine's first process reads it, and ends
		cmd.Wait()
	})
	m.pid = cmd.Process.Pid
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the machine says %q, %v", line, err)
	}
	m.write("cwd", m.dir)
	return m
}

func (m *machine) write(name, text string) (file string) {
	file = filepath.Join(m.dir, name)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
	return file
}

// enter is a command on the machine, in a process group of its own.
func (m *machine) enter(args ...string) *exec.Cmd {
	pid := strconv.Itoa(m.pid)
	cmd := exec.Command("nsenter", append([]string{"--target", pid, "--net", "--mount", "--pid=/proc/" + pid + "/ns/pid_for_children", "--"}, args...)...)
	cmd.Env = m.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// shell is the text run by a shell in the folder that the last block has left.
func (m *machine) shell(text, out string) (*exec.Cmd, *os.File) {
	// A reader's shell goes on after a failure; here it ends, so that no failure stays unseen.
	script := m.write(filepath.Base(out)+".sh", "cd \"$(cat \"$CWD\")\"\nset -e -o pipefail\n"+text)
	file, err := os.Create(out)
	if err != nil {
		m.t.Fatal(err)
	}
	cmd := m.enter("bash", script)
	cmd.Stdout, cmd.Stderr = file, file
	return cmd, file
}

// run follows a block that returns, and gives back what it printed and its exit code.
func (m *machine) run(b *block, text string) (output string, code int) {
	m.t.Helper()
	out := filepath.Join(m.dir, fmt.Sprintf("block-%d", b.line))
	cmd, file := m.shell("trap 'pwd >\"$CWD\"' EXIT\n"+text, out)
	defer file.Close()
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	timer := time.AfterFunc(patience, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	cmd.Wait()
	timer.Stop()
	raw, err := os.ReadFile(out)
	if err != nil {
		m.t.Fatal(err)
	}
	return string(raw), cmd.ProcessState.ExitCode()
}

// serve follows a block that keeps running, as in a terminal of its own, and waits until all its
// ports accept connections. A process that used one of them is stopped first, as the page tells its reader.
func (m *machine) serve(b *block, ports []string) {
	m.t.Helper()
	for _, s := range m.servers {
		if !s.stopped && slices.ContainsFunc(ports, func(port string) bool { return slices.Contains(s.ports, port) }) {
			s.stop()
			m.awaitClosed(s)
		}
	}
	s := &server{block: b, ports: ports, out: filepath.Join(m.dir, fmt.Sprintf("server-%d", b.line)), done: make(chan struct{})}
	cmd, file := m.shell(b.text, s.out)
	s.cmd = cmd
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	file.Close() // the process has its own
	go func() {
		cmd.Wait()
		close(s.done)
	}()
	m.servers = append(m.servers, s)
	m.t.Cleanup(s.stop)
	for _, port := range ports {
		m.await(s, port)
	}
}

// open reports whether somebody accepts connections on a port of the machine.
func (m *machine) open(port string) bool {
	return m.enter("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/"+port).Run() == nil
}

// awaitClosed waits until a stopped server has let go of its ports: nsenter, which stands above it, ends
// at once, and the server drains first.
func (m *machine) awaitClosed(s *server) {
	m.t.Helper()
	for deadline := time.Now().Add(time.Minute); slices.ContainsFunc(s.ports, m.open); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			m.t.Fatalf("%s was stopped, and still listens:\n%s", s.block, s.said())
		}
	}
}

func (m *machine) await(s *server, port string) {
	m.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		if m.open(port) {
			return
		}
		select {
		case <-s.done:
			m.t.Fatalf("%s ended:\n%s", s.block, s.said())
		default:
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("%s: nobody listens on %s after %s:\n%s", s.block, port, patience, s.said())
		}
	}
}

func (s *server) said() string {
	raw, _ := os.ReadFile(s.out)
	return string(raw)
}

// stop types Ctrl-C.
func (s *server) stop() {
	s.stopped = true
	syscall.Kill(-s.cmd.Process.Pid, syscall.SIGINT)
	select {
	case <-s.done:
	case <-time.After(40 * time.Second): // longer than pace drains
		syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
		<-s.done
	}
}

// needPrograms ends the test, unless all programs that the pages use are there.
func needPrograms(t testing.TB) {
	t.Helper()
	for _, name := range []string{"curl", "nginx", "prometheus", "promtool", "jaeger"} {
		parts.Path(t, name)
	}
	for _, name := range []string{"git", "unshare", "nsenter", "setpriv", "ip", "mount", "openssl", "useradd"} {
		if _, err := exec.LookPath(name); err != nil {
			parts.Missing(t, err.Error())
		}
	}
	if out, err := exec.Command("unshare", "--net", "--mount", "--pid", "--fork", "true").CombinedOutput(); err != nil {
		parts.Missing(t, fmt.Sprintf("namespaces, which need root: %v: %s", err, out))
	}
}
