package contract

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

// sides are the outcomes of interface.md that can end a request today, by whose doing they are.
var sides = map[string][]string{
	"none":    words("ok upgraded responded redirected"),
	"client":  words("client_error client_gone client_aborted request_timeout bad_request too_large no_route method_not_allowed forbidden"),
	"limiter": words("rate_limited"),
	"pace":    words("draining drain_timeout exhausted overload internal_error"),
	"backend": words("upstream_error no_backend tls_failed dns_failed connect_failed connect_timeout upstream_timeout upstream_reset upstream_invalid upstream_truncated upstream_stalled route_timeout"),
}

// TestCounters_ExistFromZero: the increase of a series that appears with its first value is not seen, so
// that a first burst of rejections would be nothing to Prometheus.
func TestCounters_ExistFromZero(t *testing.T) {
	t.Parallel()
	cfg := upstreams(pacetest.NewBackend(t, pacetest.Fine))
	cfg["rate_limit"] = pacetest.Table{"max_requests": 1}
	p := pacetest.Start(t, cfg)
	before := p.Exposition("text/plain")
	for side, outcomes := range sides {
		for _, o := range outcomes {
			if series := fmt.Sprintf("pace_requests_total{http_route=\"/\",pace_outcome=%q,pace_route=\"default\",pace_side=%q} 0\n", o, side); !strings.Contains(before, series) {
				t.Errorf("there is no %s", series)
			}
		}
	}
	for _, series := range regexp.MustCompile(`pace_requests_total\{.*pace_outcome="(\w+)",.*pace_side="(\w+)"`).FindAllStringSubmatch(before, -1) {
		if outcome, side := series[1], series[2]; !slices.Contains(sides[side], outcome) {
			t.Errorf("no row says that %s is of the side %s", outcome, side)
		}
	}
	for _, phase := range words("own read_request limit pick dns connect tls send wait receive deliver") {
		if series := fmt.Sprintf("pace_client_left_total{http_route=\"/\",left_in=%q,pace_route=\"default\"} 0\n", phase); !strings.Contains(before, series) {
			t.Errorf("there is no %s", series)
		}
	}
	for _, o := range words("rate_limited no_backend overload draining bad_request too_large") {
		if series := fmt.Sprintf("pace_rejections_total{http_route=\"/\",pace_route=\"default\",reason=%q} 0\n", o); !strings.Contains(before, series) {
			t.Errorf("there is no %s", series)
		}
	}
	if strings.Contains(before, `"unset"`) {
		t.Error("there is an outcome that nothing ends with")
	}
	wantStatus(t, p.Get("/x"), 200)
	for range 29 {
		wantStatus(t, p.Get("/x"), 429)
	}
	p.WantMetric(29, "pace_requests_total", "pace_outcome", "rate_limited", "pace_side", "limiter", "http_route", "/")
	p.WantMetric(1, "pace_requests_total", "pace_outcome", "ok", "pace_side", "none", "http_route", "/")
	p.WantMetric(30, "pace_requests_total")
	p.WantMetric(0, "pace_client_left_total")
}

// TestClientsThatLeave_AreToldByTheirPhase: the phase in which a client leaves shows which side caused it.
// Each client leaves at a point that its backend has recorded.
func TestClientsThatLeave_AreToldByTheirPhase(t *testing.T) {
	t.Parallel()
	const body = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf"
	tests := map[string]struct {
		to      func(t *testing.T) address
		head    string // of the request, without its method and path
		method  string
		act     func(t *testing.T, w *pacetest.Wire)
		outcome string
		leftIn  string
	}{
		"while the backend thinks": {
			to: backendThat(pacetest.Hang), method: "GET", outcome: "client_gone", leftIn: "wait",
		},
		"while the backend thinks about a body": {
			to: backendThat(pacetest.Hang), method: "POST", head: "Content-Length: 4\r\n", outcome: "client_gone", leftIn: "wait",
			act: func(_ *testing.T, w *pacetest.Wire) { w.Send("data") },
		},
		"in its upload": {
			to: backendThat(func(x *pacetest.Exchange) { x.ReadBody(); x.Close() }), method: "POST", head: "Content-Length: 100000\r\n", outcome: "client_gone", leftIn: "read_request",
			act: func(_ *testing.T, w *pacetest.Wire) { w.Send(strings.Repeat("x", 1000)) },
		},
		"while pace connects": {
			to: func(t *testing.T) address { return pacetest.NewBlackhole(t) }, method: "GET", outcome: "client_gone", leftIn: "connect",
		},
		"while it waits for more of the response": {
			to: backendThat(func(x *pacetest.Exchange) { x.Write(body); x.AwaitClose() }), method: "GET", outcome: "client_aborted", leftIn: "receive",
			act: func(t *testing.T, w *pacetest.Wire) {
				if _, err := io.CopyN(io.Discard, w.Head("GET").Body, 4); err != nil {
					t.Error(err)
				}
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			to := tt.to(t)
			p, spans := pacetest.StartTraced(t, set(upstreams(to), "upstreams", "connect_timeout", "10s"))
			w := p.Wire()
			w.Send(tt.method + " /x HTTP/1.1\r\nHost: x\r\n" + tt.head + "\r\n")
			if tt.act != nil {
				tt.act(t, w)
			}
			if b, ok := to.(*pacetest.Backend); ok {
				b.WantGot(1, "/x")
			}
			awaitPhase(t, p, tt.leftIn)
			w.Leave()
			line := p.WantAccess("/x")
			if line.Text("outcome") != tt.outcome || line.Text("left_in") != tt.leftIn {
				t.Errorf("log says %s, left_in %q; want %s, %s", line.Text("outcome"), line.Text("left_in"), tt.outcome, tt.leftIn)
			}
			p.WantMetric(1, "pace_client_left_total", "left_in", tt.leftIn, "http_route", "/")
			p.WantMetric(1, "pace_client_left_total")
			p.WantMetric(1, "pace_requests_total", "pace_outcome", tt.outcome, "pace_side", "client")
			server := pacetest.WantTrace(spans, 1, pacetest.Path("/x")).Server
			wantAttr(t, server.Attrs, "pace.left_in", tt.leftIn)
			if server.StatusCode != otlp.Unset {
				t.Errorf("the span has status %d", server.StatusCode)
			}
		})
	}
}

func backendThat(behaviour pacetest.Behaviour) func(*testing.T) address {
	return func(t *testing.T) address { return pacetest.NewBackend(t, behaviour) }
}

// awaitPhase waits until the one request in flight is in this phase, and a moment longer.
func awaitPhase(t *testing.T, p *pacetest.Pace, phase string) {
	t.Helper()
	pacetest.Eventually(t, func() error {
		if list := inFlight(t, p); len(list) != 1 || list[0]["phase"] != phase {
			return notYet("in flight is %v, want one in %s", list, phase)
		}
		return nil
	})
	time.Sleep(20 * time.Millisecond)
}
