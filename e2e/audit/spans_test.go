package audit

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"pace/e2e/otlp"
	"pace/e2e/port"
)

// againstSpans holds each span to the truth: a SERVER span an exchange, a CLIENT span an attempt, and
// an event for what led from one to the next.
func (b *books) againstSpans() {
	servers, clients := map[*exchange][]otlp.Span{}, map[string][]otlp.Span{} // clients by parent
	ids := map[string]bool{}
	orphans := map[string]int{} // CLIENT spans by parent, until it is found
	for _, s := range b.tw.spans.Spans() {
		if ids[s.TraceID+s.SpanID] {
			b.differs("the span %s %s came twice", s.TraceID, s.SpanID)
		}
		ids[s.TraceID+s.SpanID] = true
		if s.Kind != otlp.Server {
			clients[s.ParentID] = append(clients[s.ParentID], s)
			orphans[s.ParentID]++
			continue
		}
		x := b.known(text(s.Attrs["url.path"]), s.TraceID)
		if x == nil || x.refused != "" || s.Resource["service.name"] != x.house.name {
			b.differs("a SERVER span for nothing that was sent: %v", s.Attrs)
			continue
		}
		servers[x] = append(servers[x], s)
	}
	missed, failovers, retries := map[string]table{}, map[string]table{}, map[string]table{}
	for name := range b.truths {
		missed[name], failovers[name], retries[name] = table{}, table{}, table{}
	}
	for _, x := range b.entered() {
		want := 1
		if x.quiet {
			want = 0
		}
		if len(servers[x]) != want {
			b.differs("%s has %d SERVER spans, want %d", x.path, len(servers[x]), want)
			continue
		}
		if x.quiet {
			continue
		}
		s := servers[x][0]
		tries := clients[s.SpanID]
		delete(orphans, s.SpanID)
		slices.SortFunc(tries, func(a, b otlp.Span) int {
			return cmp.Compare(a.Int("http.request.resend_count"), b.Int("http.request.resend_count"))
		})
		b.holdServer(x, s, len(tries))
		b.holdClients(x, s, tries, missed[x.house.name])
		b.holdEvents(x, s, tries, failovers[x.house.name], retries[x.house.name])
	}
	for parent, n := range orphans {
		b.differs("%d CLIENT spans have no SERVER span %s", n, parent)
	}
	b.holdTotals(missed, failovers, retries)
}

// holdTotals compares what cannot be told of each request: how often the wire saw what no backend did;
// and the events with their counters. Exchanges without spans have their part in those.
func (b *books) holdTotals(missed, failovers, retries map[string]table) {
	for name, tr := range b.truths {
		want := table{}
		for k, n := range tr.missed {
			want[k] = float64(n)
		}
		b.compare(name+": spans of attempts that no backend saw", missed[name], want)
		for _, x := range tr.exchanges {
			if x.quiet {
				x.steps(failovers[name], retries[name])
			}
		}
		b.compare(name+": pace.failover events", failovers[name], tr.failovers)
		b.compare(name+": pace.retry events", retries[name], tr.retries)
	}
}

func (b *books) holdServer(x *exchange, s otlp.Span, tries int) {
	outcome, status := x.ends()
	if x != b.tw.held {
		b.row(text(s.Attrs["pace.outcome"])).spans++
	}
	want := map[string]any{
		"http.request.method": x.knownMethod(), "url.scheme": "http", "url.path": x.path, "http.route": "/",
		"http.response.status_code": int64(status), "server.address": "127.0.0.1", "server.port": int64(port.Of(x.proxy)),
		"client.address": x.source, "network.peer.address": "127.0.0.1", "pace.outcome": outcome, "pace.attempts": int64(tries),
		"error.type": orNil(x.errorType()), "user_agent.original": userAgent, "pace.stream": orNil(x.stream), "pace.close_reason": orNil(x.closed),
		"url.query": nil, "pace.upstream": nil,
	}
	if tries > 0 {
		want["pace.upstream"] = "default"
	}
	if x.query != "" {
		want["url.query"] = "token=REDACTED"
	}
	if x.method == "CONNECT" { // it asks for an address instead of a path
		for _, name := range []string{"url.path", "url.query", "server.address", "server.port"} {
			delete(want, name)
		}
	}
	b.holdAttributes(x, "SERVER", s, want)
	if name := x.spanName() + " /"; s.Name != name || s.ParentID != x.parent || s.TraceID != x.trace {
		b.differs("%s: SERVER span %q under %s-%s, want %q under %s-%s", x.path, s.Name, s.TraceID, s.ParentID, name, x.trace, x.parent)
	}
	if failed := status >= 500 || outcome == "upstream_truncated"; (s.StatusCode == otlp.Error) != failed {
		b.differs("%s: SERVER span has status %d, want Error: %v", x.path, s.StatusCode, failed)
	}
	if in := text(s.Attrs["pace.left_in"]); in != b.lines[x].Text("left_in") {
		b.differs("%s: SERVER span has pace.left_in %q, its access line %q", x.path, in, b.lines[x].Text("left_in"))
	}
	if s.StatusCode == otlp.Error && s.StatusMessage != b.lines[x].Text("error") {
		b.differs("%s: SERVER span's status is described as %q, its access line has the error %q", x.path, s.StatusMessage, b.lines[x].Text("error"))
	}
	if line := b.lines[x]; line.Text("span_id") != s.SpanID || line.Int("attempts") != tries {
		b.differs("%s: SERVER span %s with %d attempts, its access line has %s with %s", x.path, s.SpanID, tries, line.Text("span_id"), line.Text("attempts"))
	}
}

// holdClients holds the CLIENT spans to the attempts, by the id that each was sent with.
func (b *books) holdClients(x *exchange, server otlp.Span, spans []otlp.Span, missed table) {
	known := map[string]attempt{}
	for _, a := range x.attempts {
		if _, twice := known[a.span]; twice {
			b.differs("%s: was sent twice under one span, %s", x.path, a.span)
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
				b.differs("%s: attempt %d at %s has a span, but nobody got it", x.path, i+1, address)
				continue
			}
			// Of a connection that was opened and broke before a byte was written, only the wire knows.
			if slices.Contains(x.house.wired, address) && s.Attrs["error.type"] == "upstream_reset" {
				a.failure = "upstream_reset"
			}
			missed[key(address, a.failure)]++
		}
		b.holdClient(x, s, i, address, a)
		if s.Start.Before(server.Start) || s.End.After(server.End) || s.End.Before(s.Start) {
			b.differs("%s: attempt %d lies outside of its request", x.path, i+1)
		}
	}
	for _, a := range known {
		b.differs("%s: %s got an attempt that has no span: %v", x.path, a.backend, a)
	}
}

func (b *books) holdClient(x *exchange, s otlp.Span, nth int, address string, a attempt) {
	full := "http://" + a.backend + x.path
	if x.query != "" {
		full += "?token=REDACTED"
	}
	want := map[string]any{
		"http.request.method": x.knownMethod(), "url.full": full, "server.address": "127.0.0.1", "server.port": int64(port.Of(a.backend)),
		"http.response.status_code": orNil(a.status), "error.type": orNil(a.failure), "http.request.resend_count": orNil(nth),
		"peer.service": "default/" + a.backend,
	}
	if slices.Contains(failoverReasons, a.failure) && (s.StatusMessage == "" || s.StatusCode != otlp.Error) {
		b.differs("%s: the span of attempt %d does not say why it failed: status %d, %q", x.path, nth+1, s.StatusCode, s.StatusMessage)
	}
	if a.span != "" {
		want["network.peer.address"], want["network.peer.port"], want["network.protocol.version"] = "127.0.0.1", int64(port.Of(a.backend)), "1.1"
	}
	if a.nth > 0 {
		want["pace.connection.reused"] = a.nth > 1
	}
	if address != a.backend || a.trace != x.trace {
		b.differs("%s: attempt %d went to %s in trace %s, its span says %s in %s", x.path, nth+1, a.backend, a.trace, address, x.trace)
	}
	if a.span != "" && a.flags != "01" {
		b.differs("%s: attempt %d was sent with the flags %q", x.path, nth+1, a.flags)
	}
	b.holdAttributes(x, fmt.Sprintf("CLIENT %d", nth+1), s, want)
	theirs := strings.HasPrefix(a.failure, "client_") || slices.Contains([]string{"too_large", "bad_request", "request_timeout"}, a.failure)
	if failed := a.failure != "" && !theirs; (s.StatusCode == otlp.Error) != failed {
		b.differs("%s: the span of attempt %d has status %d, want Error: %v", x.path, nth+1, s.StatusCode, failed)
	}
	if s.Name != x.spanName() || s.Kind != otlp.Client {
		b.differs("%s: the span of attempt %d is %q of kind %d", x.path, nth+1, s.Name, s.Kind)
	}
}

// holdEvents wants an event for each step from an attempt to the next, and one for a limiter's no.
func (b *books) holdEvents(x *exchange, s otlp.Span, tries []otlp.Span, failovers, retries table) {
	var want, got []string
	for i := range max(0, len(tries)-1) {
		if from, to := tries[i].Peer(), tries[i+1].Peer(); from == to {
			want = append(want, key("pace.retry", from, "stale_connection", i+1))
		} else {
			want = append(want, key("pace.failover", from, to, text(tries[i].Attrs["error.type"]), i+1))
		}
	}
	if outcome, _ := x.ends(); outcome == "rate_limited" {
		want = append(want, key("pace.rate_limited", "default", "client_ip", places, 3600.0))
	}
	for _, e := range s.Events {
		switch at := e.Attrs; e.Name {
		case "pace.retry":
			got = append(got, key(e.Name, at["pace.retry.backend"], at["pace.retry.reason"], at["pace.retry.attempt"]))
			retries[key("default", at["pace.retry.reason"])]++
		case "pace.failover":
			got = append(got, key(e.Name, at["pace.failover.from"], at["pace.failover.to"], at["pace.failover.reason"], at["pace.failover.attempt"]))
			failovers[key("default", at["pace.failover.reason"])]++
		case "pace.rate_limited":
			got = append(got, key(e.Name, at["pace.limit.policy"], at["pace.limit.key_kind"], at["pace.limit.limit"], at["pace.limit.window_seconds"]))
		default:
			got = append(got, e.Name)
		}
	}
	if !slices.Equal(got, want) {
		b.differs("%s: events %q, want %q", x.path, got, want)
	}
}

// spanName is the method as it stands in names of spans.
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

// orNil is what an attribute must be: nil, which is absent, if there is nothing to say.
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

func (b *books) holdAttributes(x *exchange, span string, s otlp.Span, want map[string]any) {
	for name, value := range want {
		if got := s.Attrs[name]; got != value {
			b.differs("%s: its %s span has %s = %v, want %v", x.path, span, name, got, value)
		}
	}
}
