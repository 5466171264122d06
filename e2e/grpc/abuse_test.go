package grpc

import (
	"fmt"
	"testing"
	"time"

	"pace/e2e/pacetest"
)

// TestDeadline_NeverEjects: a client chooses its deadline, and may choose one that no backend can keep. That says
// nothing about the backend, whether pace's clock runs out or the backend's own.
func TestDeadline_NeverEjects(t *testing.T) {
	t.Parallel()
	b, other := pacetest.NewBackend(t, script), pacetest.NewBackend(t, script)
	cfg := upstreams(b, other)
	cfg["upstreams.ejection"] = pacetest.Table{"consecutive_failures": 2, "max_share": 1.0}
	p := pacetest.Start(t, cfg)
	for n := range 8 {
		for _, timeout := range []string{"30m", "1n", "0S"} {
			raw(t, p, pacetest.H2C, fmt.Sprintf("/test.Slow/hang-%d", n), "Grpc-Timeout", timeout)
		}
		raw(t, p, pacetest.H2C, fmt.Sprintf("/test.Codes%d/trailer-4", n), "Grpc-Timeout", "10S")
	}
	p.WantMetric(32, "http_server_request_duration_seconds_count")
	p.WantMetric(0, "pace_backend_transitions_total", "to", "ejected")
	for n := range 4 { // without a deadline it is the backend's own word
		raw(t, p, pacetest.H2C, fmt.Sprintf("/test.Own%d/trailer-4", n))
	}
	p.WantMetric(2, "pace_backend_transitions_total", "to", "ejected")
}

// TestSilence_IsForCallsThatMayBeStreams: the content type alone, of a client over HTTP/1.1 or for a backend over
// HTTP/1.1, lifts no limit.
func TestSilence_IsForCallsThatMayBeStreams(t *testing.T) {
	t.Parallel()
	plain, s := pacetest.NewBackend(t, script), newServer(t, "127.0.0.1:0", nil)
	limit := "300ms"
	p := pacetest.Start(t, pacetest.Config{
		"upstream.plain": pacetest.Upstreams(plain), "upstream.grpc": s.pool(nil, false), "server": {"body_timeout": limit},
	}.WithRoutes(pacetest.Table{"match": "/plain/", "upstream": "plain"}, pacetest.Table{"match": "/", "upstream": "grpc"}))
	for path, mode := range map[string]pacetest.Mode{"/plain/one": pacetest.H1, "/plain/two": pacetest.H2C, duplex: pacetest.H1} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			body, w := pacetest.Pipe()
			defer w.Close()
			req := p.Request("POST", path, "", "Content-Type", "application/grpc", "Te", "trailers")
			req.Body = body
			go w.Write([]byte{0})
			began := time.Now()
			pacetest.Do(mode.Client(t), req)
			if line := p.WantAccess(path); line.Text("outcome") != "request_timeout" {
				t.Errorf("after %v the log says %v", time.Since(began), line)
			}
		})
	}
}
