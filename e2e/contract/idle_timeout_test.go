package contract

import (
	"strings"
	"testing"

	"pace/e2e/pacetest"
)

// timeoutReused answers a connection's first request, and the next one with the 408 that a server sends
// when it gives up an idle connection.
func timeoutReused(closing string) pacetest.Behaviour {
	return func(x *pacetest.Exchange) {
		if x.Nth == 1 {
			pacetest.Fine(x)
			return
		}
		x.ReadBody()
		x.Write("HTTP/1.1 408 Request Timeout\r\n" + closing + "Content-Length: 0\r\n\r\n")
		x.Close()
	}
}

// TestAttempts_A408OnAReusedConnectionIsTheIdleCloseRace: it is a failover where another backend is left,
// else a retry, and never the response to a request that can be repeated.
func TestAttempts_A408OnAReusedConnectionIsTheIdleCloseRace(t *testing.T) {
	t.Parallel()
	for name, closing := range map[string]string{"with close": "Connection: close\r\n", "without": ""} {
		t.Run(name, func(t *testing.T) {
			b := pacetest.NewBackend(t, timeoutReused(closing))
			p, spans := pacetest.StartTraced(t, upstreams(b))
			for _, path := range []string{"/1", "/2"} {
				wantStatus(t, p.Get(path), 200)
			}
			trace := pacetest.WantTrace(spans, 2, pacetest.Path("/2"))
			wantAttr(t, trace.Clients[0].Attrs, "error.type", "upstream_reset")
			wantAttr(t, trace.Clients[0].Attrs, "pace.connection.reused", true)
			wantAttr(t, trace.Clients[1].Attrs, "http.response.status_code", 200)
			if events := trace.Server.Named("pace.retry"); len(events) != 1 {
				t.Errorf("%d retry events, want 1", len(events))
			}
			if line := p.WantAccess("/2"); line.Text("outcome") != "ok" || line.Int("attempts") != 2 {
				t.Errorf("the line says %s after %s attempts", line.Text("outcome"), line.Text("attempts"))
			}
			p.WantMetric(1, "pace_retries_total", "reason", "stale_connection")
			p.WantMetric(0, "http_client_request_duration_seconds_count", "http_response_status_code", "408")

			b.WantGot(2, "/2")
			got := p.Send("POST", "/post", "", "Content-Length", "0")
			if closing == "" { // an application's own, it may be
				wantStatus(t, got, 408)
			} else if wantStatus(t, got, 502); !strings.Contains(got.Body, "upstream_reset") {
				t.Errorf("body %q", got.Body)
			}
			if n := len(b.Got("/post")); n != 1 {
				t.Errorf("the POST was sent %d times", n)
			}
		})
	}
}

// TestAttempts_A408OnANewConnectionIsAResponse: so is one that comes again after the retry.
func TestAttempts_A408OnANewConnectionIsAResponse(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		if x.Target == "/408" {
			pacetest.Status(408, "too slow")(x)
			return
		}
		pacetest.Fine(x)
	})
	p := pacetest.Start(t, upstreams(b))
	for _, path := range []string{"/408", "/fine", "/408"} {
		if got := p.Get(path); path == "/408" && (got.Status != 408 || got.Body != "too slow") {
			t.Errorf("%s: got %d %q", path, got.Status, got.Body)
		}
	}
	p.WantMetric(2, "http_server_request_duration_seconds_count", "pace_outcome", "client_error", "http_response_status_code", "408")
}

// TestAttempts_A408FailsOver if there is another backend.
func TestAttempts_A408FailsOver(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, timeoutReused("Connection: close\r\n"))
	other := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(b, other))
	for range 4 {
		wantStatus(t, p.Get("/x"), 200)
	}
	p.WantMetric(1, "pace_failovers_total", "reason", "upstream_reset")
	p.WantMetric(0, "pace_retries_total")
}
