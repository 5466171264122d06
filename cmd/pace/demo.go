package main

import (
	"fmt"
	"net"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"pace/cmd/pace/server"
	"pace/config"
)

func demoCommand() *cobra.Command {
	var address string
	var noLimit bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Start two sample backends and a proxy in front of them",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return demo(address, noLimit) },
	}
	c.Flags().StringVar(&address, "listen", "127.0.0.1:8080", "`ADDRESS` of the proxy")
	c.Flags().BoolVar(&noLimit, "no-limit", false, "let more than 10 requests a minute pass")
	return c
}

// demo serves two sample backends and a proxy, on loopback. If a port is taken, it uses the next free
// one.
func demo(address string, noLimit bool) error {
	f := &config.File{Config: config.Default()}
	resets := new(resets)
	for _, port := range []int{8000, 8001} {
		l, err := listenNear(net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return runFailure{err}
		}
		b := &sampleBackend{number: len(f.Upstreams.Backends) + 1, port: l.Addr().(*net.TCPAddr).Port, resets: resets}
		go b.serve(l)
		f.Upstreams.Backends = append(f.Upstreams.Backends, config.Backend{Scheme: "http", Address: l.Addr().String(), Weight: 1})
	}
	if !noLimit {
		f.RateLimit = &config.RateLimit{Enabled: true, MaxRequests: 10, WindowSeconds: 60, KeyExtractor: "client_ip", MaxKeys: 1_000_000}
	}
	var l server.Listeners
	proxy, err := listenNear(address)
	if err == nil {
		l.Proxy = []server.Listener{{Name: config.DefaultName, Listener: proxy}}
		l.Admin, err = listenNear(f.Admin.Listen)
	}
	if err != nil {
		return runFailure{err}
	}
	return server.RunOn(f, l, func() { describeDemo(f, l, noLimit) })
}

// describeDemo prints what runs and what to try. Its lines fit a terminal of 60 columns. Its URLs are in
// quotes, because a shell treats "?" as a pattern.
func describeDemo(f *config.File, l server.Listeners, noLimit bool) {
	_, port, _ := net.SplitHostPort(l.Proxy[0].Addr().String())
	at := "http://localhost:" + port
	fmt.Fprintf(os.Stderr, `pace demo: proxy on %s, metrics on
http://%s/metrics, backends on
%s and %s

In another terminal, try:
  # one backend responds, then the other
  curl '%[5]s/hello'
  # a failure, and the headers that explain it
  curl -i '%[5]s/status/503'
  # a slow response
  curl '%[5]s/slow?ms=700'
  # a response that breaks off in its body
  curl '%[5]s/die'
  # a failover: one backend resets, the other responds
  curl -i '%[5]s/reset'
  # one backend goes down for %[6]s
  curl -X POST '%[5]s/kill'

`, at, l.Admin.Addr(), f.Upstreams.Backends[0].Address, f.Upstreams.Backends[1].Address, at, downFor)
	if !noLimit {
		fmt.Fprint(os.Stderr, "The 11th request within a minute gets 429 (--no-limit\nswitches that off). ")
	}
	fmt.Fprint(os.Stderr, "Each request is a line below: time,\nlevel, status, outcome, request, duration, backend,\ntrace id. Ctrl-C stops the demo.\n\n")
}
