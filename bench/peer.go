package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"
	"time"
)

// peer is one program to measure. Its args and the configuration files are templates over a [setting]. All
// configuration files, and those of the certificate, are in its folder.
type peer struct {
	name, about string
	short       bool   // part of the short form
	binary      string // "": the bench itself
	version     string // the argument that makes it print its version
	args        string
	ratio       float64 // share of traces that it exports
}

// The peers that the ratios compare.
const (
	direct  = "direct"
	bare    = "reverseproxy"
	paceOff = "pace-off"
	paceOn  = "pace-1"
	paceAll = "pace-100"
)

// What no proxy can undercut if its TLS is crypto/tls, and if its server is net/http's.
const (
	tlsAlone     = "tls-alone"
	nethttpAlone = "nethttp-alone"
)

var floors = []string{tlsAlone, nethttpAlone}

// peers are in the order of the report.
var peers = []peer{
	{name: direct, about: "no proxy: what load and backend can do"},
	{bare, "`httputil.ReverseProxy` with Rewrite, no telemetry", true, "", "", "serve reverseproxy {{.Flags}} {{.Listen}} {{.Backend}}", 0},
	{name: tlsAlone, about: "no proxy: crypto/tls, and the same response for whatever comes; garbage collected as in pace", args: "serve tls-alone {{.Listen}}"},
	{name: nethttpAlone, about: "net/http in front, the same bytes to the backend for whatever comes; garbage collected as in pace; not a proxy to use", args: "serve nethttp-alone {{.Listen}} {{.Backend}}"},
	{"reverseproxy-otel-1", "the same, otelhttp on both sides, Prometheus metrics, 1 % of traces to OTLP", false, "", "", "serve otel {{.Flags}} {{.Listen}} {{.Backend}} {{.Sink}} {{.Ratio}}", 0.01},
	{"reverseproxy-otel-100", "the same, every trace to OTLP", false, "", "", "serve otel {{.Flags}} {{.Listen}} {{.Backend}} {{.Sink}} {{.Ratio}}", 1},
	{paceOff, "pace without metrics and tracing, log of errors only", false, "pace", "version", "run --config pace-off.toml", 0},
	{paceOn, "pace with everything on: record, histograms, log to a file, limiter, 1 % of traces to OTLP", true, "pace", "version", "run --config pace-on.toml", 0.01},
	{paceAll, "the same, every trace to OTLP", false, "pace", "version", "run --config pace-on.toml", 1},
	{"fasthttp-proxy", "net/http in front, fasthttp's client behind, no telemetry; not a proxy to use", false, "", "", "serve fasthttp {{.Listen}} {{.Backend}}", 0},
	{"nginx", "no access log", false, "nginx", "-v", "-p . -e stderr -c nginx.conf", 0},
	{"haproxy", "no log", false, "haproxy", "-v", "-db -f haproxy.cfg", 0},
	{"caddy", "no access log, no metrics", false, "caddy", "version", "run --adapter caddyfile --config Caddyfile", 0},
	{"traefik", "no access log, no metrics", false, "traefik", "version", "--configFile=traefik.yml", 0},
}

//go:embed peers
var configs embed.FS

// find sets the path and the version of the peer's binary, or skip if there is none.
func (c *contender) find(ctx context.Context, dir string) {
	var err error
	switch c.binary {
	case "":
		c.path, err = os.Executable()
	case "pace":
		c.path, err = findPace(ctx, dir)
	default:
		if c.path, err = exec.LookPath(c.binary); err != nil {
			c.path, err = findPart(c.binary)
		}
	}
	if err != nil {
		c.skip = err.Error()
	} else if c.version != "" {
		out, _ := exec.Command(c.path, c.version).CombinedOutput()
		c.release, _, _ = strings.Cut(string(out), "\n")
	}
}

// findPart returns the path of a part that scripts/parts.sh has built.
func findPart(name string) (string, error) {
	out, err := exec.Command("bash", "../scripts/parts.sh", "--find", name).Output()
	if err != nil {
		return "", fmt.Errorf("not found; try bash scripts/parts.sh %s", name)
	}
	return strings.TrimSpace(string(out)), nil
}

// findPace returns $PACE_BINARY, or builds pace from the parent folder.
func findPace(ctx context.Context, dir string) (string, error) {
	if path := os.Getenv("PACE_BINARY"); path != "" {
		return filepath.Abs(path)
	}
	path := filepath.Join(dir, "pace")
	build := exec.CommandContext(ctx, "go", "build", "-o", path, "./cmd/pace")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/pace: %w: %.300s", err, out)
	}
	return path, nil
}

// setting is what a peer's arguments and configuration are made from.
type setting struct {
	wire
	Listen, Backend, Sink, Ratio string
}

// Flags are those of the bench's own peers.
func (s setting) Flags() string {
	return fmt.Sprintf("-tls=%v -h2c=%v -h3=%v", s.TLS, s.H2C, s.H3)
}

// fill executes a template.
func (s setting) fill(text string) (string, error) {
	t, err := template.New("").Parse(text)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = t.Execute(&out, s)
	return out.String(), err
}

// launch starts the peer in dir and waits until a request has gone through it.
func (c *contender) launch(dir string, to target, id *identity, s setting) (*process, error) {
	s.Ratio = strconv.FormatFloat(c.ratio, 'f', 2, 64)
	files, err := configs.ReadDir("peers")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		text, _ := configs.ReadFile("peers/" + file.Name())
		filled, err1 := s.fill(string(text))
		err2 := os.WriteFile(filepath.Join(dir, file.Name()), []byte(filled), 0o600)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
	}
	args, err1 := s.fill(c.args)
	if err := errors.Join(err1, id.write(dir)); err != nil {
		return nil, err
	}
	proc, err := start(dir, c.name, append([]string{c.path}, strings.Fields(args)...)...)
	if err != nil {
		return nil, err
	}
	return proc, proc.await(func() error { return to.get("/small", smallSize, io.Discard) })
}

// await calls ready until it returns no error. If the process ends first, or takes 10 s, await stops it.
func (p *process) await(ready func() error) error {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-p.gone:
			return p.fault(errors.New("ended at once"))
		default:
		}
		if time.Now().After(deadline) {
			p.stop()
			return p.fault(fmt.Errorf("not ready in 10 s: %w", err))
		}
	}
}
