// Command picture makes the pictures in docs/picture from a failover made by hand. It types the commands
// of the README into two shells on pseudo-terminals, and draws what the terminals show and what Jaeger
// stored of the same request. Nothing is cut out or changed. It needs the ports 8080, 9464, 8000, 8001,
// 4317, 4318 and 16686, curl and script (both Debian's), and scripts/parts.sh. On a machine where a
// port is taken, root can give it a network of its own:
//
//	go build -o /tmp/picture ./scripts/picture
//	unshare --net sh -c 'ip link set lo up && /tmp/picture'
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

const out = "docs/picture"

// patience is how long anything may take to show up.
const patience = 90 * time.Second

func main() {
	log.SetFlags(0)
	if err := run(); err != nil {
		log.Fatal("picture: ", err)
	}
}

func run() error {
	dir, err := os.MkdirTemp("", "picture")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	// This compiles the command before the session, so that the picture does not show the wait.
	if b, err := exec.Command("go", "build", "-o", filepath.Join(dir, "pace"), "./cmd/pace").CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, b)
	}
	j, err := startJaeger()
	if err != nil {
		return err
	}
	defer j.kill()
	terminals, id, err := failover(dir)
	if err != nil {
		return err
	}
	body, err := get(jaegerURL + "/api/v3/traces/" + id)
	if err != nil {
		return err
	}
	trace, err := drawWaterfall(body)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(out, "terminal.svg"), terminals, 0o644),
		os.WriteFile(filepath.Join(out, "trace.svg"), trace, 0o644),
	)
}

// failover makes one by hand, and returns a picture of the two terminals and the id of the trace.
func failover(dir string) (picture []byte, id string, err error) {
	demo, err := openShell(filepath.Join(dir, "demo"))
	if err != nil {
		return nil, "", err
	}
	defer demo.close()
	if err := demo.types("export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317"); err != nil {
		return nil, "", err
	}
	if err := demo.types("go run ./cmd/pace demo"); err != nil {
		return nil, "", err
	}
	if _, err := demo.await(`(listening) `); err != nil {
		return nil, "", err
	}
	if strings.Contains(demo.text(), "is taken") {
		return nil, "", fmt.Errorf("the demo's ports are not free:\n%s", demo.text())
	}

	other, err := openShell(filepath.Join(dir, "other"))
	if err != nil {
		return nil, "", err
	}
	defer other.close()
	if err := other.types("curl -I localhost:8080/reset"); err != nil {
		return nil, "", err
	}
	if id, err = other.await(`X-Trace-Id: ([0-9a-f]{32})`); err != nil {
		return nil, "", err
	}
	if _, err := demo.await(id); err != nil {
		return nil, "", err
	}
	shownOther := strings.TrimSuffix(strings.TrimSpace(other.text()), "$") // the prompt for the next command
	return draw(
		&window{title: "a terminal", text: strings.TrimSpace(demo.text())},
		&window{title: "another terminal", text: strings.TrimSpace(shownOther)},
	), id, nil
}

// shell is a shell on a pseudo-terminal that is as wide as the picture.
type shell struct {
	script *exec.Cmd
	keys   io.Writer
	file   string // what the terminal was sent
}

func openShell(file string) (*shell, error) {
	s := &shell{file: file}
	command := fmt.Sprintf("stty cols %d rows 50; exec env 'PS1=$ ' bash --norc --noprofile --noediting -i", columns)
	s.script = exec.Command("script", "--quiet", "--flush", "--command", command, file)
	s.script.Env = append(os.Environ(), "TERM=xterm", "NO_COLOR=")
	keys, err := s.script.StdinPipe()
	if err != nil {
		return nil, err
	}
	s.keys = keys
	if err := s.script.Start(); err != nil {
		return nil, err
	}
	_, err = s.await(`(\$ )$`)
	return s, err
}

// types a line at the prompt, which it waits for.
func (s *shell) types(line string) error {
	if _, err := s.await(`(\$ )$`); err != nil {
		return err
	}
	if _, err := io.WriteString(s.keys, line+"\n"); err != nil {
		return err
	}
	_, err := s.await("(" + regexp.QuoteMeta(line) + ")\r?\n")
	return err
}

// close types Ctrl-C and leaves the shell.
func (s *shell) close() {
	io.WriteString(s.keys, "\x03")
	time.Sleep(time.Second) // the demo drains
	io.WriteString(s.keys, "exit\n")
	s.script.Wait()
}

// text is what the terminal showed so far, without script's own first line.
func (s *shell) text() string {
	b, _ := os.ReadFile(s.file)
	_, b, _ = bytes.Cut(b, []byte("\n"))
	return string(b)
}

// await returns what the pattern's group matches on the terminal; without a group, all of it.
func (s *shell) await(pattern string) (string, error) {
	p := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if m := p.FindStringSubmatch(colour.ReplaceAllString(s.text(), "")); m != nil {
			return m[len(m)-1], nil
		}
	}
	return "", fmt.Errorf("no %s on the terminal: %q", pattern, s.text())
}

// get returns the body of a response, once it is a 200.
func get(url string) ([]byte, error) {
	last := errors.New("not asked")
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get(url)
		if err != nil {
			last = err
			continue
		}
		var b bytes.Buffer
		_, err = b.ReadFrom(resp.Body)
		resp.Body.Close()
		if err == nil && resp.StatusCode == http.StatusOK {
			return b.Bytes(), nil
		}
		last = fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil, last
}
