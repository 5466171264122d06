// Package pacetest runs the built pace between backends and clients that record what happened to them.
// Tests compare pace's metrics, spans and log with these records, and never one output of pace with
// another one.
// It must not know pace's packages: only the binary, its files, ports and streams.
package pacetest

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Patience is how long a condition may take to become true. It is much longer than needed, because the
// machine is shared and the binary runs under the race detector.
const Patience = 60 * time.Second

// Pace is one running pace.
type Pace struct {
	Proxy, Admin string   // host:port it listens on; Admin is "" if switched off
	Listeners    []string // all of the proxy, by the order of their names; Proxy is the first
	PID          int
	File         string // the configuration, if Start wrote it

	t       testing.TB
	cmd     *exec.Cmd
	log     logTail
	stdout  logTail
	logFile string        // log.file, if the config names one
	exited  chan struct{} // closed once cmd's exit is known
}

// Start runs pace with cfg over the harness's base and returns when it is ready. env adds to
// the environment, which holds no OTEL_ or PACE_ variable otherwise. Pace is killed when the
// test ends, and the test fails if the race detector spoke or the log held a line that is
// not JSON.
func Start(t testing.TB, cfg Config, env ...string) *Pace {
	t.Helper()
	cfg = cfg.withBase()
	logFile, _ := cfg["log"]["file"].(string)
	return startFile(t, cfg.TOML(), logFile, env)
}

// StartText is [Start] with a configuration as text. The harness puts the keys of its base before the text,
// so the text must not contain these keys or their tables.
func StartText(t testing.TB, text string, env ...string) *Pace {
	t.Helper()
	var head strings.Builder
	for name, table := range base {
		for key, value := range table {
			fmt.Fprintf(&head, "%s.%s = %s\n", name, key, tomlValue(value))
		}
	}
	return startFile(t, head.String()+text, "", env)
}

// StartTOML is [Start] with a whole configuration, to which nothing is added.
func StartTOML(t testing.TB, text string, env ...string) *Pace {
	t.Helper()
	return startFile(t, text, "", env)
}

// StartUnready is [Start] for a pace that listens and is not ready yet.
func StartUnready(t testing.TB, cfg Config, env ...string) *Pace {
	t.Helper()
	return listenFile(t, cfg.withBase().TOML(), "", env)
}

func startFile(t testing.TB, text, logFile string, env []string) *Pace {
	t.Helper()
	p := listenFile(t, text, logFile, env)
	p.AwaitReady()
	return p
}

func listenFile(t testing.TB, text, logFile string, env []string) *Pace {
	t.Helper()
	file := filepath.Join(t.TempDir(), "proxy.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := Launch(t, env, "run", "--config", file)
	p.File, p.logFile = file, logFile
	p.awaitListening()
	return p
}

// StartActivated is Start for a pace that gets sockets as systemd passes them, each under a name.
func StartActivated(t testing.TB, cfg Config, sockets []Socket, env ...string) *Pace {
	t.Helper()
	file := filepath.Join(t.TempDir(), "proxy.toml")
	if err := os.WriteFile(file, []byte(cfg.withBase().TOML()), 0o600); err != nil {
		t.Fatal(err)
	}
	p := LaunchActivated(t, file, sockets, env...)
	p.awaitListening()
	p.AwaitReady()
	return p
}

// Socket is an open socket, and the FileDescriptorName= of its unit.
type Socket struct {
	Name string
	File *os.File
}

// LaunchActivated starts pace with sockets and waits for nothing.
func LaunchActivated(t testing.TB, file string, sockets []Socket, env ...string) *Pace {
	t.Helper()
	var names []string
	p := prepare(t, env, "run", "--config", file)
	p.File = file
	for _, s := range sockets {
		names = append(names, s.Name)
		p.cmd.ExtraFiles = append(p.cmd.ExtraFiles, s.File)
	}
	// LISTEN_PID is pace's own number, which is only known in its process.
	p.cmd.Args = append([]string{"sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, p.cmd.Path}, p.cmd.Args[1:]...)
	p.cmd.Path = "/bin/sh"
	p.cmd.Env = append(p.cmd.Env, "LISTEN_FDS="+strconv.Itoa(len(sockets)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	p.cmd.Stderr = &p.log
	p.launch()
	return p
}

// Launch starts pace with these arguments and waits for nothing.
func Launch(t testing.TB, env []string, args ...string) *Pace {
	t.Helper()
	p := prepare(t, env, args...)
	p.cmd.Stderr = &p.log
	p.launch()
	return p
}

func prepare(t testing.TB, env []string, args ...string) *Pace {
	t.Helper()
	p := &Pace{t: t, exited: make(chan struct{})}
	p.cmd = exec.Command(Binary(t), args...)
	p.cmd.Env = append(cleanEnv(), env...)
	p.cmd.Stdout = &p.stdout
	return p
}

func (p *Pace) launch() {
	p.t.Helper()
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.PID = p.cmd.Process.Pid
	go func() {
		p.cmd.Wait()
		close(p.exited)
	}()
	p.t.Cleanup(p.finish)
}

func cleanEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "OTEL_") && !strings.HasPrefix(kv, "PACE_") {
			env = append(env, kv)
		}
	}
	return env
}

// awaitListening learns the addresses from the start line.
func (p *Pace) awaitListening() {
	p.t.Helper()
	Eventually(p.t, func() error {
		lines := p.Lines("listening")
		if len(lines) == 0 {
			if p.Exited() {
				p.t.Fatalf("pace exited with %d before it listened:\n%s", p.cmd.ProcessState.ExitCode(), p.Stderr())
			}
			return errors.New("no line with msg listening")
		}
		p.Listeners, p.Admin = strings.Split(lines[0].Text("proxy"), ", "), lines[0].Text("admin")
		p.Proxy = p.Listeners[0]
		return nil
	})
}

// AwaitReady waits until pace says that it is ready, if it has an admin listener.
func (p *Pace) AwaitReady() {
	p.t.Helper()
	if p.Admin == "" {
		return
	}
	Eventually(p.t, func() error {
		if status := p.Ready(); status != 200 {
			return fmt.Errorf("/readyz answers %d", status)
		}
		return nil
	})
}

// AwaitDraining waits until pace, after TERM, takes no more connections. /readyz becomes 503 a moment before that.
func (p *Pace) AwaitDraining() {
	p.t.Helper()
	Eventually(p.t, func() error {
		c, err := net.Dial("tcp", p.Proxy)
		if err != nil {
			return nil
		}
		c.Close()
		return errors.New("pace still takes connections")
	})
}

// AwaitRejecting waits until pace, after TERM, rejects the requests that come on open connections, too: it serves them
// for a second.
func (p *Pace) AwaitRejecting() {
	p.t.Helper()
	p.AwaitDraining()
	time.Sleep(2 * time.Second)
}

// Ready returns the status of /readyz; 0 without a response.
func (p *Pace) Ready() int {
	resp, err := adminClient.Get("http://" + p.Admin + "/readyz")
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// adminClient uses a new connection for each request.
var adminClient = &http.Client{
	Transport: &http.Transport{DisableKeepAlives: true},
	Timeout:   Patience,
}

// Signal sends sig to pace.
func (p *Pace) Signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// Wait returns pace's exit code, -1 if a signal ended it.
func (p *Pace) Wait() int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(Patience):
		p.t.Fatalf("pace does not exit; its log ends:\n%s", p.tail())
	}
	return p.cmd.ProcessState.ExitCode()
}

// Stop asks pace to end and returns its exit code.
func (p *Pace) Stop() int {
	p.t.Helper()
	p.Signal(syscall.SIGTERM)
	return p.Wait()
}

// Kill ends pace as a crash would.
func (p *Pace) Kill() {
	p.cmd.Process.Kill()
	<-p.exited
}

// Exited reports whether pace has ended.
func (p *Pace) Exited() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// RSS returns pace's resident memory in bytes.
func (p *Pace) RSS() int64 {
	p.t.Helper()
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.PID))
	if err != nil {
		p.t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// CPU returns how much processor time pace has used, to 10 ms.
func (p *Pace) CPU() time.Duration {
	p.t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID))
	if err != nil {
		p.t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(stat), ") ") // the name before may hold blanks
	fields := strings.Fields(after)
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// finish kills pace if it still runs, and checks its stderr.
func (p *Pace) finish() {
	p.Kill()
	if strings.Contains(p.Stderr(), "WARNING: DATA RACE") {
		p.t.Errorf("the race detector spoke:\n%s", p.Stderr())
	} else if p.t.Failed() {
		p.t.Logf("pace's log ends:\n%s", p.tail())
	}
}

// Output returns what pace has written to stdout and stderr.
func (p *Pace) Output() string { return p.stdout.text() + p.Stderr() }

func (p *Pace) tail() string {
	lines := strings.Split(p.Stderr(), "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}

// Eventually polls cond until it returns nil, and fails t with its last error after
// [Patience].
func Eventually(t testing.TB, cond func() error) {
	t.Helper()
	if err := Soon(cond); err != nil {
		t.Fatal(err)
	}
}

// Soon polls cond until it returns nil, and returns its last error after [Patience].
func Soon(cond func() error) error {
	deadline := time.Now().Add(Patience)
	for {
		err := cond()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after %v: %w", Patience, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
