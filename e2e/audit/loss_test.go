package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
	"pace/e2e/parts"
)

// The failures of telemetry itself: no request may notice, memory stays bounded, and each loss is
// counted, exactly. That single faults cost no request is in e2e/contract, too.

// maxRSS is far below the memory that pace would need if it kept what is lost.
const maxRSS = 120 << 20

// burst sends n GETs for distinct paths, 16 at a time, and wants each answered.
func burst(t *testing.T, p *pacetest.Pace, path string, n int) {
	t.Helper()
	var group sync.WaitGroup
	var next atomic.Int64
	for range 16 {
		c := pacetest.H1.Client(t)
		group.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				if got := pacetest.Do(c, p.Request("GET", fmt.Sprintf("%s/%d", path, i), "")); got.Status != 200 || got.Body != "fine" || got.Err != nil {
					t.Errorf("%s/%d: status %d, body %q, %v", path, i, got.Status, got.Body, got.Err)
				}
			}
		})
	}
	group.Wait()
	if rss := p.RSS(); rss > maxRSS && !raced {
		t.Errorf("after %s pace has %d MiB, want at most %d", path, rss>>20, maxRSS>>20)
	}
}

// TestLoss_OfSpansIsCountedExactly leads one pace through everything that a collector can do. After
// each act, the spans that came and those that are counted as lost are all there ever were.
func TestLoss_OfSpansIsCountedExactly(t *testing.T) {
	for _, protocol := range []string{"grpc", "http/protobuf"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			r := otlp.Receiver(t)
			way := openGate(t, map[string]string{"grpc": r.GRPC, "http/protobuf": r.HTTP}[protocol])
			p := pacetest.Start(t, pacetest.Config{
				"upstreams": pacetest.Upstreams(pacetest.NewBackend(t, pacetest.Fine)),
				"tracing":   {"endpoint": "http://" + way.Address(), "protocol": protocol},
				"log":       {"file": filepath.Join(t.TempDir(), "log")},
			}, "OTEL_BSP_MAX_QUEUE_SIZE=64", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=32", "OTEL_BSP_SCHEDULE_DELAY=20",
				"OTEL_BSP_EXPORT_TIMEOUT=2000", "OTEL_EXPORTER_OTLP_TIMEOUT=2000") // a batch that comes later counts as lost, too
			s := &spansOf{t: t, p: p, r: r, per: 300}
			s.act("well", func() {}, true)
			s.act("hangs", func() { r.Fail(otlp.Hang) }, false)
			s.act("unavailable", func() { r.Fail(otlp.Unavailable) }, false)
			s.act("refuses", func() { r.Fail(otlp.Refuse) }, false)
			s.act("resets", func() { r.Fail(otlp.Reset) }, false)
			s.act("garbage", func() { r.Fail(otlp.Garbage) }, false)
			s.act("rejects", func() { r.Fail(otlp.None); r.Reject(3, "too old") }, true)
			s.act("warns", func() { r.Reject(0, "soon too old") }, true)
			s.act("down", func() { r.Reject(0, ""); way.shut() }, false)
			s.act("slow", func() { way.open(100 * time.Millisecond) }, true)
			s.act("well-again", func() { way.open(0) }, true)
			if code := p.Stop(); code != 0 {
				t.Errorf("exit %d", code)
			}
			t.Logf("%d spans, %d received, dropped %v", 2*s.sent, len(r.Spans()), s.reasons)
		})
	}
}

// spansOf is a pace and its collector, act by act.
type spansOf struct {
	t         *testing.T
	p         *pacetest.Pace
	r         *otlp.Recv
	per, sent int
	reasons   map[string]float64
}

// act changes the collector, sends requests, and waits until all their spans are exported or counted as
// dropped. Either some spans must arrive or none. A gRPC client reconnects slowly, so act sends more
// requests then.
func (s *spansOf) act(name string, change func(), arrive bool) {
	s.t.Helper()
	before := len(s.r.Spans())
	change()
	for began := time.Now(); ; {
		burst(s.t, s.p, fmt.Sprintf("/%s/%d", name, s.sent), s.per)
		s.sent += s.per
		s.settle(name)
		came := len(s.r.Spans()) > before
		if came == arrive {
			break
		}
		if !arrive || time.Since(began) > time.Minute {
			s.t.Errorf("%s: spans came: %v", name, came)
			break
		}
	}
	s.p.WantMetric(float64(s.sent), "http_server_request_duration_seconds_count", "pace_outcome", "ok")
}

// settle waits until each span ever made has come or is counted as lost.
func (s *spansOf) settle(name string) {
	s.t.Helper()
	pacetest.Eventually(s.t, func() error {
		m := s.p.Metrics()
		s.reasons = map[string]float64{}
		for _, reason := range []string{"queue_full", "export_failed", "shutdown"} {
			s.reasons[reason] = m.Sum("pace_spans_dropped_total", "reason", reason)
		}
		if n, lost := len(s.r.Spans()), m.Sum("pace_spans_dropped_total"); n+int(lost) != 2*s.sent {
			return fmt.Errorf("%s: %d spans came and %v are counted as lost, of %d", name, n, s.reasons, 2*s.sent)
		}
		return nil
	})
}

// gate is a way to an address that can be shut, and made long.
type gate struct {
	t       *testing.T
	addr    string // where it begins
	to      string
	mu      sync.Mutex
	conns   []net.Conn   // guarded by mu
	entry   net.Listener // guarded by mu; nil: shut
	latency atomic.Int64 // of what comes back, in ns
}

func openGate(t *testing.T, to string) *gate {
	g := &gate{t: t, addr: pacetest.NewClosed(t).Address(), to: to}
	g.open(0)
	t.Cleanup(g.shut)
	return g
}

// Address returns where it begins, host:port.
func (g *gate) Address() string { return g.addr }

func (g *gate) open(latency time.Duration) {
	g.latency.Store(int64(latency))
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.entry != nil {
		return
	}
	var err error
	if g.entry, err = net.Listen("tcp", g.addr); err != nil {
		g.t.Error(err)
		return
	}
	go func(entry net.Listener) {
		for {
			c, err := entry.Accept()
			if err != nil {
				return
			}
			go g.carry(c)
		}
	}(g.entry)
}

// shut refuses connections, and breaks those that are open.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.entry != nil {
		g.entry.Close()
		g.entry = nil
	}
	for _, c := range g.conns {
		c.Close()
	}
	g.conns = nil
}

func (g *gate) carry(c net.Conn) {
	defer c.Close()
	far, err := net.Dial("tcp", g.to)
	if err != nil {
		return
	}
	defer far.Close()
	g.mu.Lock()
	g.conns = append(g.conns, c, far)
	g.mu.Unlock()
	go func() {
		io.Copy(far, c)
		far.Close()
	}()
	b := make([]byte, 4096)
	for {
		n, err := far.Read(b)
		if n > 0 {
			time.Sleep(time.Duration(g.latency.Load()))
			if _, err := c.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// TestLoss_OfLinesOnAFullDisk logs to a file system that is full for a while.
func TestLoss_OfLinesOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); errors.Is(err, unix.EPERM) {
		parts.Missing(t, "to mount a small disk needs CAP_SYS_ADMIN: run as root")
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	file := filepath.Join(dir, "log")
	p := pacetest.Start(t, pacetest.Config{
		"upstreams": pacetest.Upstreams(pacetest.NewBackend(t, pacetest.Fine)),
		"log":       {"format": "json", "file": file},
	})
	burst(t, p, "/before", 50)
	filler := filepath.Join(dir, "filler")
	os.WriteFile(filler, make([]byte, 1<<20), 0o600) // as far as it goes
	burst(t, p, "/full", 1000)
	p.WantMetric(1050, "http_server_request_duration_seconds_count", "pace_outcome", "ok")
	var lost float64
	pacetest.Eventually(t, func() error { // and nothing waits to be written any more
		whole := len(wholeLines(t, file))
		if lost = p.Metrics().Sum("pace_log_dropped_total", "reason", "write_failed"); whole+int(lost) < 1050 {
			return fmt.Errorf("%d lines are whole and %v counted as lost, of 1050 and the one at the start", whole, lost)
		}
		return nil
	})
	if lost == 0 {
		t.Error("no line was lost: the test proves nothing")
	}
	os.Remove(filler)
	burst(t, p, "/after", 100)
	if code := p.Stop(); code != 0 {
		t.Errorf("exit %d", code)
	}
	lines := wholeLines(t, file)
	for i := range 100 {
		if path := fmt.Sprintf("/after/%d", i+1); !lines[path] {
			t.Errorf("there is no whole line of %s, which came when there was room again", path)
		}
	}
	for path, n := range map[string]int{"/before": 50, "/full": 1000} {
		for i := range n {
			if !lines[fmt.Sprintf("%s/%d", path, i+1)] {
				lost--
			}
		}
	}
	if lost < 0 {
		t.Errorf("%v lines are missing that were not counted", -lost)
	}
}

// wholeLines returns the paths of the access lines of a file that can be read.
func wholeLines(t *testing.T, file string) map[string]bool {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	paths := map[string]bool{}
	for line := range strings.Lines(string(raw)) {
		var fields pacetest.Line
		if json.Unmarshal([]byte(line), &fields) == nil && fields.Text("msg") == "request" {
			paths[fields.Text("path")] = true
		}
	}
	return paths
}

// TestLoss_OfLinesThatNobodyReads logs into a pipe whose reader has stopped.
func TestLoss_OfLinesThatNobodyReads(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "log")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(pipe, os.O_RDWR, 0) // or pace's open would wait for one
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	cfg := pacetest.Config{
		"upstreams": pacetest.Upstreams(pacetest.NewBackend(t, pacetest.Fine)),
		"server":    {"listen": pacetest.NewClosed(t).Address(), "drain_timeout": "1s"},
		"admin":     {"listen": pacetest.NewClosed(t).Address()},
		"log":       {"format": "json", "file": pipe},
	}
	config := filepath.Join(t.TempDir(), "proxy.toml")
	if err := os.WriteFile(config, []byte(cfg.TOML()), 0o600); err != nil {
		t.Fatal(err)
	}
	p := pacetest.Launch(t, nil, "run", "--config", config)
	p.Proxy, p.Admin = cfg["server"]["listen"].(string), cfg["admin"]["listen"].(string)
	p.AwaitReady()
	const n = 5000 // lines of some 500 bytes: more than pipe and buffer can hold
	burst(t, p, "/x", n)
	p.WantMetric(n, "http_server_request_duration_seconds_count", "pace_outcome", "ok")
	if lost := p.Metrics().Sum("pace_log_dropped_total", "reason", "buffer_full"); lost == 0 || lost >= n {
		t.Errorf("%v lines are counted as lost, of %d", lost, n)
	}
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(); code != 0 { // by drain_timeout and some: nobody will ever read
		t.Errorf("exit %d", code)
	}
}

// TestScrapes_TenAtOnce scrapes all the while that requests are sent.
func TestScrapes_TenAtOnce(t *testing.T) {
	t.Parallel()
	p := pacetest.Start(t, pacetest.Config{
		"upstreams": pacetest.Upstreams(pacetest.NewBackend(t, pacetest.Fine)), "log": {"file": filepath.Join(t.TempDir(), "log")},
	})
	var group sync.WaitGroup
	var over atomic.Bool
	var scrapes atomic.Int64
	for range 10 {
		group.Go(func() {
			last, tried := 0.0, 0.0 // what the scrape before said
			for !over.Load() {
				m, err := scrape(p)
				if err != nil {
					t.Error(err)
					return
				}
				scrapes.Add(1)
				served := m.Sum("http_server_request_duration_seconds_count")
				// A scrape reads one metric after the other: an attempt that it knows of may be of a
				// request that ends in between. The next scrape knows of that, unless it is in flight.
				if served < last || tried > served+16 {
					t.Errorf("%v requests after %v, %v attempts before", served, last, tried)
				}
				last, tried = served, m.Sum("http_client_request_duration_seconds_count")
			}
		})
	}
	const n = 5000
	burst(t, p, "/x", n)
	over.Store(true)
	group.Wait()
	p.WantMetric(n, "http_server_request_duration_seconds_count", "pace_outcome", "ok")
	t.Logf("%d scrapes beside %d requests, %d MiB", scrapes.Load(), n, p.RSS()>>20)
}

func scrape(p *pacetest.Pace) (pacetest.Metrics, error) {
	resp, err := http.Get("http://" + p.Admin + "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		return nil, fmt.Errorf("a scrape got status %d, %v", resp.StatusCode, err)
	}
	return pacetest.ParseMetrics(string(body))
}
