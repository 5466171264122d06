package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"pace/config"
	"pace/proxy"
)

func demoCommand() *cobra.Command {
	var address string
	var noLimit bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Start two sample backends and a proxy before them",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return demo(address, noLimit) },
	}
	c.Flags().StringVar(&address, "listen", "0.0.0.0:8080", "`ADDRESS` of the proxy")
	c.Flags().BoolVar(&noLimit, "no-limit", false, "let more than 10 requests a minute pass")
	return c
}

// demo serves two sample backends and a proxy. Taken ports move to the next free ones.
func demo(address string, noLimit bool) error {
	f := &config.File{Config: config.Default()}
	for _, port := range []int{8000, 8001} {
		l, err := listenNear(net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return runFailure{err}
		}
		go http.Serve(l, sampleBackend(len(f.Upstreams.Backends)+1, l.Addr().(*net.TCPAddr).Port))
		f.Upstreams.Backends = append(f.Upstreams.Backends, l.Addr().String())
	}
	if !noLimit {
		f.RateLimit = &config.RateLimit{Enabled: true, MaxRequests: 10, WindowSeconds: 60, KeyExtractor: "client_ip", MaxKeys: 1_000_000}
	}
	var l listeners
	var err error
	if l.proxy, err = listenNear(address); err == nil {
		l.admin, err = listenNear(f.Admin.Listen)
	}
	if err != nil {
		return runFailure{err}
	}
	return serveDemo(f, l, noLimit)
}

func serveDemo(f *config.File, l listeners, noLimit bool) error {
	p, err := build(context.Background(), f)
	if err != nil {
		return err
	}
	defer p.log.Close()
	describeDemo(f, l, noLimit)
	return p.serve(l, f.Server.DrainTimeout, f.Admin.Pprof)
}

// listenNear opens the address or, if its port is taken, the next free one, and says so.
func listenNear(address string) (net.Listener, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("%s: write the address as host:port: %w", address, err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("%s: write a port from 0 to 65535", address)
	}
	for try := int(port); ; try++ {
		l, err := proxy.Listen(net.JoinHostPort(host, strconv.Itoa(try)))
		if err == nil {
			if try != int(port) {
				fmt.Fprintf(os.Stderr, "port %d is taken, %d is used instead\n", port, try)
			}
			return l, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) || try >= min(int(port)+100, 65535) {
			return nil, err
		}
	}
}

func describeDemo(f *config.File, l listeners, noLimit bool) {
	_, port, _ := net.SplitHostPort(l.proxy.Addr().String())
	at := "http://localhost:" + port
	fmt.Fprintf(os.Stderr, `pace demo: %s, backends %s and %s. Try:

  curl %s/hello            answered by one backend, then the other
  curl -i %s/status/503    a failure, and the headers that explain it
  curl %s/slow?ms=700      a slow answer
  curl %s/die              an answer that breaks off in its body
  curl http://%s/metrics          what all of them add up to
`, at, f.Upstreams.Backends[0], f.Upstreams.Backends[1], at, at, at, at, l.admin.Addr())
	if !noLimit {
		fmt.Fprintf(os.Stderr, "\nThe 11th request within a minute gets 429 (--no-limit lets it pass).\n")
	}
	fmt.Fprintln(os.Stderr, "\nEach request is one line below. Ctrl-C ends.")
	fmt.Fprintln(os.Stderr)
}

// sampleBackend answers with JSON that says what it was asked.
func sampleBackend(number, port int) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		ms, _ := strconv.Atoi(cmp.Or(r.FormValue("ms"), "500"))
		time.Sleep(time.Duration(min(max(ms, 0), 60_000)) * time.Millisecond)
		sample(w, r, number, port, http.StatusOK)
	})
	mux.HandleFunc("/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		code, err := strconv.Atoi(r.PathValue("code"))
		if err != nil || code < 200 || code > 599 {
			code = http.StatusBadRequest
		}
		sample(w, r, number, port, code)
	})
	mux.HandleFunc("/die", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, "this answer promises 1000 bytes and")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { sample(w, r, number, port, http.StatusOK) })
	return mux
}

func sample(w http.ResponseWriter, r *http.Request, number, port, status int) {
	if status == http.StatusNoContent || status == http.StatusNotModified {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.Encode(map[string]any{
		"backend": "backend-" + strconv.Itoa(number), "port": port,
		"method": r.Method, "path": r.URL.Path, "headers": r.Header,
	})
}
