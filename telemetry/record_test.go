package telemetry_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"pace/telemetry"
	"pace/telemetry/metrics"
	"pace/telemetry/telemetrytest"
)

// TestEnd_PublishesEachSignalOnce counts what a seeded mix of records wrote, in all four signals.
func TestEnd_PublishesEachSignalOnce(t *testing.T) {
	b := telemetrytest.New(t, nil)
	random := rand.New(rand.NewPCG(1, 2))
	const requests = 300
	want := map[string]int{}
	for range requests {
		b.Request(nil, func(_ context.Context, r *telemetry.Record) {
			happen(r, random)
			want["attempts"] += len(r.Attempts)
			want[telemetry.EventLimited] += len(r.Limited)
			want[telemetry.EventFailover] += len(r.Failovers)
			want[telemetry.EventRetry] += len(r.Retries)
			want[telemetry.EventBudget] += len(r.OverBudget)
			want["outcome "+r.Outcome.String()]++
			if r.Outcome.Info().Rejection == telemetry.Rejected {
				want["rejected"]++
			}
			b.End(r)
		})
	}
	scraped := b.Scrape(t)
	b.Close()
	for name, n := range map[string]int{
		metrics.OlderDuration.Name: requests, metrics.ServerDuration.Name: requests, metrics.Overhead.Name: requests,
		metrics.ClientDuration.Name: want["attempts"], metrics.Failovers.Name: want[telemetry.EventFailover], metrics.Retries.Name: want[telemetry.EventRetry], metrics.BudgetExhausted.Name: want[telemetry.EventBudget],
		metrics.Rejections.Name: want["rejected"], metrics.Requests.Name: requests, metrics.ClientLeft.Name: want["outcome client_gone"] + want["outcome client_aborted"],
	} {
		if got := telemetrytest.Count(scraped[name]); got != float64(n) {
			t.Errorf("%s: got %v, want %d", name, got, n)
		}
	}
	got := map[string]int{}
	for _, l := range b.Logged(t, "request") {
		got["outcome "+l["outcome"].(string)]++
	}
	for name, n := range want {
		if after, ok := strings.CutPrefix(name, "outcome "); ok {
			word := after
			if v := telemetrytest.OutcomeCountOf(scraped, word); got[name] != n || v != n {
				t.Errorf("%s: the log has %d, the histogram %d, want %d", word, got[name], v, n)
			}
		}
	}
	events := map[string]int{}
	for _, s := range b.Exporter.Spans() {
		events[s.SpanKind().String()]++
		for _, e := range s.Events() {
			events[e.Name]++
		}
	}
	for name, n := range map[string]int{"server": requests, "client": want["attempts"], telemetry.EventLimited: want[telemetry.EventLimited],
		telemetry.EventFailover: want[telemetry.EventFailover], telemetry.EventRetry: want[telemetry.EventRetry], telemetry.EventBudget: want[telemetry.EventBudget]} {
		if events[name] != n {
			t.Errorf("spans and events: got %d of %s, want %d", events[name], name, n)
		}
	}
}

// happen lets something happen to the request: attempts that fail, and one outcome at the end.
func happen(r *telemetry.Record, random *rand.Rand) {
	r.Route = telemetrytest.DefaultRoute
	ends := []telemetry.Outcome{telemetry.OK, telemetry.ClientError, telemetry.UpstreamError, telemetry.UpstreamTruncated, telemetry.ClientGone, telemetry.ClientAborted, telemetry.NoBackend, telemetry.BadRequest, telemetry.TooLarge, telemetry.Draining}
	r.Outcome, r.Status = ends[random.IntN(len(ends))], 200
	if random.IntN(10) == 0 {
		r.Outcome, r.Status = telemetry.RateLimited, 429
		r.Limited = append(r.Limited, telemetry.Limited{At: time.Now(), Policy: "default"})
		return
	}
	r.Upstream = "default"
	reasons := telemetry.FailoverReasons()
	for i := range random.IntN(4) {
		a := r.BeginAttempt("10.0.0.1:80", "10.0.0.1", 80)
		if i > 0 && random.IntN(3) > 0 {
			r.Failovers = append(r.Failovers, telemetry.Failover{At: a.Start, Reason: reasons[random.IntN(len(reasons))], Attempt: i})
		} else if i > 0 {
			r.Retries = append(r.Retries, telemetry.Retry{At: a.Start, Reason: telemetry.StaleConnection, Attempt: i})
		}
		if i > 0 && random.IntN(5) == 0 {
			r.OverBudget = append(r.OverBudget, telemetry.OverBudget{At: a.Start, Upstream: r.Upstream, Attempt: i})
		}
		if random.IntN(2) == 0 {
			r.EndAttempt()
		}
	}
}

// A span is what the record says, and each attempt's is a child with the id that went upstream.
func TestEnd_MakesSpansOfOneTrace(t *testing.T) {
	b := telemetrytest.New(t, nil)
	var server trace.SpanContext
	var lines []byte
	b.Request(nil, func(ctx context.Context, r *telemetry.Record) {
		server = r.Identity.Context
		telemetrytest.Fill(r)
		lines = b.AppendPropagation(ctx, nil, r, &r.Attempts[1])
		b.End(r)
	})
	b.Close()
	if len(b.Exporter.Spans()) != 3 {
		t.Fatalf("got %d spans, want 1 and 2 attempts", len(b.Exporter.Spans()))
	}
	of := b.Exporter.Spans()[0]
	if !of.SpanContext().Equal(server) || of.Parent().IsValid() || of.Name() != "GET /" || of.Status().Code != codes.Error || of.ChildSpanCount() != 2 {
		t.Errorf("SERVER span: got %v, parent %v, %q, %v, %d children", of.SpanContext(), of.Parent(), of.Name(), of.Status(), of.ChildSpanCount())
	}
	for i, s := range b.Exporter.Spans()[1:] {
		if !s.Parent().Equal(server) || s.SpanKind() != trace.SpanKindClient || s.Name() != "GET" || s.StartTime().Before(of.StartTime()) || s.EndTime().After(of.EndTime()) {
			t.Errorf("attempt %d: got %v, parent %v, %q, %v to %v", i, s.SpanKind(), s.Parent(), s.Name(), s.StartTime(), s.EndTime())
		}
	}
	if id := b.Exporter.Spans()[2].SpanContext().SpanID().String(); !strings.Contains(string(lines), "-"+id+"-") {
		t.Errorf("%s went upstream, the attempt's span is %s", lines, id)
	}
}

// How a span's status and its error.type follow from what happened.
func TestSpanStatus(t *testing.T) {
	for name, tt := range map[string]struct {
		outcome telemetry.Outcome
		status  int
		kind    string // error.type
		failed  bool
	}{
		"all went well":                      {telemetry.OK, 200, "", false},
		"the client erred":                   {telemetry.ClientError, 404, "", false},
		"the backend said 503":               {telemetry.UpstreamError, 503, "503", true},
		"the body broke off after a 200":     {telemetry.UpstreamTruncated, 200, "upstream_truncated", true},
		"the client left before the header":  {telemetry.ClientGone, 499, "client_gone", false},
		"the client left in the body":        {telemetry.ClientAborted, 200, "client_aborted", false},
		"a limiter said no":                  {telemetry.RateLimited, 429, "rate_limited", false},
		"no connection":                      {telemetry.ConnectFailed, 502, "connect_failed", true},
		"a stream":                           {telemetry.Upgraded, 101, "", false},
		"a panic after the header of a 200":  {telemetry.InternalError, 200, "internal_error", true},
		"the request's body stalled":         {telemetry.RequestTimeout, 408, "request_timeout", false},
		"draining is the server's own doing": {telemetry.Draining, 503, "draining", true},
	} {
		r := &telemetry.Record{Outcome: tt.outcome, Status: tt.status}
		if kind, failed := r.ErrorType(), r.Failed(); kind != tt.kind || failed != tt.failed {
			t.Errorf("%s: got error.type %q, failed %v; want %q, %v", name, kind, failed, tt.kind, tt.failed)
		}
	}
	for name, tt := range map[string]struct {
		a      telemetry.Attempt
		kind   string
		failed bool
	}{
		"answered 200":                      {telemetry.Attempt{Status: 200}, "", false},
		"answered 404, a client's semconv":  {telemetry.Attempt{Status: 404}, "404", true},
		"broke off after its 200":           {telemetry.Attempt{Status: 200, Failure: telemetry.UpstreamTruncated}, "upstream_truncated", true},
		"cut short because the client left": {telemetry.Attempt{Status: 200, Failure: telemetry.ClientAborted}, "client_aborted", false},
		"never connected":                   {telemetry.Attempt{Failure: telemetry.ConnectTimeout}, "connect_timeout", true},
	} {
		if kind, failed := tt.a.ErrorType(), tt.a.Failed(); kind != tt.kind || failed != tt.failed {
			t.Errorf("attempt that %s: got error.type %q, failed %v; want %q, %v", name, kind, failed, tt.kind, tt.failed)
		}
	}
}

// The line and the spans of a failure name the backend and the error, those of a success no error, and the
// hops are in the line.
func TestEnd_NamesBackendAndError(t *testing.T) {
	const refused, closed = "dial tcp 10.0.0.1:80: connection refused", "read tcp 10.0.0.9:1->10.0.0.2:80: connection reset by peer"
	for _, tt := range []struct {
		name       string
		second     telemetry.Attempt
		outcome    telemetry.Outcome
		status     int
		line, span any // the error
	}{
		{"the last of two failed", telemetry.Attempt{Failure: telemetry.UpstreamReset, Error: closed}, telemetry.UpstreamReset, 502, closed, closed},
		{"the first of two failed", telemetry.Attempt{Status: 200, Protocol: "1.0"}, telemetry.OK, 200, nil, ""},
		{"the backend says itself that it failed", telemetry.Attempt{Status: 500}, telemetry.UpstreamError, 500, nil, ""},
		{"nothing of an error is trusted", telemetry.Attempt{Failure: telemetry.UpstreamReset, Error: "a\nb\x1b[31m" + strings.Repeat("x", telemetry.Longest)}, telemetry.UpstreamReset, 502,
			"a\uFFFDb\uFFFD[31m" + strings.Repeat("x", telemetry.Longest-8), "a\uFFFDb\uFFFD[31m" + strings.Repeat("x", telemetry.Longest-8)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := telemetrytest.New(t, nil)
			b.Request(nil, func(_ context.Context, r *telemetry.Record) {
				r.Route, r.Upstream, r.Outcome, r.Status = telemetrytest.DefaultRoute, "main", tt.outcome, tt.status
				a := r.BeginAttempt("10.0.0.1:80", "10.0.0.1", 80)
				a.Failure, a.Error = telemetry.ConnectFailed, refused
				r.EndAttempt()
				r.Failovers = append(r.Failovers, telemetry.Failover{From: "10.0.0.1:80", To: "10.0.0.2:80", Reason: "connect_failed", Attempt: 1})
				a = r.BeginAttempt("10.0.0.2:80", "10.0.0.2", 80)
				a.Status, a.Failure, a.Error, a.Protocol = tt.second.Status, tt.second.Failure, tt.second.Error, tt.second.Protocol
				a.Remote = netip.MustParseAddrPort("10.0.0.2:80")
				b.End(r)
			})
			b.Close()
			l := b.Logged(t, "request")[0]
			if l["backend"] != "10.0.0.2:80" || l["error"] != tt.line {
				t.Errorf("the line has backend %v, error %v; want 10.0.0.2:80, %v", l["backend"], l["error"], tt.line)
			}
			hops, _ := json.Marshal(l["failovers"])
			if string(hops) != `[{"from":"10.0.0.1:80","reason":"connect_failed"}]` {
				t.Errorf("failovers: got %s", hops)
			}
			server, first, second := b.Exporter.Spans()[0], b.Exporter.Spans()[1], b.Exporter.Spans()[2]
			if server.Status().Description != tt.span || first.Status().Description != refused || second.Status().Description != tt.span {
				t.Errorf("the spans' descriptions: got %q, %q, %q; want %q, %q, %q",
					server.Status().Description, first.Status().Description, second.Status().Description, tt.span, refused, tt.span)
			}
			for i, s := range []sdktrace.ReadOnlySpan{first, second} {
				if at := telemetrytest.AttributesOf(t, s); at["peer.service"] != fmt.Sprintf("main/10.0.0.%d:80", i+1) {
					t.Errorf("attempt %d: peer.service is %v", i+1, at["peer.service"])
				}
			}
			if v := telemetrytest.AttributesOf(t, second)["network.protocol.version"]; v != cmp.Or(tt.second.Protocol, "1.1") {
				t.Errorf("the backend spoke %q, the span says %v", tt.second.Protocol, v)
			}
		})
	}
}

// In the text format, too, the hops can be read.
func TestHops_InText(t *testing.T) {
	b := telemetrytest.New(t, func(o *telemetrytest.Options) { o.Format = "text" })
	b.Request(nil, func(_ context.Context, r *telemetry.Record) {
		r.Outcome, r.Failovers = telemetry.OK, []telemetry.Failover{{From: "10.0.0.1:80", Reason: "connect_failed"}, {From: "10.0.0.2:80", Reason: "upstream_reset"}}
		b.End(r)
	})
	b.Close()
	page := b.Page(t)
	if want := `failovers="10.0.0.1:80 connect_failed, 10.0.0.2:80 upstream_reset"`; !strings.Contains(page, want) {
		t.Errorf("got %q; want %s in it", page, want)
	}
}

// A request that is not sampled has everything but spans.
func TestEnd_UnsampledHasNoSpans(t *testing.T) {
	b := telemetrytest.New(t, func(o *telemetrytest.Options) { o.SampleRatio = 0 })
	b.Request(nil, func(_ context.Context, r *telemetry.Record) { telemetrytest.Fill(r); b.End(r) })
	scraped := b.Scrape(t)
	b.Close()
	if n, l := telemetrytest.Count(scraped[metrics.ServerDuration.Name]), b.Logged(t, "request"); n != 1 || len(l) != 1 || l[0]["trace_sampled"] != false || len(b.Exporter.Spans()) != 0 {
		t.Errorf("got %v in the histogram, lines %v, %d spans; want 1, 1 that says so, 0", n, l, len(b.Exporter.Spans()))
	}
}

// Without metrics and below the log's level a request costs its spans alone, and nothing panics.
func TestEnd_WithoutMetricsAndLog(t *testing.T) {
	b := telemetrytest.New(t, func(o *telemetrytest.Options) { o.NoMetrics, o.Level = true, 12 })
	b.Request(nil, func(_ context.Context, r *telemetry.Record) { telemetrytest.Fill(r); b.End(r) })
	b.Request(nil, func(_ context.Context, r *telemetry.Record) {
		r.Outcome = telemetry.Upgraded
		r.BeginAttempt("10.0.0.1:80", "10.0.0.1", 80)
		b.BecomeStream(r, telemetry.WebSocket)
		b.End(r)
	})
	if b.Metrics != nil {
		t.Error("there is a handler for metrics that nobody keeps")
	}
	b.Close()
	if n, l := len(b.Exporter.Spans()), b.Logged(t, "request"); n != 5 || len(l) != 0 {
		t.Errorf("got %d spans and lines %v, want 5 and none", n, l)
	}
}

// A record that comes from the pool has nothing of the request before.
func TestRecord_IsCleanWhenUsedAgain(t *testing.T) {
	b := telemetrytest.New(t, func(o *telemetrytest.Options) { o.SampleRatio = 0 }) // recycled at its end
	for range 50 {
		b.Request(nil, func(_ context.Context, r *telemetry.Record) {
			if r.Path != "" || r.Outcome != telemetry.Unset || len(r.Attempts)+len(r.Limited)+len(r.Failovers)+len(r.Retries) != 0 || r.Stream != telemetry.NoStream {
				t.Fatalf("got %+v", r)
			}
			for _, a := range r.Attempts[:cap(r.Attempts)] {
				if a != (telemetry.Attempt{}) {
					t.Fatalf("an attempt is kept: %+v", a)
				}
			}
			telemetrytest.Fill(r)
			r.Stream = telemetry.WebSocket
			b.BecomeStream(r, telemetry.WebSocket)
			b.End(r)
		})
	}
}

// A request is active until its End.
func TestActiveRequests(t *testing.T) {
	b := telemetrytest.New(t, nil)
	b.Request(nil, func(_ context.Context, r *telemetry.Record) {
		if v, ok := telemetrytest.Value(b.Scrape(t)[metrics.ActiveRequests.Name], metrics.Method.Name, "GET", metrics.Scheme.Name, "http"); v != 1 || !ok {
			t.Errorf("while it runs: got %v, %v", v, ok)
		}
		b.End(r)
	})
	if v, ok := telemetrytest.Value(b.Scrape(t)[metrics.ActiveRequests.Name], metrics.Method.Name, "GET", metrics.Scheme.Name, "http"); v != 0 || !ok {
		t.Errorf("after its end: got %v, %v; want a series at 0", v, ok)
	}
	if n := len(b.Scrape(t)[metrics.ActiveRequests.Name].GetMetric()); n != 1 {
		t.Errorf("got %d series, want that of the one method seen", n)
	}
}

// An exemplar leads from the histogram to the trace, if it is sampled and somebody has it.
func TestExemplars(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*telemetrytest.Options)
		want   bool
	}{
		"a sampled trace":                  {nil, true},
		"a trace that is not sampled":      {func(o *telemetrytest.Options) { o.SampleRatio = 0 }, false},
		"a trace that is exported nowhere": {func(o *telemetrytest.Options) { o.NoExporter = true }, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := telemetrytest.New(t, tt.change)
			var id string
			b.Request(nil, func(_ context.Context, r *telemetry.Record) { id = r.TraceID(); telemetrytest.Fill(r); b.End(r) })
			b.Flush()
			page := b.OpenMetrics()
			if got := strings.Contains(page, `trace_id="`+id+`"`); got != tt.want {
				t.Errorf("exemplar there: %v, want %v in\n%s", got, tt.want, page)
			}
		})
	}
}

func TestSpanAttributes_OfAFailoverToABackendThatFailed(t *testing.T) {
	b := telemetrytest.New(t, func(o *telemetrytest.Options) { o.QueryAllow = []string{"q"} })
	b.Request(nil, func(_ context.Context, r *telemetry.Record) {
		telemetrytest.Fill(r)
		r.Method, r.Query, r.Path = "BREW", "q=1&token=secret", "/a%20b"
		b.End(r)
	})
	b.Close()
	got := telemetrytest.AttributesOf(t, b.Exporter.Spans()[0])
	for name, want := range map[string]any{
		"http.request.method": "_OTHER", "http.request.method_original": "BREW", "url.scheme": "http", "url.path": "/a%20b",
		"url.query": "q=1&token=REDACTED", "http.response.status_code": int64(500), "server.address": "example.org", "server.port": int64(8080),
		"client.address": "192.0.2.2", "network.peer.address": "192.0.2.1", "network.peer.port": int64(1234), "error.type": "500",
		"pace.attempts": int64(2), "pace.outcome": "upstream_error", "pace.upstream": "default", "http.route": "/",
	} {
		if got[name] != want {
			t.Errorf("SERVER %s: got %v, want %v", name, got[name], want)
		}
	}
	first, second := telemetrytest.AttributesOf(t, b.Exporter.Spans()[1]), telemetrytest.AttributesOf(t, b.Exporter.Spans()[2])
	if _, resent := first["http.request.resend_count"]; resent || second["http.request.resend_count"] != int64(1) {
		t.Errorf("resend counts: got %v and %v", first["http.request.resend_count"], second["http.request.resend_count"])
	}
	if first["error.type"] != "connect_failed" || first["network.peer.address"] != nil || first["network.protocol.version"] != nil {
		t.Errorf("an attempt without a connection: got %v", first)
	}
	if second["error.type"] != "500" || second["network.peer.address"] != "10.0.0.2" || second["url.full"] != "http://10.0.0.2:8000/a%20b?q=1&token=REDACTED" {
		t.Errorf("the second attempt: got %v", second)
	}
	if b.Exporter.Spans()[0].Name() != "HTTP /" || b.Exporter.Spans()[1].Name() != "HTTP" {
		t.Errorf("names: got %q and %q", b.Exporter.Spans()[0].Name(), b.Exporter.Spans()[1].Name())
	}
}

// Ending Unset shows as a bug, in every signal.
func TestEnd_UnsetShows(t *testing.T) {
	b := telemetrytest.New(t, nil)
	b.Request(nil, func(_ context.Context, r *telemetry.Record) { b.End(r) })
	scraped := b.Scrape(t)
	b.Close()
	l := b.Logged(t, "request")
	if len(l) != 1 || l[0]["outcome"] != "unset" || l[0]["level"] != "ERROR" || telemetrytest.OutcomeCountOf(scraped, "unset") != 1 {
		t.Errorf("got line %v, and in the histogram %d", l, telemetrytest.OutcomeCountOf(scraped, "unset"))
	}
}

// requestAllocations is what an unsampled GET with one attempt allocates from Begin to End, with
// metrics and a JSON log: the ids of trace and span in text. Measured; whoever needs more says here
// for what.
const requestAllocations = 2

func TestEnd_Allocations(t *testing.T) {
	if raceEnabled {
		t.Skip("under the race detector sync.Pool forgets on purpose")
	}
	b := telemetrytest.New(t, func(o *telemetrytest.Options) { o.SampleRatio = 0 })
	b.Request(nil, func(ctx context.Context, first *telemetry.Record) {
		b.End(first)
		propagation := make([]byte, 0, 256)
		n := testing.AllocsPerRun(2000, func() {
			r := b.Begin(ctx, "GET", "http")
			r.Host, r.Path, r.Protocol, r.UserAgent, r.RequestID = "example.org:8080", "/p", "1.1", "test", "id"
			r.Peer, r.PeerPort, r.Client = "192.0.2.1", 1234, "192.0.2.2"
			r.Route, r.Upstream = b.Route, "default"
			a := r.BeginAttempt("10.0.0.1:80", "10.0.0.1", 80)
			b.AppendPropagation(ctx, propagation, r, a)
			r.Enter(telemetry.Wait)
			a.Status = 200
			r.Enter(telemetry.Deliver)
			r.Status, r.Outcome = 200, telemetry.OK
			b.End(r)
		})
		if n > requestAllocations {
			t.Errorf("got %v allocations, the budget is %d", n, requestAllocations)
		}
	})
}
