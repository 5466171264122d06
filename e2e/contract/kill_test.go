package contract

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

// TestKill9_NoClientSeesIt kills one of two backends' processes three times in a load of
// GETs: every client gets its response, and events and counter agree.
func TestKill9_NoClientSeesIt(t *testing.T) {
	t.Parallel()
	steady, mortal := pacetest.StartProcess(t), pacetest.StartProcess(t)
	p, spans := pacetest.StartTraced(t, upstreams(steady, mortal))
	load := startLoad(t, p)
	for round := range 3 {
		load.more(t, 150) // both are in use
		mortal.Kill()
		load.more(t, 150)
		mortal.Restart()
		if round == 2 {
			load.more(t, 50)
		}
	}
	sent := load.end()
	seen := map[string]bool{}
	for _, r := range append(steady.Served(), mortal.Served()...) {
		seen[r.Target] = true
	}
	if len(seen) != sent {
		t.Errorf("the backends' files name %d of %d requests", len(seen), sent)
	}
	p.WantMetric(float64(sent), "http_server_request_duration_seconds_count", "pace_outcome", "ok")
	p.WantMetric(float64(sent), "http_server_request_duration_seconds_count")
	m := p.Metrics()
	failovers, retries := int(m.Sum("pace_failovers_total")), int(m.Sum("pace_retries_total"))
	if failovers == 0 {
		t.Error("three deaths under load without a failover")
	}
	spans.Wait(func([]otlp.Span) bool { return pacetest.Count(spans, otlp.Server) == sent })
	if n := pacetest.CountEvents(spans, "pace.failover"); n != failovers {
		t.Errorf("%d events pace.failover, counter %d", n, failovers)
	}
	if n := pacetest.CountEvents(spans, "pace.retry"); n != retries {
		t.Errorf("%d events pace.retry, counter %d", n, retries)
	}
	if n := pacetest.Count(spans, otlp.Client); n != sent+failovers+retries {
		t.Errorf("%d CLIENT spans, want %d picks + %d failovers + %d retries", n, sent, failovers, retries)
	}
}

// load is a set of clients that send GETs, each with its own path, until stop is called.
type load struct {
	group sync.WaitGroup
	sent  atomic.Int64
	done  atomic.Int64
	over  atomic.Bool
}

func startLoad(t *testing.T, p *pacetest.Pace) *load {
	l := &load{}
	for range 4 {
		c := pacetest.H1.Client(t)
		l.group.Go(func() {
			for !l.over.Load() {
				path := fmt.Sprintf("/%d", l.sent.Add(1))
				if got := pacetest.Do(c, p.Request("GET", path, "")); got.Status != 200 || got.Body != "fine" || got.Err != nil {
					t.Errorf("%s: status %d, body %q, %v", path, got.Status, got.Body, got.Err)
				}
				l.done.Add(1)
			}
		})
	}
	return l
}

// more waits until n more requests have been answered.
func (l *load) more(t *testing.T, n int64) {
	t.Helper()
	want := l.done.Load() + n
	pacetest.Eventually(t, func() error {
		if done := l.done.Load(); done < want {
			return notYet("%d requests done, want %d", done, want)
		}
		return nil
	})
}

// end stops the clients and returns how many requests they sent.
func (l *load) end() int {
	l.over.Store(true)
	l.group.Wait()
	return int(l.sent.Load())
}
