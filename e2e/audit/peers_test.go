package audit

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pace/e2e/mix"
	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

var peersFlag = flag.Bool("peers", false, "send a mix through nginx, HAProxy and a ReverseProxy with otelhttp, and print what they say of it")

// peer is another proxy. In config and args LISTEN, ADMIN, BACKEND, SINK and DIR stand for what it may use.
type peer struct {
	name    string
	args    string
	config  string                                    // its file, DIR/config
	metrics string                                    // path on ADMIN
	count   func(metrics string, looks int) mix.Table // requests by status; "" : of any
	records func(p *peerRun) []peersRecord            // what it says of each
}

// peerRun is one of them at work.
type peerRun struct {
	*peer
	t             *testing.T
	dir           string
	listen, admin string
	looks         int // at its metrics
	spans         *otlp.Recv
	cmd           *exec.Cmd
}

// peersRecord is what a proxy says of one request.
type peersRecord struct {
	path   string
	status string // and a mark of its own, if it has one
	tries  int    // attempts at the backend, as far as it says
}

var peers = []peer{
	{
		name: "nginx", args: "nginx -p DIR -e stderr -c config", metrics: "/status",
		config: `daemon off; pid nginx.pid; error_log stderr error; user root; worker_processes 1;
events { worker_connections 4096; }
http {
  log_format audit '$uri $status $upstream_status';
  access_log log audit;
  client_body_temp_path tmp1; proxy_temp_path tmp2; fastcgi_temp_path tmp3; uwsgi_temp_path tmp4; scgi_temp_path tmp5;
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  upstream backend { server BACKEND; keepalive 64; }
  server {
    listen LISTEN;
    location / {
      proxy_pass http://backend; proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade; proxy_set_header Traceparent $http_traceparent;
      proxy_request_buffering off; proxy_buffering off;
    }
  }
  server { listen ADMIN; access_log off; location /status { stub_status; } }
}`,
		count:   countNginx,
		records: func(p *peerRun) []peersRecord { return p.readLog(2) },
	},
	{
		name: "HAProxy", args: "haproxy -db -f DIR/config", metrics: "/metrics",
		config: `global
  log stdout format raw local0
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option abortonclose
frontend front
  bind LISTEN
  log global
  log-format "%HP %ST/%ts %rc"
  default_backend back
backend back
  http-reuse safe
  server one BACKEND
frontend admin
  bind ADMIN
  http-request use-service prometheus-exporter if { path /metrics }
`,
		count:   countHAProxy,
		records: func(p *peerRun) []peersRecord { return p.readLog(-1) },
	},
	{
		name: "ReverseProxy + otelhttp", args: "BENCH serve otel LISTEN BACKEND http://SINK 1", metrics: "/metrics",
		count: countOTel, records: (*peerRun).readSpans,
	},
}

// TestPeers prints what other proxies report about a mix, next to the truth. It cannot fail: it is
// to show what the audit is about.
func TestPeers(t *testing.T) {
	if !*peersFlag {
		t.Skip("-peers asks for it")
	}
	for i := range peers {
		t.Run(peers[i].name, func(t *testing.T) { peers[i].run(t) })
	}
}

func (p *peer) run(t *testing.T) {
	var r *peerRun
	m := mix.Other(t, 1, min(*requests, 4000), func(backend string) string {
		r = p.start(t, backend)
		return r.listen
	})
	before := p.count(r.ask(), r.looks)
	m.Play()
	m.HangUp()
	var counted mix.Table
	pacetest.Eventually(t, func() error { // until it has let go of all and counts no more
		last := counted
		if counted = p.count(r.ask(), r.looks); !maps.Equal(last, counted) {
			return fmt.Errorf("it still counts")
		}
		return nil
	})
	for k, n := range before {
		counted[k] -= n
	}
	r.stop()
	t.Logf("\n%s", r.report(m.Results(), counted))
}

func (p *peer) start(t *testing.T, backend string) *peerRun {
	r := &peerRun{peer: p, t: t, dir: t.TempDir(), listen: pacetest.NewClosed(t).Address(), admin: pacetest.NewClosed(t).Address(), spans: otlp.Receiver(t)}
	if p.config == "" {
		r.admin = r.listen
	}
	fill := strings.NewReplacer("LISTEN", r.listen, "ADMIN", r.admin, "BACKEND", backend, "SINK", r.spans.HTTP, "DIR", r.dir, "BENCH", filepath.Join(r.dir, "bench"))
	if err := os.WriteFile(filepath.Join(r.dir, "config"), []byte(fill.Replace(p.config)), 0o600); err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(p.args, "BENCH") {
		root, err := pacetest.Root()
		if err != nil {
			t.Fatal(err)
		}
		build := exec.Command("go", "build", "-o", filepath.Join(r.dir, "bench"), ".")
		build.Dir = filepath.Join(root, "bench")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build bench: %v\n%s", err, out)
		}
	}
	args := strings.Fields(fill.Replace(p.args))
	r.cmd = exec.Command(args[0], args[1:]...)
	out, err := os.Create(filepath.Join(r.dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	r.cmd.Stdout, r.cmd.Stderr, r.cmd.SysProcAttr = out, out, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.cmd.Start(); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { r.cmd.Process.Kill() })
	pacetest.Eventually(t, func() error {
		if r.ask() == "" {
			said, _ := os.ReadFile(out.Name())
			return fmt.Errorf("it has no metrics yet, and says %s", said)
		}
		return nil
	})
	return r
}

func (r *peerRun) ask() string {
	resp, err := http.Get("http://" + r.admin + r.metrics)
	if err != nil {
		return ""
	}
	r.looks++
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return string(body)
}

// stop lets it write down what it still has to say.
func (r *peerRun) stop() {
	r.cmd.Process.Signal(syscall.SIGTERM)
	r.cmd.Wait()
}

// countNginx reads stub_status, whose third line has accepted and handled connections, and requests,
// the looks at it included.
func countNginx(metrics string, looks int) mix.Table {
	lines := strings.Split(metrics, "\n")
	if len(lines) < 3 {
		return mix.Table{}
	}
	var accepted, handled, requests float64
	fmt.Sscan(lines[2], &accepted, &handled, &requests)
	return mix.Table{"": requests - float64(looks)}
}

func countHAProxy(metrics string, _ int) mix.Table {
	m, err := pacetest.ParseMetrics(metrics)
	if err != nil {
		return mix.Table{}
	}
	counted := mix.Table{}
	for _, s := range m["haproxy_frontend_http_responses_total"].GetMetric() {
		if pacetest.Label(s, "proxy") == "front" {
			counted[pacetest.Label(s, "code")] = s.GetCounter().GetValue()
		}
	}
	return counted
}

func countOTel(metrics string, _ int) mix.Table {
	m, err := pacetest.ParseMetrics(metrics)
	if err != nil {
		return mix.Table{}
	}
	counted := mix.Table{}
	for _, s := range m["http_server_request_duration_seconds"].GetMetric() {
		counted[pacetest.Label(s, "http_response_status_code")] += float64(s.GetHistogram().GetSampleCount())
	}
	return counted
}

// readLog reads lines of path, status and attempts: a list that begins with field list, or a number of repeats.
func (r *peerRun) readLog(list int) (all []peersRecord) {
	name := "log"
	if list < 0 {
		name = "out"
	}
	raw, _ := os.ReadFile(filepath.Join(r.dir, name))
	for line := range strings.Lines(string(raw)) {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			continue
		}
		record := peersRecord{path: fields[0], status: fields[1]}
		if list < 0 {
			fmt.Sscan(fields[2], &record.tries)
			record.tries++
		} else {
			record.tries = len(fields[list:])
		}
		all = append(all, record)
	}
	return all
}

func (r *peerRun) readSpans() (all []peersRecord) {
	tries := map[string]int{}
	for _, s := range r.spans.Spans() {
		if s.Kind == otlp.Client {
			tries[s.ParentID]++
		}
	}
	for _, s := range r.spans.Spans() {
		if s.Kind == otlp.Server {
			status := fmt.Sprint(s.Attrs["http.response.status_code"])
			if s.StatusCode == otlp.Error {
				status += "/Error"
			}
			all = append(all, peersRecord{fmt.Sprint(s.Attrs["url.path"]), status, tries[s.SpanID]})
		}
	}
	return all
}

// report says of each outcome how often it was, and as what the proxy has written it down.
func (r *peerRun) report(results []mix.Result, counted mix.Table) string {
	byPath := map[string][]peersRecord{}
	for _, record := range r.records(r) {
		byPath[record.path] = append(byPath[record.path], record)
	}
	sent, got, known := map[string]int{}, map[string]map[string]int{}, map[string]map[string]int{}
	attempts, recorded := 0, 0
	add := func(m map[string]map[string]int, outcome, what string) {
		if m[outcome] == nil {
			m[outcome] = map[string]int{}
		}
		m[outcome][what]++
	}
	for _, x := range results {
		sent[x.Outcome]++
		saw := fmt.Sprint(x.Got.Status)
		if x.Got.Status <= 0 {
			saw = "none"
		} else if x.Got.Err != nil {
			saw += " cut"
		}
		add(got, x.Outcome, saw)
		attempts += x.Attempts
		if len(byPath[x.Path]) == 0 {
			add(known, x.Outcome, "nothing")
		}
		for _, record := range byPath[x.Path] {
			add(known, x.Outcome, record.status)
			recorded += record.tries
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-20s %6s  %-30s  %s\n", "outcome", "sent", "the client got", r.name+"'s log or spans say")
	for _, outcome := range slices.SortedFunc(maps.Keys(sent), func(x, y string) int { return cmp.Compare(sent[y], sent[x]) }) {
		fmt.Fprintf(&b, "%-20s %6d  %-30s  %s\n", outcome, sent[outcome], tally(got[outcome]), tally(known[outcome]))
	}
	fmt.Fprintf(&b, "requests %d, in its counters %v: %v\n", len(results), counted.Total(), tally(counted))
	fmt.Fprintf(&b, "attempts that reached the backend %d, known to it %d", attempts, recorded)
	return b.String()
}

func tally[N int | float64](m map[string]N) string {
	var all []string
	for _, k := range slices.SortedFunc(maps.Keys(m), func(x, y string) int { return cmp.Or(cmp.Compare(m[y], m[x]), cmp.Compare(x, y)) }) {
		all = append(all, fmt.Sprintf("%s ×%v", cmp.Or(k, "any"), m[k]))
	}
	return strings.Join(all, ", ")
}
