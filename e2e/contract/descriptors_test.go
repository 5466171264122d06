package contract

import (
	"testing"

	"golang.org/x/sys/unix"

	"pace/e2e/pacetest"
)

// TestDescriptors_ThatRunOutAreTold: pace cannot serve then, but says why, and serves again later.
func TestDescriptors_ThatRunOutAreTold(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(b))
	open := p.Wire()
	p.WantMetric(1, "pace_connections")
	before := unix.Rlimit{}
	limit(t, p, nil, &before)
	limit(t, p, &unix.Rlimit{Cur: 3, Max: before.Max}, nil) // what is open stays so
	open.Send("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
	got := open.Response("GET")
	wantStatus(t, got, 503)
	if err := has(got.Header.Get("Proxy-Status"), "error=proxy_internal_error"); err != nil {
		t.Error(err)
	}
	late := p.Wire() // the kernel answers it
	late.Send("GET /late HTTP/1.1\r\nHost: x\r\n\r\n")
	wantLogged(t, p, "request", map[string]string{"level": "ERROR", "backend": b.Address(), "path": "/x", "outcome": "exhausted"})
	wantLogged(t, p, "a connection cannot be accepted", map[string]string{"level": "ERROR"})
	limit(t, p, &before, nil)
	wantStatus(t, late.Response("GET"), 200)
	wantExhausted(t, p)
}

// wantExhausted wants the one request to /x to be pace's own failure in metrics and log.
func wantExhausted(t *testing.T, p *pacetest.Pace) {
	t.Helper()
	p.WantMetric(1, "http_server_request_duration_seconds_count", "pace_outcome", "exhausted")
	p.WantMetric(1, "http_client_request_duration_seconds_count", "error_type", "exhausted")
	if line := p.WantAccess("/x"); line.Text("outcome") != "exhausted" || line.Int("status") != 503 {
		t.Errorf("log says %v", line)
	}
}

// TestDescriptors_ThatRunOutInALookupAreNoFailureOfTheName: pace cannot even ask for the address.
func TestDescriptors_ThatRunOutInALookupAreNoFailureOfTheName(t *testing.T) {
	t.Parallel()
	p := pacetest.Start(t, upstreams(noSuchName))
	open := p.Wire()
	p.WantMetric(1, "pace_connections")
	before := unix.Rlimit{}
	limit(t, p, nil, &before)
	limit(t, p, &unix.Rlimit{Cur: 3, Max: before.Max}, nil)
	open.Send("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
	wantStatus(t, open.Response("GET"), 503)
	limit(t, p, &before, nil)
	wantExhausted(t, p)
}

func limit(t *testing.T, p *pacetest.Pace, limit, old *unix.Rlimit) {
	t.Helper()
	if err := unix.Prlimit(p.PID, unix.RLIMIT_NOFILE, limit, old); err != nil {
		t.Fatal(err)
	}
}

// wantLogged waits for a line of the log that has these fields and names the error.
func wantLogged(t *testing.T, p *pacetest.Pace, msg string, fields map[string]string) {
	t.Helper()
	pacetest.Eventually(t, func() error {
		lines := p.Lines(msg)
		if len(lines) == 0 {
			return notYet("no line %q", msg)
		}
		for key, want := range fields {
			if got := lines[0].Text(key); got != want {
				t.Fatalf("%q has %s=%q, want %q", msg, key, got, want)
			}
		}
		return has(lines[0].Text("error"), "too many open files")
	})
	if n := len(p.Lines(msg)); n > 60 { // one a second, while accept alone is tried far more often
		t.Errorf("%d lines %q", n, msg)
	}
}
