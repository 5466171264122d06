package observability

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pace/e2e/mix"
	"pace/e2e/otlp"
	"pace/e2e/pacetest"
	"pace/e2e/parts"
	"pace/e2e/wiretap"
)

// TestKilledBackend_FailoversAreCountedAlike kills one of two backends three times under a load of
// GETs. No client may notice, and the recorded traffic, Prometheus and Jaeger must agree on the failovers.
func TestKilledBackend_FailoversAreCountedAlike(t *testing.T) {
	jaeger := parts.Jaeger(t)
	mortal, other := pacetest.StartProcess(t), pacetest.StartProcess(t)
	tap := wiretap.Open(t, mortal, other)
	p := pacetest.Start(t, pacetest.Config{
		"upstreams":          pacetest.Upstreams(mortal, other),
		"upstreams.ejection": {"enabled": false}, // or few requests would meet the backend that is gone
		"upstreams.retry":    {"budget": 1.0},    // so that each that does may go elsewhere
	}, exportTo(jaeger, "pace-kill")...)
	prometheus := parts.Prometheus(t, p.Admin)

	began := time.Now()
	l := startLoad(t, p)
	for range 3 {
		l.await(300)
		mortal.Kill()
		l.await(300)
		mortal.Restart()
	}
	l.await(300)
	responded := l.stop()

	wire, spared := tap.At(mortal.Address()), tap.At(other.Address())
	truth, lost := failoversOnTheWire(wire, mortal.Address(), responded)
	if more, _ := failoversOnTheWire(spared, other.Address(), responded); len(more) > 0 || spared.Opened > spared.Used {
		t.Errorf("requests failed at the backend that lived: %v, %d connections opened in vain", more, spared.Opened-spared.Used)
	}
	if truth["connect_failed"] == 0 {
		t.Error("nothing failed over: the test proves nothing")
	}
	t.Logf("%d requests, failovers %v", len(responded), truth)

	ours := fmt.Sprintf("{instance=%q}", p.Admin)
	prometheus.Wait("sum(http_server_request_duration_seconds_count"+ours+")", func(s []parts.Sample) bool {
		return len(s) == 1 && s[0].Value >= float64(len(responded))
	})
	prometheus.Scraped()
	failovers := prometheus.By("pace_failovers_total"+ours, "reason")
	// If a connection closed before a byte was written to it, the recorded traffic does not show whether pace
	// saw it open. The counter decides, and every other signal must agree with it.
	broken := float64(wire.Opened - wire.Used)
	early := min(max(failovers["connect_failed"]-truth["connect_failed"], 0), broken)
	truth["connect_failed"] += early
	truth["upstream_reset"] += broken - early
	compare(t, "pace_failovers_total", failovers, truth)
	compare(t, "pace_retries_total", prometheus.By("pace_retries_total"+ours, "reason"), mix.Table{})
	attempts := len(responded) + int(truth["connect_failed"]+truth["upstream_reset"])
	compare(t, "attempts", mix.Table{"": prometheus.Sum("http_client_request_duration_seconds_count" + ours)}, mix.Table{"": float64(attempts)})

	spans := jaeger.Wait("pace-kill", began.Add(-time.Minute), time.Now().Add(time.Minute), func(s []otlp.Span) bool {
		return len(s) >= len(responded)+attempts
	})
	events, unwritten := failoverEvents(t, spans, lost, map[string]any{
		"pace.failover.from": mortal.Address(), "pace.failover.to": other.Address(), "pace.failover.attempt": int64(1),
	})
	compare(t, "pace.failover events", events, truth)
	if unwritten != broken-early {
		t.Errorf("%v traces say that a request was lost at the backend where the wire does not, want %v", unwritten, broken-early)
	}
}

// failoverEvents counts the events by reason, and those that tell of a request lost at the backend
// if the recorded traffic does not. Each must have these attributes.
func failoverEvents(t *testing.T, spans []otlp.Span, lost map[string]bool, want map[string]any) (events mix.Table, unwritten float64) {
	t.Helper()
	events = mix.Table{}
	for _, s := range spans {
		for _, e := range s.Named("pace.failover") {
			events[mix.Key(e.Attrs["pace.failover.reason"])]++
			for name, value := range want {
				if e.Attrs[name] != value {
					t.Errorf("a failover of %v has %s = %v, want %v", s.Attrs["url.path"], name, e.Attrs[name], value)
				}
			}
			if e.Attrs["pace.failover.bytes_sent"] == nil {
				t.Errorf("a failover of %v has no pace.failover.bytes_sent", s.Attrs["url.path"])
			}
			if e.Attrs["pace.failover.reason"] == "upstream_reset" && !lost[s.TraceID] {
				unwritten++
			}
		}
	}
	return events, unwritten
}

// failoversOnTheWire says by reason how many attempts at a backend came to nothing: connections that
// were refused, and requests that were written to it (lost, by trace) but answered by another.
// responded has, by trace, the backend whose response the client got.
func failoversOnTheWire(wire wiretap.Traffic, address string, responded map[string]string) (reasons mix.Table, lost map[string]bool) {
	reasons, lost = mix.Table{}, map[string]bool{}
	if wire.Refused > 0 {
		reasons["connect_failed"] = float64(wire.Refused)
	}
	requests := map[string]int{} // by trace
	for _, parent := range wire.Traceparents {
		trace, _, _ := pacetest.Traceparent(parent)
		requests[trace]++
	}
	for trace, n := range requests {
		if responded[trace] == address {
			n--
		}
		if n > 0 {
			reasons["upstream_reset"] += float64(n)
			lost[trace] = true
		}
	}
	return reasons, lost
}

// load is a set of clients that send GETs until stop is called.
type load struct {
	t         testing.TB
	clients   sync.WaitGroup
	done      chan struct{}
	n         atomic.Int64
	mu        sync.Mutex
	responded map[string]string // backend that responded, by trace; guarded by mu
}

func startLoad(t testing.TB, p *pacetest.Pace) *load {
	l := &load{t: t, done: make(chan struct{}), responded: map[string]string{}}
	for client := range 8 {
		l.clients.Go(func() { l.send(p, pacetest.H1.Client(t), client) })
	}
	return l
}

func (l *load) send(p *pacetest.Pace, c *http.Client, client int) {
	for i := 0; ; i++ {
		select {
		case <-l.done:
			return
		default:
		}
		got := pacetest.Do(c, p.Request("GET", fmt.Sprintf("/%d/%d", client, i), ""))
		if got.Status != 200 || got.Err != nil {
			l.t.Errorf("client %d, request %d: status %d, %v", client, i, got.Status, got.Err)
		}
		backend := strings.Replace(strings.TrimPrefix(got.Header.Get("X-Backend"), "backend_"), "_", ":", 1)
		l.mu.Lock()
		l.responded[got.Header.Get("X-Trace-Id")] = backend
		l.mu.Unlock()
		l.n.Add(1)
	}
}

// await waits until n more requests have their response.
func (l *load) await(n int64) {
	l.t.Helper()
	until := l.n.Load() + n
	pacetest.Eventually(l.t, func() error {
		if now := l.n.Load(); now < until {
			return fmt.Errorf("%d requests, want %d", now, until)
		}
		return nil
	})
}

// stop ends the load, and returns the backend that responded, by trace.
func (l *load) stop() map[string]string {
	close(l.done)
	l.clients.Wait()
	return maps.Clone(l.responded)
}
