// Command picture makes the pictures in docs/picture from what really happens: it runs the demo on
// a pseudo-terminal and asks it for a few things, and it lets a backend die under a request and
// reads the trace back from Jaeger. It needs curl, script (both Debian's) and scripts/parts.sh.
//
//	go run ./scripts/picture
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
const patience = 20 * time.Second

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
	pace := filepath.Join(dir, "pace")
	if b, err := exec.Command("go", "build", "-buildvcs=false", "-o", pace, "./cmd/pace").CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, b)
	}
	terminal, err := drawTerminal(pace, dir)
	if err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	trace, err := drawTrace(pace, dir)
	if err != nil {
		return fmt.Errorf("trace: %w", err)
	}
	return errors.Join(
		os.WriteFile(filepath.Join(out, "terminal.svg"), terminal, 0o644),
		os.WriteFile(filepath.Join(out, "trace.svg"), trace, 0o644),
	)
}

// questions are what the demo is asked.
var questions = []string{
	"curl PROXY/hello",
	"curl -I PROXY/status/503",
	"curl PROXY/die",
	"curl --max-time 0.2 PROXY/slow",
}

// shown is the question whose answer is in the picture.
const shown = 1

// drawTerminal shows a session of the demo and one of curl.
func drawTerminal(pace, dir string) ([]byte, error) {

	demo, err := record(pace, dir)
	if err != nil {
		return nil, err
	}
	defer demo.end()
	proxy, err := demo.await(`Try:\s+curl http://(\S+)/hello`)
	if err != nil {
		return nil, err
	}
	if _, err := demo.await(`listening`); err != nil {
		return nil, err
	}

	var asked *window
	for i, question := range questions {
		question = strings.ReplaceAll(question, "PROXY", proxy)
		args := append([]string{"--silent"}, strings.Fields(question)[1:]...)
		answer, _ := exec.Command("curl", args...).Output() // some are meant to fail
		if i == shown {
			asked = &window{title: "another terminal", text: "$ " + question + "\r\n" + strings.TrimSpace(string(answer))}
		}
	}
	if _, err := demo.await(`client_gone.*\n`); err != nil {
		return nil, err
	}

	session := &window{title: "pace demo", text: "$ go run ./cmd/pace demo\r\n" + strings.TrimSpace(demo.text())}
	return draw(session, asked), nil
}

// recording is a run of the demo on a pseudo-terminal.
type recording struct {
	script *exec.Cmd
	keys   io.Writer
	file   string
}

func record(pace, dir string) (*recording, error) {
	r := &recording{file: filepath.Join(dir, "typescript")}
	r.script = exec.Command("script", "--quiet", "--flush", "--command", pace+" demo --listen 127.0.0.1:8080", r.file)
	r.script.Env = append(os.Environ(), "TERM=xterm", "NO_COLOR=")
	keys, err := r.script.StdinPipe()
	if err != nil {
		return nil, err
	}
	r.keys = keys
	return r, r.script.Start()
}

// end types Ctrl-C.
func (r *recording) end() {
	io.WriteString(r.keys, "\x03")
	r.script.Wait()
}

// text is what the terminal showed so far, without script's own first line.
func (r *recording) text() string {
	b, _ := os.ReadFile(r.file)
	_, b, _ = bytes.Cut(b, []byte("\n"))
	return string(b)
}

// await returns what the pattern's group matches on the terminal.
func (r *recording) await(pattern string) (string, error) {
	p := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if m := p.FindStringSubmatch(colour.ReplaceAllString(r.text(), "")); m != nil {
			return m[len(m)-1], nil
		}
	}
	return "", fmt.Errorf("no %s on the terminal: %q", pattern, r.text())
}

// get returns the body of an answer, once it is a 200.
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
