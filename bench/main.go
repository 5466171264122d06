// Bench sets pace beside other reverse proxies, in one run on one machine: what a request costs in
// the proxy's CPU, how many a second, how long they take, how much memory. Each proxy is a process
// of its own on loopback, started anew for each window, in an order that rotates from round to
// round; figures are medians over the rounds. It knows pace only as a binary ($PACE_BINARY, else
// built from the folder above). Peers that are found in $PACE_PEERS or PATH are measured, others
// skipped. Load is by wrk, which must be installed. Linux only: it reads /proc.
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

// maxRatio is what pace with everything on may cost in CPU per small request, against the bare
// ReverseProxy with nothing: the target with an upstream exchange of its own. (With net/http's
// Transport the target would be 1.6.) This is the line to change.
const maxRatio = 0.65

// margin is what a shared, noisy machine is granted beyond maxRatio before the run fails.
const margin = 1.5

type options struct {
	short           bool
	seconds, rounds int
	only            []string // peers and scenarios; of a kind that isn't named, all
	out             string   // "": print only
	maxRatio        float64
}

func parse() (o options) {
	flag.BoolVar(&o.short, "short", false, "the form for CI: few peers, small requests, within a minute")
	flag.IntVar(&o.seconds, "seconds", 2, "length of a window")
	flag.IntVar(&o.rounds, "rounds", 5, "windows of each peer, where a scenario doesn't want fewer; -short: at most 3")
	flag.StringVar(&o.out, "out", "", "folder for the report (default results; none with -short or -only)")
	flag.Float64Var(&o.maxRatio, "max-ratio", maxRatio, "CPU per small request of pace with everything on, against the bare ReverseProxy; 1.5 times that fails")
	only := flag.String("only", "", "peers and scenarios to run")
	flag.Parse()
	o.only = strings.FieldsFunc(*only, func(r rune) bool { return r == ',' })
	if o.short {
		o.rounds = min(o.rounds, 3)
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

// serveRole is what the bench does when it has started itself.
func serveRole(role string, args []string) error {
	switch args = append(args, "", "", ""); role {
	case "backend":
		return serveBackend(args[0])
	case "reverseproxy":
		return serveReverseProxy(args[0], args[1])
	case "otel":
		return serveOTel(args[0], args[1], args[2], args[3])
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

// chosen tells whether only holds name, or nothing of name's kind.
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

// verdict fails on one ratio only, and with a margin: the rest of a noisy run is to be read, not
// obeyed.
func (b *bench) checkRatio() error {
	small := b.results["small"]
	switch got := ratio(small, paceOn, bare, cost); {
	case got == 0 && len(b.only) == 0:
		return errors.New("no figures for both pace and the ReverseProxy, so no ratio to judge")
	case got > b.maxRatio*margin:
		return fmt.Errorf("pace with everything on costs %.2f × the bare ReverseProxy per small request, want at most %.2f × %.1f", got, b.maxRatio, margin)
	}
	return nil
}
