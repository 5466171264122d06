package mix

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
	"pace/e2e/parts"
	"pace/e2e/port"
)

// FromJaeger returns the spans of all houses, as soon as Jaeger has at least one for each exchange. The
// exchanges began after the time began.
func (tr *Truth) FromJaeger(j *parts.Jaeg, began time.Time) (spans []otlp.Span) {
	for name, ac := range tr.houses {
		minimum := 0
		for _, x := range slices.Concat(ac.exchanges, ac.flying) {
			if x.exported() {
				minimum += 1 + len(x.attempts)
			}
		}
		spans = append(spans, j.Wait(name, began.Add(-time.Minute), time.Now().Add(time.Minute), func(s []otlp.Span) bool { return len(s) >= minimum })...)
	}
	return spans
}

// HoldSpans compares each span with the truth: one SERVER span for each exchange, one CLIENT span for each
// attempt, and one event for each failover and retry. It needs the access lines, so call HoldLog first.
func (tr *Truth) HoldSpans(spans []otlp.Span) {
	servers, clients := map[*exchange][]otlp.Span{}, map[string][]otlp.Span{} // clients by parent
	ids := map[string]bool{}
	orphans := map[string]int{} // CLIENT spans by parent, until it is found
	for _, s := range spans {
		if ids[s.TraceID+s.SpanID] {
			tr.differs("the span %s %s came twice", s.TraceID, s.SpanID)
		}
		ids[s.TraceID+s.SpanID] = true
		tr.holdResource(s)
		if s.Kind != otlp.Server {
			clients[s.ParentID] = append(clients[s.ParentID], s)
			orphans[s.ParentID]++
			continue
		}
		x := tr.known(text(s.Attrs["url.path"]), s.TraceID)
		if x == nil || x.refused != "" || s.Resource["service.name"] != x.house.name {
			tr.differs("a SERVER span for nothing that was sent: %v", s.Attrs)
			continue
		}
		servers[x] = append(servers[x], s)
	}
	missed, failovers, retries, ejected := map[string]Table{}, map[string]Table{}, map[string]Table{}, map[string]Table{}
	for name := range tr.houses {
		missed[name], failovers[name], retries[name], ejected[name] = Table{}, Table{}, Table{}, Table{}
	}
	for _, x := range tr.entered() {
		want := 0
		if x.exported() {
			want = 1
		}
		if len(servers[x]) != want {
			tr.differs("%s has %d SERVER spans, want %d", x.path, len(servers[x]), want)
			continue
		}
		if !x.exported() {
			continue
		}
		s := servers[x][0]
		tries := clients[s.SpanID]
		delete(orphans, s.SpanID)
		slices.SortFunc(tries, func(s, next otlp.Span) int {
			return cmp.Compare(s.Int("http.request.resend_count"), next.Int("http.request.resend_count"))
		})
		tr.holdServer(x, s, len(tries))
		tr.holdClients(x, s, tries, missed[x.house.name])
		tr.holdEvents(x, s, tries, failovers[x.house.name], retries[x.house.name], ejected[x.house.name])
	}
	for parent, n := range orphans {
		tr.differs("%d CLIENT spans have no SERVER span %s", n, parent)
	}
	tr.holdTotals(missed, failovers, retries)
	for name, ac := range tr.houses {
		tr.compare(name+": pace.ejected events", ejected[name], ac.ejections())
	}
}

// holdTotals compares what is known only in total: the attempts in the recorded traffic that no backend saw,
// and the events with their counters. The counters include the exchanges without spans.
func (tr *Truth) holdTotals(missed, failovers, retries map[string]Table) {
	for name, ac := range tr.houses {
		want := Table{}
		for k, n := range ac.missed {
			want[k] = float64(n)
		}
		tr.compare(name+": spans of attempts that no backend saw", missed[name], want)
		for _, x := range ac.exchanges {
			if !x.exported() {
				x.steps(failovers[name], retries[name])
			}
		}
		tr.compare(name+": pace.failover events", failovers[name], ac.failovers)
		tr.compare(name+": pace.retry events", retries[name], ac.retries)
	}
}

func (tr *Truth) holdResource(s otlp.Span) {
	for name, want := range map[string]any{
		"deployment.environment.name": "e2e", "telemetry.sdk.language": "go", "service.version": anything, "service.instance.id": anything,
	} {
		if got := s.Resource[name]; got != want && (want != anything || got == nil) {
			tr.differs("the resource of a span of %v has %s = %v, want %v", s.Resource["service.name"], name, got, want)
		}
	}
}

// anything stands for any value of an attribute that must be present.
const anything = "(anything)"

func (tr *Truth) holdServer(x *exchange, s otlp.Span, tries int) {
	outcome, status := x.ends()
	if x != tr.mx.held {
		tr.row(text(s.Attrs["pace.outcome"])).spans++
	}
	if kept := text(s.Attrs["pace.keep.reason"]); kept != "" {
		tr.reason(kept).spans++
	}
	want := map[string]any{
		"http.request.method": x.knownMethod(), "url.scheme": x.scheme(), "url.path": x.path, "http.route": "/", "pace.route": "default",
		"http.response.status_code": int64(status), "server.address": "127.0.0.1", "server.port": int64(port.Of(x.proxy)),
		"client.address": x.source, "network.peer.address": "127.0.0.1", "pace.outcome": outcome, "pace.attempts": int64(tries),
		"error.type": orNil(x.errorType()), "user_agent.original": userAgent, "pace.stream": orNil(x.stream), "pace.close_reason": orNil(x.closed),
		"url.query": nil, "pace.upstream": nil, "pace.keep.reason": orNil(x.keptFor()),
		"network.peer.port": anything, "network.protocol.version": x.protocolVersion(), "tls.protocol.version": orNil(x.tlsVersion()),
	}
	if tries > 0 {
		want["pace.upstream"] = "default"
	}
	if x.query != "" {
		want["url.query"] = "token=REDACTED"
	}
	if x.method == "CONNECT" { // its target is an address instead of a path
		for _, name := range []string{"url.path", "url.query", "server.address", "server.port"} {
			delete(want, name)
		}
	}
	tr.holdAttributes(x, "SERVER", s, want)
	if name := x.spanName() + " /"; s.Name != name || s.ParentID != x.parent || s.TraceID != x.trace {
		tr.differs("%s: SERVER span %q under %s-%s, want %q under %s-%s", x.path, s.Name, s.TraceID, s.ParentID, name, x.trace, x.parent)
	}
	if failed := status >= 500 || outcome == "upstream_truncated"; (s.StatusCode == otlp.Error) != failed {
		tr.differs("%s: SERVER span has status %d, want Error: %v", x.path, s.StatusCode, failed)
	}
	if in := text(s.Attrs["pace.left_in"]); in != tr.lines[x].Text("left_in") {
		tr.differs("%s: SERVER span has pace.left_in %q, its access line %q", x.path, in, tr.lines[x].Text("left_in"))
	}
	if s.StatusCode == otlp.Error && s.StatusMessage != tr.lines[x].Text("error") {
		tr.differs("%s: SERVER span's status is described as %q, its access line has the error %q", x.path, s.StatusMessage, tr.lines[x].Text("error"))
	}
	if line := tr.lines[x]; line.Text("span_id") != s.SpanID || line.Int("attempts") != tries {
		tr.differs("%s: SERVER span %s with %d attempts, its access line has %s with %s", x.path, s.SpanID, tries, line.Text("span_id"), line.Text("attempts"))
	}
}

// holdClients compares the CLIENT spans with the attempts, by the span id that each attempt carried.
func (tr *Truth) holdClients(x *exchange, server otlp.Span, spans []otlp.Span, missed Table) {
	known := map[string]attempt{}
	for _, a := range x.attempts {
		if _, twice := known[a.span]; twice {
			tr.differs("%s: was sent twice under one span, %s", x.path, a.span)
		}
		known[a.span] = a
	}
	for i, s := range spans {
		address := s.Peer()
		a, ok := known[s.SpanID]
		delete(known, s.SpanID)
		if !ok {
			a = attempt{backend: address, trace: x.trace, ending: x.house.unseen[address]}
			if _, possible := x.house.unseen[address]; !possible {
				tr.differs("%s: attempt %d at %s has a span, but nobody got it", x.path, i+1, address)
				continue
			}
			// Only the recorded traffic shows a connection that broke before a byte was written.
			if slices.Contains(x.house.wired, address) && s.Attrs["error.type"] == "upstream_reset" {
				a.failure = "upstream_reset"
			}
			missed[Key(address, a.failure)]++
		}
		tr.holdClient(x, s, i, address, a)
		if s.Start.Before(server.Start) || s.End.After(server.End) || s.End.Before(s.Start) {
			tr.differs("%s: attempt %d lies outside of its request", x.path, i+1)
		}
	}
	for _, a := range known {
		tr.differs("%s: %s got an attempt that has no span: %v", x.path, a.backend, a)
	}
}

func (tr *Truth) holdClient(x *exchange, s otlp.Span, nth int, address string, a attempt) {
	full := tr.mx.url(a.backend) + x.path
	if x.query != "" {
		full += "?token=REDACTED"
	}
	want := map[string]any{
		"http.request.method": x.knownMethod(), "url.full": full, "server.address": "127.0.0.1", "server.port": int64(port.Of(a.backend)),
		"http.response.status_code": orNil(a.status), "error.type": orNil(a.failure), "http.request.resend_count": orNil(nth),
		"peer.service": "default/" + a.backend, "pace.connection.reused": anything,
	}
	if slices.Contains(failoverReasons, a.failure) && (s.StatusMessage == "" || s.StatusCode != otlp.Error) {
		tr.differs("%s: the span of attempt %d does not say why it failed: status %d, %q", x.path, nth+1, s.StatusCode, s.StatusMessage)
	}
	if a.span != "" {
		want["network.peer.address"], want["network.peer.port"], want["network.protocol.version"] = "127.0.0.1", int64(port.Of(a.backend)), "1.1"
	}
	if a.nth > 0 {
		want["pace.connection.reused"] = a.nth > 1
	}
	if address != a.backend || a.trace != x.trace {
		tr.differs("%s: attempt %d went to %s in trace %s, its span says %s in %s", x.path, nth+1, a.backend, a.trace, address, x.trace)
	}
	// pace keeps the span of an attempt that follows a failure.
	if want := x.flags(!x.quiet || nth > 0); a.span != "" && a.flags != want {
		tr.differs("%s: attempt %d was sent with the flags %q, want %q", x.path, nth+1, a.flags, want)
	}
	tr.holdAttributes(x, fmt.Sprintf("CLIENT %d", nth+1), s, want)
	theirs := strings.HasPrefix(a.failure, "client_") || slices.Contains([]string{"too_large", "bad_request", "request_timeout"}, a.failure)
	if failed := a.failure != "" && !theirs; (s.StatusCode == otlp.Error) != failed {
		tr.differs("%s: the span of attempt %d has status %d, want Error: %v", x.path, nth+1, s.StatusCode, failed)
	}
	if s.Name != x.spanName() || s.Kind != otlp.Client {
		tr.differs("%s: the span of attempt %d is %q of kind %d", x.path, nth+1, s.Name, s.Kind)
	}
}

// holdEvents requires one event for each failover and retry, and one for each rejection by a limiter. It counts those
// of ejections.
func (tr *Truth) holdEvents(x *exchange, s otlp.Span, tries []otlp.Span, failovers, retries, ejected Table) {
	var want, got []string
	for i := range max(0, len(tries)-1) {
		if from, to := tries[i].Peer(), tries[i+1].Peer(); from == to {
			want = append(want, Key("pace.retry", from, "stale_connection", i+1))
		} else {
			want = append(want, Key("pace.failover", from, to, text(tries[i].Attrs["error.type"]), i+1))
		}
	}
	if outcome, _ := x.ends(); outcome == "rate_limited" {
		want = append(want, Key("pace.rate_limited", "default", "client_ip", quota, 3600.0))
	}
	for _, e := range s.Events {
		switch at := e.Attrs; e.Name {
		case "pace.retry":
			got = append(got, Key(e.Name, at["pace.retry.backend"], at["pace.retry.reason"], at["pace.retry.attempt"]))
			retries[Key("default", at["pace.retry.reason"])]++
		case "pace.failover":
			got = append(got, Key(e.Name, at["pace.failover.from"], at["pace.failover.to"], at["pace.failover.reason"], at["pace.failover.attempt"]))
			failovers[Key("default", at["pace.failover.reason"])]++
		case "pace.rate_limited":
			got = append(got, Key(e.Name, at["pace.limit.policy"], at["pace.limit.key_kind"], at["pace.limit.limit"], at["pace.limit.window_seconds"]))
			if at["pace.limit.retry_after_seconds"] == nil {
				tr.differs("%s: its event %s has no pace.limit.retry_after_seconds", x.path, e.Name)
			}
		case "pace.ejected":
			ejected[Key(at["pace.backend"], at["pace.reason"])]++
		default:
			got = append(got, e.Name)
		}
	}
	if !slices.Equal(got, want) {
		tr.differs("%s: events %q, want %q", x.path, got, want)
	}
}

// flags are those of a traceparent of the exchange.
func (x *exchange) flags(sampled bool) string {
	flags := 0
	if sampled {
		flags |= 1
	}
	if x.orphan { // pace chose a random id
		flags |= 2
	}
	return fmt.Sprintf("%02x", flags)
}

// sampledFlag reports whether the flags of a traceparent say that the trace is sampled.
func sampledFlag(flags string) bool {
	n, _ := strconv.ParseUint(flags, 16, 8)
	return n&1 == 1
}

// protocolVersion returns the client's protocol as network.protocol.version has it.
func (x *exchange) protocolVersion() string {
	switch {
	case x.name == "old":
		return "1.0"
	case x.mode == pacetest.H2C:
		return "2"
	case x.mode == pacetest.H3:
		return "3"
	}
	return "1.1"
}

// tlsVersion returns the version of TLS that the client speaks; "" in clear text.
func (x *exchange) tlsVersion() string {
	if x.tls == nil {
		return ""
	}
	return "1.3"
}

// spanName returns the method as span names have it.
func (x *exchange) spanName() string {
	if m := x.knownMethod(); m != "_OTHER" {
		return m
	}
	return "HTTP"
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// orNil returns the value that an attribute must have: nil means that it must be absent.
func orNil(v any) any {
	switch v := v.(type) {
	case string:
		if v != "" {
			return v
		}
	case int:
		if v != 0 {
			return int64(v)
		}
	}
	return nil
}

func (tr *Truth) holdAttributes(x *exchange, span string, s otlp.Span, want map[string]any) {
	for name, value := range want {
		if got := s.Attrs[name]; got != value && (value != anything || got == nil) {
			tr.differs("%s: its %s span has %s = %v, want %v", x.path, span, name, got, value)
		}
	}
}
