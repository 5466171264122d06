package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// drawTrace lets a backend die under a request, and shows the request's trace as Jaeger has it.
func drawTrace(pace, dir string) ([]byte, error) {
	jaeger, err := startJaeger(dir)
	if err != nil {
		return nil, err
	}
	defer jaeger.kill()
	dying := serve(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(40 * time.Millisecond)
		c, _, _ := http.NewResponseController(w).Hijack()
		c.(*net.TCPConn).SetLinger(0) // so that Close resets
		c.Close()
	})
	fine := serve(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(60 * time.Millisecond)
		fmt.Fprintln(w, "an answer")
	})
	proxy, file := free(), filepath.Join(dir, "proxy.toml")
	settings := fmt.Sprintf("[server]\nlisten = %q\n[admin]\nlisten = \"\"\n[upstreams]\nbackends = [\"http://%s\", \"http://%s\"]\n[tracing]\nendpoint = %q\n",
		proxy, dying, fine, jaeger.otlp)
	if err := os.WriteFile(file, []byte(settings), 0o644); err != nil {
		return nil, err
	}
	p, err := start(pace, "run", "--config", file)
	if err != nil {
		return nil, err
	}
	defer p.end()
	id, err := failover("http://" + proxy + "/orders/17?page=2")
	if err != nil {
		return nil, err
	}
	body, err := get(jaeger.url + "/api/v3/traces/" + id)
	if err != nil {
		return nil, err
	}
	return drawWaterfall(body)
}

// failover asks until a request has met the dying backend first, and returns its trace.
func failover(url string) (string, error) {
	if _, err := get(url); err != nil {
		return "", err
	}
	for range 2 { // one of two begins with the other backend
		began := time.Now()
		resp, err := http.Get(url)
		if err != nil {
			return "", err
		}
		resp.Body.Close()
		if time.Since(began) > 95*time.Millisecond {
			return resp.Header.Get("X-Trace-Id"), nil
		}
	}
	return "", fmt.Errorf("no failover at %s", url)
}

func serve(h http.HandlerFunc) (address string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go http.Serve(l, h)
	return l.Addr().String()
}

// free is an address that nobody listens on at the moment.
func free() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// process is a program that is ended with its end.
type process struct{ *exec.Cmd }

func start(name string, args ...string) (process, error) {
	p := process{exec.Command(name, args...)}
	return p, p.Start()
}

func (p process) end() {
	p.Process.Signal(os.Interrupt)
	p.Wait()
}

// jaeger is a running Jaeger.
type jaeger struct {
	process
	otlp, url string
}

// kill ends it: it would take its time, and holds nothing that is to be kept.
func (j *jaeger) kill() {
	j.Process.Kill()
	j.Wait()
}

func startJaeger(dir string) (*jaeger, error) {
	path, err := exec.Command("bash", "scripts/parts.sh", "jaeger").Output()
	if err != nil {
		return nil, fmt.Errorf("parts.sh jaeger: %w", err)
	}
	b, err := os.ReadFile("docs/deployment/jaeger.yaml")
	if err != nil {
		return nil, err
	}
	j := &jaeger{otlp: free(), url: "http://" + free()}
	text := strings.NewReplacer("127.0.0.1:4317", j.otlp, "127.0.0.1:4318", free(), "127.0.0.1:16686", strings.TrimPrefix(j.url, "http://")).Replace(string(b))
	file := filepath.Join(dir, "jaeger.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return nil, err
	}
	if j.process, err = start(strings.TrimSpace(string(path)), "--config", file); err != nil {
		return nil, err
	}
	_, err = get(j.url + "/api/v3/services")
	return j, err
}
