package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// passed is a function that a request passes.
type passed struct{ file, name string }

// passedByGET returns the functions of pace that a GET on warm connections passes, in any order in
// which one request may pass them: those that run a hundred times more often when a hundred
// requests more are made. The binary is built with counters (go build -cover).
func passedByGET(dir string) ([]passed, error) {
	tmp, err := os.MkdirTemp("", "structure")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	binary := filepath.Join(tmp, "pace")
	build := exec.Command("go", "build", "-buildvcs=false", "-cover", "-covermode=atomic", "-coverpkg="+module+"/...", "-o", binary, "./cmd/pace")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build -cover: %w: %s", err, out)
	}
	few, err := counters(dir, binary, filepath.Join(tmp, "few"), 100)
	if err != nil {
		return nil, err
	}
	many, err := counters(dir, binary, filepath.Join(tmp, "many"), 200)
	if err != nil {
		return nil, err
	}
	functions, err := functionsByLine(dir)
	if err != nil {
		return nil, err
	}
	found := map[passed]bool{}
	for block, n := range many {
		if n-few[block] >= 90 { // not all of the hundred: some find another connection
			if name := functions.at(block.file, block.line); name != "" {
				found[passed{short(block.file), name}] = true
			}
		}
	}
	var sorted []passed
	for f := range found {
		sorted = append(sorted, f)
	}
	slices.SortFunc(sorted, func(a, b passed) int { return strings.Compare(a.file+a.name, b.file+b.name) })
	return sorted, nil
}

// block is the position of a counter in the source.
type block struct {
	file string // with the module's name
	line int
}

// counters runs the binary between a client that makes n GETs and a backend, and reads its counters.
func counters(dir, binary, data string, n int) (map[block]int, error) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }))
	defer backend.Close()
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(data, 0o755); err != nil {
		return nil, err
	}
	file := filepath.Join(data, "pace.toml")
	text := fmt.Sprintf("[server]\nlisten = %q\n[admin]\nlisten = \"\"\n[upstreams]\nbackends = [%q]\n[log]\nfile = %q\n",
		address, backend.URL, filepath.Join(data, "log"))
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return nil, err
	}
	pace := exec.Command(binary, "run", "--config", file)
	pace.Env = append(os.Environ(), "GOCOVERDIR="+data)
	if err := pace.Start(); err != nil {
		return nil, err
	}
	err = ask(address, n)
	pace.Process.Signal(syscall.SIGTERM)
	if ended := pace.Wait(); err == nil && ended != nil {
		err = fmt.Errorf("pace: %w", ended)
	}
	if err != nil {
		return nil, err
	}
	profile := filepath.Join(data, "profile")
	convert := exec.Command("go", "tool", "covdata", "textfmt", "-i="+data, "-o="+profile)
	convert.Dir = dir
	if out, err := convert.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go tool covdata: %w: %s", err, out)
	}
	return readProfile(profile)
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// ask waits until the address responds, and then sends n GETs, one after the other on one connection.
func ask(address string, n int) error {
	client := &http.Client{Timeout: 5 * time.Second}
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			break
		}
		if time.Since(began) > 10*time.Second {
			return err
		}
	}
	for range n {
		response, err := client.Get("http://" + address + "/")
		if err != nil {
			return err
		}
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	return nil
}

// readProfile reads lines like pace/proxy/handler.go:20.65,25.2 3 100.
func readProfile(file string) (map[block]int, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	counts := map[block]int{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		path, rest, ok := strings.Cut(lines.Text(), ":")
		if !ok || path == "mode" {
			continue
		}
		var line, column, toLine, toColumn, statements, n int
		if _, err := fmt.Sscanf(rest, "%d.%d,%d.%d %d %d", &line, &column, &toLine, &toColumn, &statements, &n); err != nil {
			return nil, fmt.Errorf("%s: %w", lines.Text(), err)
		}
		counts[block{path, line}] = max(counts[block{path, line}], n)
	}
	return counts, nil
}
