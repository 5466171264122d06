package observability

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
	"pace/e2e/parts"
	"pace/e2e/port"
)

// againstJaeger holds each span to the truth: a SERVER span an exchange, a CLIENT span an attempt.
func (tr *truth) againstJaeger(t *testing.T, j *parts.Jaeg, began time.Time) {
	t.Helper()
	want := len(tr.exchanges) + int(tr.total(tr.tries))
	spans := j.Wait(tr.service, began.Add(-time.Minute), time.Now().Add(time.Minute), func(s []otlp.Span) bool { return len(s) >= want })
	if len(spans) != want {
		t.Errorf("Jaeger has %d spans, want %d", len(spans), want)
	}
	servers, clients := map[string][]otlp.Span{}, map[string][]otlp.Span{} // by trace; by parent
	requests, tries := table{}, table{}
	for _, s := range spans {
		if s.Kind == otlp.Server {
			servers[s.TraceID] = append(servers[s.TraceID], s)
			requests[key(s.Attrs["http.request.method"], s.Attrs["http.response.status_code"], s.Attrs["pace.outcome"], orNone(s.Attrs["error.type"]))]++
		} else {
			clients[s.ParentID] = append(clients[s.ParentID], s)
			tries[key(s.Attrs["server.port"], orNone(s.Attrs["http.response.status_code"]), orNone(s.Attrs["error.type"]))]++
		}
		wantAttributes(t, s, s.Resource, map[string]any{
			"service.name": tr.service, "deployment.environment.name": "e2e", "telemetry.sdk.language": "go", "service.version": anything, "service.instance.id": anything,
		})
	}
	compare(t, "SERVER spans", requests, tr.requests)
	compare(t, "CLIENT spans", tries, tr.tries)
	tr.againstEvents(t, spans)
	for _, x := range tr.exchanges {
		if len(servers[x.trace]) != 1 {
			t.Errorf("%s has %d SERVER spans, want one", x.target, len(servers[x.trace]))
			continue
		}
		server := servers[x.trace][0]
		attempts := clients[server.SpanID]
		slices.SortFunc(attempts, func(a, b otlp.Span) int {
			return cmp.Compare(a.Int("http.request.resend_count"), b.Int("http.request.resend_count"))
		})
		tr.checkServer(t, x, server, len(attempts))
		tr.checkClients(t, x, server, attempts)
	}
}

// againstEvents holds the span events to the truth: one for each increment of their counters.
func (tr *truth) againstEvents(t *testing.T, spans []otlp.Span) {
	t.Helper()
	failovers, retries, limited := table{}, table{}, table{}
	for _, s := range spans {
		for _, e := range s.Named("pace.failover") {
			failovers[key(e.Attrs["pace.failover.reason"])]++
		}
		for _, e := range s.Named("pace.retry") {
			retries[key(e.Attrs["pace.retry.reason"])]++
		}
		for _, e := range s.Named("pace.rate_limited") {
			limited["rate_limited"]++
			wantAttributes(t, s, e.Attrs, map[string]any{
				"pace.limit.policy": "default", "pace.limit.key_kind": "client_ip", "pace.limit.limit": int64(places),
				"pace.limit.window_seconds": 3600.0, "pace.limit.retry_after_seconds": anything,
			})
		}
	}
	compare(t, "pace.failover events", failovers, tr.failovers)
	compare(t, "pace.retry events", retries, tr.retries)
	compare(t, "pace.rate_limited events", limited, table{"rate_limited": tr.rejections["rate_limited"]})
}

func (tr *truth) checkServer(t *testing.T, x *exchange, s otlp.Span, attempts int) {
	t.Helper()
	want := map[string]any{
		"http.request.method": x.knownMethod(), "url.scheme": "http", "url.path": x.target, "http.route": "/",
		"http.response.status_code": int64(x.status), "server.address": "127.0.0.1", "server.port": int64(port.Of(tr.Proxy)),
		"client.address": x.source, "network.peer.address": "127.0.0.1", "network.peer.port": anything,
		"network.protocol.version": map[pacetest.Mode]string{pacetest.H1: "1.1", pacetest.H2C: "2"}[x.mode],
		"user_agent.original":      userAgent, "pace.outcome": x.outcome, "pace.attempts": int64(attempts),
		"error.type": absentIfEmpty(x.errorType()),
	}
	if attempts > 0 {
		want["pace.upstream"] = "default"
	}
	if x.query != "" {
		want["url.query"] = "token=REDACTED"
	}
	if x.method == "CONNECT" { // it asks for an address instead of a path
		delete(want, "url.path")
		delete(want, "url.query")
		delete(want, "server.address")
		delete(want, "server.port")
	}
	wantAttributes(t, s, s.Attrs, want)
	if name := nameFor(x) + " /"; s.Name != name || s.ParentID != x.parent {
		t.Errorf("%s: SERVER span %q under %s, want %q under %s", x.target, s.Name, s.ParentID, name, x.parent)
	}
	if failed := x.status >= 500 || x.outcome == "upstream_truncated"; (s.StatusCode == otlp.Error) != failed {
		t.Errorf("%s: SERVER span has status %d, want Error: %v", x.target, s.StatusCode, failed)
	}
}

// checkClients holds the CLIENT spans to what the backends wrote down, attempt by attempt.
func (tr *truth) checkClients(t *testing.T, x *exchange, server otlp.Span, spans []otlp.Span) {
	t.Helper()
	known := tr.attempts[x]
	for i, s := range spans {
		address := s.Peer()
		a := attempt{backend: address, trace: x.trace, parent: s.SpanID, ending: tr.closed[address]}
		if _, closed := tr.closed[address]; !closed {
			if len(known) == 0 {
				t.Errorf("%s: a CLIENT span for %s, where nothing came", x.target, address)
				continue
			}
			a, known = known[0], known[1:]
		}
		if a.backend != address || a.trace != x.trace || a.parent != s.SpanID {
			t.Errorf("%s: attempt %d went to %s under %s-%s, its span says %s under %s-%s", x.target, i+1, a.backend, a.trace, a.parent, address, x.trace, s.SpanID)
		}
		tr.checkClient(t, x, s, i, a)
		if s.Start.Before(server.Start) || s.End.After(server.End) || s.End.Before(s.Start) {
			t.Errorf("%s: attempt %d lies outside of its request", x.target, i+1)
		}
	}
	if len(known) > 0 {
		t.Errorf("%s: backends got %d attempts that have no span: %v", x.target, len(known), known)
	}
}

func (tr *truth) checkClient(t *testing.T, x *exchange, s otlp.Span, nth int, a attempt) {
	t.Helper()
	full := "http://" + a.backend + x.target
	if x.query != "" {
		full += "?token=REDACTED"
	}
	want := map[string]any{
		"http.request.method": x.knownMethod(), "url.full": full, "pace.connection.reused": anything,
		"http.response.status_code": absentIfZero(a.status), "error.type": absentIfEmpty(a.failure),
		"http.request.resend_count": absentIfZero(nth), "peer.service": "default/" + a.backend,
	}
	if _, closed := tr.closed[a.backend]; !closed {
		want["network.peer.address"], want["network.peer.port"] = "127.0.0.1", int64(port.Of(a.backend))
		want["network.protocol.version"] = "1.1"
	}
	wantAttributes(t, s, s.Attrs, want)
	clients := strings.HasPrefix(a.failure, "client_") || slices.Contains([]string{"too_large", "bad_request", "request_timeout"}, a.failure)
	if failed := a.failure != "" && !clients; (s.StatusCode == otlp.Error) != failed {
		t.Errorf("%s: the span of attempt %d has status %d, want Error: %v", x.target, nth+1, s.StatusCode, failed)
	}
	if s.Name != nameFor(x) || s.Kind != otlp.Client {
		t.Errorf("%s: the span of attempt %d is %q of kind %d", x.target, nth+1, s.Name, s.Kind)
	}
}

// nameFor is the method as it stands in names of spans.
func nameFor(x *exchange) string {
	if m := x.knownMethod(); m != "_OTHER" {
		return m
	}
	return "HTTP"
}

// What wantAttributes takes for an attribute that must be there, and for one that must not.
var (
	anything = new(int)
	nothing  = new(bool)
)

func absentIfZero(n int) any {
	if n == 0 {
		return nothing
	}
	return int64(n)
}

func absentIfEmpty(text string) any {
	if text == "" {
		return nothing
	}
	return text
}

func orNone(v any) any {
	if v == nil {
		return ""
	}
	return v
}

func wantAttributes(t *testing.T, s otlp.Span, got, want map[string]any) {
	t.Helper()
	for name, value := range want {
		v, ok := got[name]
		switch value {
		case anything:
			if !ok {
				t.Errorf("span %s of %v has no %s", s.Name, s.Attrs["url.path"], name)
			}
		case nothing:
			if ok {
				t.Errorf("span %s of %v has %s = %v, want none", s.Name, s.Attrs["url.path"], name, v)
			}
		default:
			if v != value {
				t.Errorf("span %s of %v has %s = %v (%T), want %v", s.Name, s.Attrs["url.path"], name, v, v, value)
			}
		}
	}
}
