package contract

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"pace/e2e/pacetest"
)

// TestStopped_AResponseThatLiesInTheSocketIsInTime stops pace for longer than response_timeout, while the
// backends answer.
func TestStopped_AResponseThatLiesInTheSocketIsInTime(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	b := pacetest.NewBackend(t, pacetest.Gated(open, pacetest.Fine))
	p := pacetest.Start(t, set(upstreams(b), "upstreams", "response_timeout", "1s"))
	wires := make([]*pacetest.Wire, 20)
	for i := range wires {
		wires[i] = p.Wire()
		wires[i].Send(fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: x\r\n\r\n", i))
	}
	for i := range wires {
		b.WantGot(1, fmt.Sprintf("/%d", i))
	}
	p.Signal(syscall.SIGSTOP)
	close(open)
	time.Sleep(2 * time.Second)
	p.Signal(syscall.SIGCONT)
	for _, w := range wires {
		wantStatus(t, w.Response("GET"), 200)
	}
	p.WantMetric(float64(len(wires)), "http_server_request_duration_seconds_count", "pace_outcome", "ok")
}
