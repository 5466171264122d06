// Bench compares pace with other reverse proxies, in one run on one machine: the proxy's CPU per
// request, requests per second, latency and memory. Each proxy is a process on loopback. It is started
// again for each window, in an order that rotates from round to round; figures are medians over the
// rounds. The bench knows pace only as a binary ($PACE_BINARY, else built from the parent folder). It
// measures the peers that it finds in $PACE_PEERS, in PATH or among what scripts/parts.sh has built (Caddy), and
// skips the others. wrk makes the load over HTTP/1.1 and must be installed; over HTTP/2, and for handshakes, the
// bench has clients of its own; over HTTP/3 it has quic-go's. Linux only: the bench reads /proc.
//
//	go -C bench run . [-short] [-seconds N] [-rounds N] [-only NAME,NAME] [-out DIR] [-max-ratio R]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// maxRatio limits the CPU per small request of pace with everything on, as a multiple of the bare
// ReverseProxy's. It is the target for pace's own transport; with net/http's it would be 1.6. To change
// the target, change this line.
const maxRatio = 0.65

// margin is the factor by which a shared, noisy machine may exceed maxRatio before the run fails.
const margin = 1.5

type options struct {
	short           bool
	seconds, rounds int
	only            []string // peers and scenarios; of a kind that isn't named, all
	out             string   // "": print only
	maxRatio        float64
}

func parse() (o options) {
	flag.BoolVar(&o.short, "short", false, "the form for CI: pace and the bare ReverseProxy, small requests, windows of a second, within a minute")
	flag.IntVar(&o.seconds, "seconds", 2, "length of a window; over HTTP/2 and HTTP/3, and for handshakes, how many thousands of requests follows from it")
	flag.IntVar(&o.rounds, "rounds", 5, "windows of each peer, where a scenario doesn't want fewer")
	flag.StringVar(&o.out, "out", "", "folder for the report (default results; none with -short or -only)")
	flag.Float64Var(&o.maxRatio, "max-ratio", maxRatio, "CPU per small request of pace with everything on, against the bare ReverseProxy; 1.5 times that fails")
	only := flag.String("only", "", "peers and scenarios to run")
	flag.Parse()
	o.only = strings.FieldsFunc(*only, func(r rune) bool { return r == ',' })
	if o.short {
		o.seconds = min(o.seconds, 1)
	} else if o.out == "" && len(o.only) == 0 {
		o.out = "results"
	}
	return o
}

func main() {
	if len(os.Args) > 3 && os.Args[1] == "serve" {
		if err := serveRole(os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, parse()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// serveRole is what the bench does in the processes that it starts from its own binary.
func serveRole(role string, args []string) error {
	var w wire
	flags := flag.NewFlagSet(role, flag.ExitOnError)
	flags.BoolVar(&w.TLS, "tls", false, "speak TLS with clients")
	flags.BoolVar(&w.H2C, "h2c", false, "speak HTTP/2 in clear text with the backend")
	flags.BoolVar(&w.H3, "h3", false, "speak HTTP/3 with clients as well")
	flags.Parse(args)
	switch args = append(flags.Args(), "", "", ""); role {
	case "backend":
		return serveBackend(args[0], args[1])
	case "tls-alone":
		return serveTLSAlone(args[0])
	case "nethttp-alone":
		return serveNetHTTPAlone(args[0], args[1])
	case "reverseproxy":
		return serveReverseProxy(w, args[0], args[1])
	case "otel":
		return serveOTel(w, args[0], args[1], args[2], args[3])
	case "fasthttp":
		return serveFasthttp(args[0], args[1])
	}
	return errors.New("no such role: " + role)
}

func run(ctx context.Context, o options) error {
	os.Setenv("PATH", os.Getenv("PACE_PEERS")+":"+os.Getenv("PATH")+":/usr/sbin:/usr/local/sbin") // Debian's place for daemons
	if _, err := exec.LookPath("wrk"); err != nil {
		return errors.New("no wrk in PATH; apt-get install wrk")
	}
	if err := known(o.only); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "pace-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b, err := newBench(ctx, dir, o)
	if err != nil {
		return err
	}
	defer b.backend.stop()
	began, load := time.Now(), loadAverage()
	for _, s := range scenarios {
		if (!o.short || s.short) && chosen(o.only, s.name, scenarioNames) {
			b.scenario(s)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := b.report(began, load); err != nil {
		return err
	}
	return b.checkRatio()
}

var scenarioNames, peerNames = func() (s, p []string) {
	for _, x := range scenarios {
		s = append(s, x.name)
	}
	for _, x := range peers {
		p = append(p, x.name)
	}
	return s, p
}()

// chosen reports whether only contains name, or nothing of name's kind.
func chosen(only []string, name string, kind []string) bool {
	return slices.Contains(only, name) || !slices.ContainsFunc(only, func(s string) bool { return slices.Contains(kind, s) })
}

func known(only []string) error {
	for _, name := range only {
		if !slices.Contains(scenarioNames, name) && !slices.Contains(peerNames, name) {
			return fmt.Errorf("-only %s: not one of %s, %s", name, strings.Join(peerNames, ", "), strings.Join(scenarioNames, ", "))
		}
	}
	return nil
}

// checkRatio returns an error if pace costs more than the target of a scenario, with a margin. It checks no other
// figure, because the other ones vary too much on a noisy machine.
func (b *bench) checkRatio() error {
	var faults []error
	for _, s := range scenarios {
		target := b.targetOf(s)
		switch got := ratio(b.results[s.name], paceOn, bare, cost); {
		case target == 0:
		case got == 0 && len(b.only) == 0 && (!b.short || s.short):
			faults = append(faults, fmt.Errorf("%s: no figures for both pace and the ReverseProxy, so there is no ratio to check", s.name))
		case got > target*margin:
			faults = append(faults, fmt.Errorf("%s: pace with everything on costs %.2f × the bare ReverseProxy, want at most %.2f × %.1f", s.name, got, target, margin))
		}
	}
	return errors.Join(faults...)
}

// targetOf returns the target of s, which for small requests is an option.
func (b *bench) targetOf(s scenario) float64 {
	if s.name == "small" {
		return b.maxRatio
	}
	return s.target
}
