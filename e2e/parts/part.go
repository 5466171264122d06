// Package parts runs the real programs that pace is used with, and asks them what they know.
// Each runs on free ports of loopback and in a folder of its own, and ends with its test.
// It knows nothing of pace.
package parts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"pace/e2e/port"
)

// patience bounds every wait for a part; it is a bound on failures, not a pause.
const patience = time.Minute

// pollEvery is how often a condition is looked at.
const pollEvery = 25 * time.Millisecond

// Path returns the path of the part's binary, as scripts/parts.sh finds it.
func Path(t testing.TB, name string) string {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	script := filepath.Join(filepath.Dir(here), "..", "..", "scripts", "parts.sh")
	var why bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "bash", script, "--find", name)
	cmd.Stderr = &why
	path, err := cmd.Output()
	if err == nil {
		return strings.TrimSpace(string(path))
	}
	Missing(t, fmt.Sprintf("%s (%v)", strings.TrimSpace(why.String()), err))
	return ""
}

// Missing ends a test that lacks what it needs. It fails where CI=true, since a skipped conformance
// test is a passing lie; elsewhere it is skipped.
func Missing(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("missing: %s", reason)
	}
	t.Skipf("missing: %s", reason)
}

// run starts a program that lives as long as the test; what it wrote is shown if the test fails.
func run(t testing.TB, path string, args ...string) *process {
	t.Helper()
	output, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	p := &process{exec.Command(path, args...), output.Name(), make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = output, output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a test that panics cleans up nothing
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	output.Close() // the child has its own
	go func() {
		p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() { p.stop(t) })
	return p
}

type process struct {
	cmd    *exec.Cmd
	output string
	exited chan struct{} // closed once cmd's exit is known
}

// stop kills the program: what it keeps is the test's alone, and Jaeger takes 10 s to end on TERM.
func (p *process) stop(t testing.TB) {
	p.cmd.Process.Kill()
	<-p.exited
	if t.Failed() {
		t.Logf("%s said:\n%s", p.cmd.Path, p.said())
	}
}

// said returns the end of what the program wrote.
func (p *process) said() []byte {
	raw := p.whole()
	return raw[max(0, len(raw)-8192):]
}

// whole returns all that the program wrote.
func (p *process) whole() []byte {
	raw, err := os.ReadFile(p.output)
	if err != nil {
		return []byte(err.Error())
	}
	return raw
}

// ready waits until url answers 200.
func (p *process) ready(t testing.TB, url string) {
	t.Helper()
	p.await(t, func() error {
		_, err := get(t.Context(), url)
		return err
	})
}

// await waits until the condition holds that says that the program is ready.
func (p *process) await(t testing.TB, try func() error) {
	t.Helper()
	poll(t, func() error {
		select {
		case <-p.exited:
			t.Fatalf("%s ended before it was ready: %v\n%s", p.cmd.Path, p.cmd.ProcessState, p.said())
		default:
		}
		return try()
	})
}

// poll tries until the condition holds; the test fails when that takes longer than patience.
func poll(t testing.TB, try func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s: %v", patience, err)
		}
		time.Sleep(pollEvery)
	}
}

// errStatus is the error for a status other than 200.
type errStatus struct {
	status int
	body   string
}

func (e *errStatus) Error() string { return fmt.Sprintf("status %d: %s", e.status, e.body) }

func isStatus(err error, status int) bool {
	e, ok := errors.AsType[*errStatus](err)
	return ok && e.status == status
}

func get(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = &errStatus{resp.StatusCode, string(body)}
	}
	return body, err
}

// free returns a loopback address for a part to listen on. None of them can be given port 0 and say
// what it became.
func free(t testing.TB) string {
	t.Helper()
	_, address := port.Reserve(t)
	return address
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
