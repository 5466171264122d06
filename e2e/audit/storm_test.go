package audit

import (
	"flag"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
	"pace/e2e/parts"
)

var (
	stormFlag = flag.Duration("storm", 8*time.Second, "how long the collector is gone, less than a minute")
	perSecond = flag.Int("per-second", 2000, "how many requests come in a second while it is gone, as far as the machine can")
)

// stormMemory is how much more memory pace may take while the collector is gone: the queues of kept records and of
// log records hold 16 MiB at most each, the one of sampled records 2,048 of them; the rest is the heap's room.
const stormMemory = 64 << 20

// queueSize is how many requests pace's queues hold.
const queueSize = 2048

// TestStorm_TheCollectorIsGone: while every request fails and the collector is gone, no client notices, the memory
// stays bounded, and each interesting trace and each log record is exported or counted as dropped.
func TestStorm_TheCollectorIsGone(t *testing.T) {
	for name, tt := range map[string]struct {
		keep  pacetest.Table
		whole bool // the queues have room for all that is kept
	}{
		"with the caps of keeping": {pacetest.Table{}, true},
		"without caps":             {pacetest.Table{"per_second": 0, "per_reason": 0}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := otlp.Receiver(t)
			way := openGate(t, r.GRPC)
			s := startStorm(t, way, tt.keep, "OTEL_LOGS_EXPORTER=otlp", "OTEL_METRICS_EXPORTER=otlp", "OTEL_METRIC_EXPORT_INTERVAL=500")
			s.play(way)
			records := 0
			kept := s.settle(func(m pacetest.Metrics) error {
				ids := map[string]bool{} // a batch may come twice, if its response was lost
				for _, l := range r.Lines() {
					ids[l.TraceID] = true
				}
				records = len(ids)
				if lost := m.Sum("pace_log_records_dropped_total"); records+int(lost) != s.sent() {
					return fmt.Errorf("%d log records came and %v are counted as dropped, of %d lines", records, lost, s.sent())
				}
				return nil
			})
			t.Logf("log records: %d of %d came, the others are counted as dropped", records, s.sent())
			got := map[string]bool{}
			for _, span := range r.Spans() {
				if span.Kind == otlp.Server {
					got[span.TraceID] = true
				}
			}
			s.wantKept(kept, got)
			full, failed := s.last.Sum("pace_traces_dropped_total", "reason", "queue_full"), s.last.Sum("pace_traces_dropped_total", "reason", "export_failed")
			if tt.whole && full > 0 || failed > 0 {
				t.Errorf("%v traces found the queue full, and %v were not taken", full, failed)
			}
			if much := s.alone > 2*queueSize; much && (!tt.whole && full == 0 || records == s.sent()) {
				t.Error("no queue was full: the test proves nothing")
			}
		})
	}
}

// TestStorm_JaegerIsGone is the same with a real collector: every trace that a line calls kept is found there.
func TestStorm_JaegerIsGone(t *testing.T) {
	jaeger := parts.Jaeger(t)
	way := openGate(t, jaeger.GRPC)
	s := startStorm(t, way, pacetest.Table{}, "OTEL_SERVICE_NAME=pace-storm")
	s.play(way)
	kept := s.settle(func(pacetest.Metrics) error { return nil })
	got := map[string]bool{}
	for _, id := range kept {
		got[id] = len(jaeger.Trace(id)) > 0
	}
	s.wantKept(kept, got)
}

// storm is a pace whose every request fails, and what its clients saw.
type storm struct {
	t       *testing.T
	p       *pacetest.Pace
	backend *pacetest.Backend

	responses atomic.Int64
	alone     int              // of responses, without the collector
	last      pacetest.Metrics // when all had settled
	mu        sync.Mutex
	took      []time.Duration // guarded by mu
}

// startStorm starts a pace that samples 1 % and exports through way.
func startStorm(t *testing.T, way *gate, keep pacetest.Table, env ...string) *storm {
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		x.Write("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 6\r\n\r\nfailed")
	})
	p := pacetest.Start(t, pacetest.Config{
		"upstreams":    pacetest.Upstreams(b),
		"tracing":      {"sample_ratio": 0.01, "endpoint": way.Address()},
		"tracing.keep": keep,
		"log":          {"file": filepath.Join(t.TempDir(), "log")},
	}, append(env, "OTEL_BSP_SCHEDULE_DELAY=100", "OTEL_BLRP_SCHEDULE_DELAY=100")...)
	return &storm{t: t, p: p, backend: b}
}

func (s *storm) sent() int { return int(s.responses.Load()) }

// play sends requests with the collector, without it, and with it again.
func (s *storm) play(way *gate) {
	s.t.Helper()
	s.act("with the collector", 2*time.Second)
	before := s.p.RSS()
	way.shut()
	s.alone = s.sent()
	largest := s.act("without it", *stormFlag)
	s.alone = s.sent() - s.alone
	way.open(0)
	s.act("with it again", 2*time.Second)
	s.t.Logf("memory: %d MiB before, %d MiB at most without the collector", before>>20, largest>>20)
	if largest-before > stormMemory && !raced {
		s.t.Errorf("without the collector pace took %d MiB more, want at most %d", (largest-before)>>20, stormMemory>>20)
	}
	if n := len(s.backend.Requests()); n != s.sent() {
		s.t.Errorf("the backend got %d requests of %d", n, s.sent())
	}
}

// act sends requests for a time, at the rate asked for or as fast as the machine can, and returns the most memory
// that pace had meanwhile.
func (s *storm) act(name string, d time.Duration) (largest int64) {
	s.t.Helper()
	s.took = nil
	due := make(chan struct{}, 64) // what the clients cannot send in time is not sent
	var clients sync.WaitGroup
	for range cap(due) {
		c := pacetest.H1.Client(s.t)
		clients.Go(func() {
			for range due {
				s.ask(c)
			}
		})
	}
	const tick = 10 * time.Millisecond
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for began := time.Now(); time.Since(began) < d; <-ticker.C {
		for range *perSecond * int(tick) / int(time.Second) {
			select {
			case due <- struct{}{}:
			default:
			}
		}
		largest = max(largest, s.p.RSS())
	}
	close(due)
	clients.Wait()
	slices.Sort(s.took)
	n := len(s.took)
	s.t.Logf("%s: %d requests in %v; half took %v, 99 of 100 %v, all %v", name, n, d, s.took[n/2], s.took[n*99/100], s.took[n-1])
	// Were one request to wait for the collector, it would take an export's 10 s.
	if slowest := s.took[n-1]; slowest > 5*time.Second {
		s.t.Errorf("%s: the slowest request took %v", name, slowest)
	}
	return largest
}

func (s *storm) ask(c *http.Client) {
	began := time.Now()
	got := pacetest.Do(c, s.p.Request("GET", "/x", ""))
	took := time.Since(began)
	if got.Err != nil || got.Status != 500 || got.Body != "failed" {
		s.t.Errorf("status %d, body %q, %v", got.Status, got.Body, got.Err)
	}
	s.responses.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took = append(s.took, took)
}

// settle waits until each interesting trace is counted as kept or dropped, and until more holds, and ends pace. It
// returns the ids of the traces that the log calls kept. Which are interesting it knows from the clients and the log.
func (s *storm) settle(more func(pacetest.Metrics) error) (kept []string) {
	s.t.Helper()
	pacetest.Eventually(s.t, func() error {
		if n := len(s.p.Lines("request")); n < s.sent() {
			return fmt.Errorf("%d lines of %d requests", n, s.sent())
		}
		return nil
	})
	interesting := s.sent()
	for _, l := range s.p.Lines("request") {
		if l["trace_sampled"] == true {
			interesting-- // the head's word: it is in neither counter
		}
		if l.Text("kept") != "" {
			kept = append(kept, l.Text("trace_id"))
		}
	}
	sum := func(reason string) float64 { return s.last.Sum("pace_traces_dropped_total", "reason", reason) }
	var count float64
	pacetest.Eventually(s.t, func() error {
		s.last = s.p.Metrics()
		count = s.last.Sum("pace_traces_kept_total")
		if dropped := s.last.Sum("pace_traces_dropped_total"); count+dropped != float64(interesting) {
			return fmt.Errorf("%v traces are kept and %v dropped, of %d interesting ones", count, dropped, interesting)
		}
		return more(s.last)
	})
	s.t.Logf("%d requests, %d interesting: %v kept, dropped %v by rate, %v by a full queue, %v in export; spans dropped: %v; exports of metrics failed: %v",
		s.sent(), interesting, count, sum("rate"), sum("queue_full"), sum("export_failed"),
		s.last.Sum("pace_spans_dropped_total"), s.last.Sum("pace_metric_exports_failed_total"))
	if int(count) != len(kept) {
		s.t.Errorf("%v traces are counted as kept, the log has %d", count, len(kept))
	}
	if code := s.p.Stop(); code != 0 {
		s.t.Errorf("exit %d", code)
	}
	return kept
}

// wantKept wants each trace that the log calls kept to be at the collector.
func (s *storm) wantKept(kept []string, got map[string]bool) {
	s.t.Helper()
	missing := 0
	for _, id := range kept {
		if !got[id] {
			missing++
		}
	}
	if missing > 0 || len(kept) == 0 {
		s.t.Errorf("%d of %d kept traces are not at the collector", missing, len(kept))
	}
}
