package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

// A departure is a request in which the client or the backend leaves at a stage.
type departure struct {
	stage   string
	method  string
	outcome string
	side    string
	status  int // in telemetry
}

var departures = []departure{
	{"fine", "POST", "ok", "none", 200},
	{"waiting", "GET", "client_gone", "client", 499},
	{"sending", "POST", "client_gone", "client", 499},
	{"reading", "GET", "client_aborted", "client", 200},
	{"reset", "GET", "upstream_reset", "backend", 502},
	{"resetpost", "POST", "upstream_reset", "backend", 502},
	{"cut", "GET", "upstream_truncated", "backend", 200},
	{"cutstream", "GET", "upstream_truncated", "backend", 200},
}

// TestDepartures_BackendsOverH2C has a thousand clients leave, and a thousand streams be reset by their backend, where
// pace and the backend share connections over HTTP/2. Who has left is the same for the client, the backend, metrics,
// lines and spans; each request reaches the backend once, and a stream of a client that has left ends there, too.
func TestDepartures_BackendsOverH2C(t *testing.T) {
	const each = 350
	for _, over := range []struct {
		name string
		mode pacetest.Mode
		tls  bool
	}{{"HTTP 1.1 in front", pacetest.H1, false}, {"HTTP 2 over TLS in front", pacetest.H2C, true}} {
		t.Run(over.name, func(t *testing.T) {
			backend := newDepartingBackend(t)
			ca := pacetest.NewCA(t)
			cfg := pacetest.Config{
				"upstreams":       {"backends": []string{"h2c://" + backend.address}, "max_retries": 0},
				"upstreams.retry": {"on": []string{}},
				"listener.a":      {"listen": "127.0.0.1:0"},
				"listener.b":      {"listen": "127.0.0.1:0", "tls": true},
				"certificate[0]":  ca.Issue("pace.test").Table(),
			}
			p, spans := pacetest.StartTraced(t, cfg, "OTEL_BSP_MAX_QUEUE_SIZE=100000")
			url := "http://" + p.Listeners[0]
			if over.tls {
				url = "https://" + p.Listeners[1]
			}
			paths := make(chan string)
			var clients sync.WaitGroup
			for range 16 { // each has a connection of its own, on which a thousand resets would be a flood
				client := over.mode.Client(t)
				if over.tls {
					client = ca.Client(over.mode, "pace.test")
				}
				clients.Go(func() {
					for path := range paths {
						backend.depart(t, client, url, path)
					}
				})
			}
			for i := range each {
				for _, d := range departures {
					paths <- fmt.Sprintf("/%s/%d", d.stage, i)
				}
			}
			close(paths)
			clients.Wait()
			holdDepartures(t, p, spans, backend, each)
		})
	}
}

// departingBackend speaks HTTP/2 in clear text, and does what the first segment of a path says.
type departingBackend struct {
	address string

	mu    sync.Mutex
	got   map[string]int           // requests, by path
	left  map[string]bool          // those whose stream was reset before the backend was done
	begun map[string]chan struct{} // closed once the backend has what the client waits for
}

const sentPart, wholeBody = 1000, 400

func newDepartingBackend(t *testing.T) *departingBackend {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &departingBackend{address: l.Addr().String(), got: map[string]int{}, left: map[string]bool{}, begun: map[string]chan struct{}{}}
	s := &http.Server{Handler: b, Protocols: new(http.Protocols), ErrorLog: log.New(io.Discard, "", 0)}
	s.Protocols.SetUnencryptedHTTP2(true)
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return b
}

func (b *departingBackend) began(path string) chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.begun[path] == nil {
		b.begun[path] = make(chan struct{})
	}
	return b.begun[path]
}

func (b *departingBackend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	b.mu.Lock()
	b.got[path]++
	b.mu.Unlock()
	stage := strings.Split(path, "/")[1]
	if stage == "sending" {
		io.ReadFull(r.Body, make([]byte, sentPart))
	} else {
		io.Copy(io.Discard, r.Body)
	}
	if stage == "cut" || stage == "reading" {
		w.Header().Set("Content-Length", "1000")
	}
	switch stage {
	case "fine":
		io.WriteString(w, strings.Repeat("x", wholeBody))
		return
	case "cut", "cutstream", "reading":
		io.WriteString(w, strings.Repeat("x", wholeBody))
		http.NewResponseController(w).Flush()
	}
	close(b.began(path))
	switch stage {
	case "waiting", "sending", "reading":
		<-r.Context().Done()
		b.mu.Lock()
		b.left[path] = true
		b.mu.Unlock()
	default:
		panic(http.ErrAbortHandler) // net/http resets the stream
	}
}

// depart is one client. It fails t if the client does not see what the stage says.
func (b *departingBackend) depart(t *testing.T, client *http.Client, url, path string) {
	stage := strings.Split(path, "/")[1]
	ctx, leave := context.WithTimeout(context.Background(), pacetest.Patience)
	defer leave()
	method, body := "GET", io.Reader(nil)
	switch stage {
	case "fine", "resetpost":
		method, body = "POST", strings.NewReader(strings.Repeat("x", 5000))
	case "sending":
		in, out := pacetest.Pipe()
		context.AfterFunc(ctx, func() { out.CloseWithError(io.ErrClosedPipe) }) // net/http waits for the body even then
		go io.WriteString(out, strings.Repeat("x", sentPart))
		method, body = "POST", in
	}
	if stage == "waiting" || stage == "sending" {
		go func() {
			select {
			case <-b.began(path):
			case <-ctx.Done():
			}
			leave()
		}()
	}
	req, err := http.NewRequestWithContext(ctx, method, url+path, body)
	if err != nil {
		t.Error(err)
		return
	}
	req.GetBody = nil
	resp, err := client.Do(req)
	switch stage {
	case "waiting", "sending":
		if !errors.Is(err, context.Canceled) && !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%s: got %v, %v, want to leave", path, resp, err)
		}
		return
	}
	if err != nil {
		t.Errorf("%s: %v", path, err)
		return
	}
	defer resp.Body.Close()
	part, err := io.ReadAll(io.LimitReader(resp.Body, wholeBody))
	switch stage {
	case "reading":
		leave()
	case "reset", "resetpost":
		if resp.StatusCode != 502 {
			t.Errorf("%s: got %d, want 502", path, resp.StatusCode)
		}
		return
	case "cut", "cutstream":
		if more, err := io.ReadAll(resp.Body); err == nil || len(more) > 0 {
			t.Errorf("%s: got %d bytes more, %v, want an aborted response", path, len(more), err)
		}
	}
	if resp.StatusCode != 200 || len(part) != wholeBody || err != nil {
		t.Errorf("%s: got %d with %d bytes, %v", path, resp.StatusCode, len(part), err)
	}
}

// holdDepartures compares metrics, lines and spans with what clients and backend know.
func holdDepartures(t *testing.T, p *pacetest.Pace, spans *otlp.Recv, b *departingBackend, each int) {
	t.Helper()
	want := map[string]departure{}
	for i := range each {
		for _, d := range departures {
			want[fmt.Sprintf("/%s/%d", d.stage, i)] = d
		}
	}
	counts := map[[2]string]int{}
	for _, d := range departures {
		counts[[2]string{d.outcome, d.side}] += each
	}
	for k, n := range counts {
		p.WantMetric(float64(n), "pace_requests_total", "pace_outcome", k[0], "pace_side", k[1])
	}
	p.WantMetric(float64(len(want)), "pace_requests_total")
	attempts := uint64(0)
	for _, s := range p.Metrics()["http_client_request_duration_seconds"].GetMetric() {
		attempts += s.GetHistogram().GetSampleCount()
	}
	if attempts != uint64(len(want)) {
		t.Errorf("%d attempts are measured, want %d", attempts, len(want))
	}
	gone := 0
	for _, d := range want {
		if d.side == "client" {
			gone++
		}
	}
	pacetest.Eventually(t, func() error { // the reset of a stream is on its way to the backend
		b.mu.Lock()
		defer b.mu.Unlock()
		if n := len(b.left); n < gone {
			return fmt.Errorf("the backend has seen %d streams be reset, want %d", n, gone)
		}
		return nil
	})
	b.mu.Lock()
	for path, d := range want {
		if leaves := d.side == "client"; b.got[path] != 1 || b.left[path] != leaves {
			t.Errorf("%s: the backend got it %d times, left: %v; want once, %v", path, b.got[path], b.left[path], leaves)
		}
	}
	b.mu.Unlock()
	lines := p.AwaitLines(len(want), "request")
	if len(lines) != len(want) {
		t.Errorf("%d access lines, want %d", len(lines), len(want))
	}
	for _, l := range lines {
		if d := want[l.Text("path")]; l.Text("outcome") != d.outcome || l.Int("status") != d.status || l.Int("attempts") != 1 {
			t.Errorf("%s: the line has %s, %d, %d attempts; want %+v", l.Text("path"), l.Text("outcome"), l.Int("status"), l.Int("attempts"), d)
		}
	}
	all := spans.Wait(func(s []otlp.Span) bool { return len(s) >= 2*len(want) })
	servers, clients := map[string]int{}, 0
	for _, s := range all {
		if s.Kind == otlp.Client {
			if clients++; s.Attrs["network.protocol.version"] != "2" {
				t.Errorf("a CLIENT span has the protocol %v, want 2", s.Attrs["network.protocol.version"])
			}
			continue
		}
		path := fmt.Sprint(s.Attrs["url.path"])
		if servers[path]++; s.Attrs["pace.outcome"] != want[path].outcome {
			t.Errorf("%s: the span has %v, want %s", path, s.Attrs["pace.outcome"], want[path].outcome)
		}
	}
	if len(servers) != len(want) || len(all) != 2*len(want) || clients != len(want) {
		t.Errorf("%d SERVER spans of %d requests, %d CLIENT spans, %d in all", len(servers), len(want), clients, len(all))
	}
	t.Logf("%d requests, %d of them left by the client and %d by the backend: %v", len(want), 3*each, 4*each, counts)
}
