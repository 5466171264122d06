package recent

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pace/telemetry"
)

// began is when every exchange of these tests began.
var began = time.Date(2026, 11, 24, 3, 12, 9, 114_000_000, time.Local)

func after(ms float64) time.Time { return began.Add(time.Duration(ms * float64(time.Millisecond))) }

// ofCart returns a record of GET /cart that ended so, after 100 ms.
func ofCart(o telemetry.Outcome, change func(*telemetry.Record)) *telemetry.Record {
	r := &telemetry.Record{
		Method: "GET", Path: "/cart", Protocol: "2", Client: "203.0.113.7", Peer: "203.0.113.7", Trace: "4278175a7b49fc3c85a78a299452aaf9",
		Start: began, End: after(100), Outcome: o, Status: o.Info().Status, Reason: telemetry.KeepError, Export: telemetry.Kept,
		Repeatable: true, Phases: [telemetry.PhaseCount]time.Duration{telemetry.Own: 80 * time.Microsecond},
	}
	if change != nil {
		change(r)
	}
	return r
}

const one, two = "10.0.0.7:8000", "10.0.0.8:8000"

// failed is an attempt from 1 ms on that failed.
func failed(o telemetry.Outcome, ms float64, why string, sent int64) telemetry.Attempt {
	return telemetry.Attempt{Backend: one, Start: after(1), End: after(1 + ms), Failure: o, Error: why, BytesSent: sent}
}

// answered is an attempt from 1 ms on that answered.
func attempt(status int, ms float64) telemetry.Attempt {
	wait := time.Duration((ms - 1) * float64(time.Millisecond))
	return telemetry.Attempt{Backend: two, Start: after(1), Responded: after(1 + ms), End: after(100), Status: status, Waited: wait}
}

// explained are the facts that the sentences must name for each outcome, in their order.
var explained = map[telemetry.Outcome]struct {
	of   func(*telemetry.Record)
	want []string
}{
	telemetry.OK: {
		func(r *telemetry.Record) {
			r.Passed = []telemetry.Passed{{Policy: "default", Used: 7, Limit: 10}}
			r.Attempts = []telemetry.Attempt{failed(telemetry.ConnectFailed, 0.4, "dial tcp 10.0.0.7:8000: connection refused", 0), attempt(200, 12.1)}
			r.Failovers = []telemetry.Failover{{From: one, To: two, Reason: "connect_failed", Attempt: 1}}
			r.BytesOut, r.Phases[telemetry.Deliver] = 18_000, 300*time.Microsecond
		},
		[]string{
			"GET /cart came from 203.0.113.7 over HTTP/2 at 03:12:09.114.",
			"The limit let it pass (7 of 10 used).",
			"Attempt 1, at 10.0.0.7:8000, failed after 0.4 ms: dial tcp 10.0.0.7:8000: connection refused.",
			"pace failed over to 10.0.0.8:8000: GET is safe to repeat and nothing had been sent.",
			"Attempt 2, at 10.0.0.8:8000, answered 200 after 12.1 ms, of which 11.1 ms were spent waiting for its first byte.",
			"The response's 18 kB took 0.3 ms.",
			"It ended as ok after 100 ms.",
			"pace itself took 0.08 ms.",
		},
	},
	telemetry.ClientError: {
		func(r *telemetry.Record) { r.Attempts, r.Status = []telemetry.Attempt{attempt(404, 5)}, 404 },
		[]string{"Attempt 1, at 10.0.0.8:8000, answered 404 after 5 ms", "client_error after 100 ms, because of the client (side: client)"},
	},
	telemetry.UpstreamError: {
		func(r *telemetry.Record) { r.Attempts, r.Status = []telemetry.Attempt{attempt(503, 5)}, 503 },
		[]string{"answered 503 after 5 ms, of which 4 ms", "upstream_error after 100 ms, because of the backend (side: backend)", "search the backend's log for the trace id"},
	},
	telemetry.Responded: {nil, []string{"pace responded 200 itself.", "It ended as responded after 100 ms."}},
	telemetry.RateLimited: {
		func(r *telemetry.Record) {
			r.Passed = []telemetry.Passed{{Policy: "all", Used: 1, Limit: 100}}
			r.Limited = []telemetry.Limited{{Policy: "per_client", KeyKind: "client_ip", Limit: 10, Window: time.Minute, RetryAfter: 23 * time.Second}}
		},
		[]string{"The limit all let it pass (1 of 100 used).", "The limit per_client rejected it: it allows 10 requests in 1m0s for each client_ip", "after 23 s.", "pace responded 429 itself.", "rate_limited", "side: limiter"},
	},
	telemetry.Redirected:       {nil, []string{"pace responded 308 itself.", "It ended as redirected after 100 ms."}},
	telemetry.MethodNotAllowed: {nil, []string{"pace responded 405 itself.", "method_not_allowed", "side: client", "add a route with this method"}},
	telemetry.Forbidden:        {nil, []string{"pace responded 403 itself.", "forbidden", "side: client", "allow and deny"}},
	telemetry.RouteTimeout: {
		func(r *telemetry.Record) {
			r.Attempts = []telemetry.Attempt{failed(telemetry.RouteTimeout, 99, "", 100)}
		},
		[]string{"Attempt 1, at 10.0.0.7:8000, failed after 99 ms: the exchange took longer than its route allows.", "pace responded 504 itself.", "route_timeout", "side: backend"},
	},
	telemetry.NoRoute:   {nil, []string{"pace responded 404 itself.", "no_route", "side: client"}},
	telemetry.NoBackend: {nil, []string{"pace responded 503 itself.", "no_backend", "side: backend", "no backend"}},
	telemetry.Overload:  {nil, []string{"pace responded 503 itself.", "overload", "side: pace"}},
	telemetry.Draining:  {nil, []string{"pace responded 503 itself.", "draining", "side: pace", "/readyz"}},
	telemetry.DrainTimeout: {
		func(r *telemetry.Record) {
			r.Attempts = []telemetry.Attempt{failed(telemetry.DrainTimeout, 99, "", 100)}
		},
		[]string{"Attempt 1, at 10.0.0.7:8000, failed after 99 ms: the request ran for longer than server.drain_timeout", "drain_timeout", "side: pace"},
	},
	telemetry.ConnectFailed: {
		func(r *telemetry.Record) {
			r.Attempts = []telemetry.Attempt{failed(telemetry.ConnectFailed, 0.4, "dial tcp 10.0.0.7:8000: connection refused", 0)}
			r.NoFurther = telemetry.NoMoreFailovers
		},
		[]string{"Attempt 1, at 10.0.0.7:8000, failed after 0.4 ms: dial tcp 10.0.0.7:8000: connection refused.", "pace asked no other backend: max_retries allows no more.", "pace responded 502 itself.", "connect_failed", "side: backend", "start the backend"},
	},
	telemetry.ConnectTimeout: {
		func(r *telemetry.Record) {
			r.Attempts = []telemetry.Attempt{failed(telemetry.ConnectTimeout, 1000, "dial tcp 10.0.0.7:8000: i/o timeout", 0)}
		},
		[]string{"at 10.0.0.7:8000, failed after 1 s: dial tcp 10.0.0.7:8000: i/o timeout.", "pace responded 504 itself.", "connect_timeout", "side: backend"},
	},
	telemetry.TLSFailed: {
		func(r *telemetry.Record) {
			r.Attempts = []telemetry.Attempt{failed(telemetry.TLSFailed, 6, "certificate expired on 2026-01-01T00:00:00Z", 0)}
		},
		[]string{"failed after 6 ms: certificate expired on 2026-01-01T00:00:00Z.", "pace responded 502 itself.", "tls_failed", "side: backend", "openssl s_client"},
	},
	telemetry.DNSFailed: {
		func(r *telemetry.Record) {
			r.Attempts = []telemetry.Attempt{failed(telemetry.DNSFailed, 3, "lookup app.internal: no such host", 0)}
		},
		[]string{"failed after 3 ms: lookup app.internal: no such host.", "pace responded 502 itself.", "dns_failed", "side: backend"},
	},
	telemetry.Exhausted: {
		func(r *telemetry.Record) {
			r.Attempts = []telemetry.Attempt{failed(telemetry.Exhausted, 0.1, "socket: too many open files", 0)}
		},
		[]string{"failed after 0.1 ms: socket: too many open files.", "pace responded 503 itself.", "exhausted", "side: pace"},
	},
	telemetry.UpstreamTimeout: {
		func(r *telemetry.Record) {
			a := failed(telemetry.UpstreamTimeout, 90, "no response header in 90ms", 300)
			a.Waited = 89 * time.Millisecond
			r.Method, r.Repeatable, r.Attempts, r.NoFurther = "POST", false, []telemetry.Attempt{a}, telemetry.NotRepeatable
		},
		[]string{"failed after 90 ms, of which 89 ms were spent waiting for its first byte: no response header in 90ms.", "POST is not safe to repeat, and 300 B had been sent.", "pace responded 504 itself.", "upstream_timeout", "side: backend"},
	},
	telemetry.UpstreamReset: {
		func(r *telemetry.Record) {
			r.Attempts = []telemetry.Attempt{failed(telemetry.UpstreamReset, 2, "connection reset by peer", 200), failed(telemetry.UpstreamReset, 5, "connection reset by peer", 200)}
			r.Retries, r.NoFurther = []telemetry.Retry{{Backend: one, Reason: telemetry.StaleConnection, Attempt: 1}}, telemetry.AllTried
		},
		[]string{"Attempt 1, at 10.0.0.7:8000, failed after 2 ms: connection reset by peer.", "pace retried it there on a new connection: the reused one had been closed before any byte of a response.", "Attempt 2, at 10.0.0.7:8000, failed after 5 ms", "pace asked no other backend: none was left.", "pace responded 502 itself.", "upstream_reset", "side: backend"},
	},
	telemetry.UpstreamInvalid: {
		func(r *telemetry.Record) {
			r.Attempts = []telemetry.Attempt{failed(telemetry.UpstreamInvalid, 2, "malformed status line", 200)}
			r.NoFurther = telemetry.NotCalledFor
		},
		[]string{"failed after 2 ms: malformed status line.", "pace asked no other backend: retry.on of the upstream does not name upstream_invalid.", "pace responded 502 itself.", "upstream_invalid", "side: backend"},
	},
	telemetry.UpstreamTruncated: {
		func(r *telemetry.Record) {
			a := attempt(200, 10)
			a.Failure, a.Error, a.End = telemetry.UpstreamTruncated, "connection reset by peer", after(91)
			r.Attempts, r.BytesOut, r.Phases[telemetry.Receive] = []telemetry.Attempt{a}, 512, 80*time.Millisecond
		},
		[]string{"Attempt 1, at 10.0.0.8:8000, answered 200 after 10 ms", "It failed 80 ms later, in the body of its response: connection reset by peer.", "The response's 512 B took 80 ms.", "upstream_truncated", "side: backend"},
	},
	telemetry.UpstreamStalled: {
		func(r *telemetry.Record) {
			a := attempt(200, 10)
			a.Failure, a.Error, a.End = telemetry.UpstreamStalled, "nothing came for 60s", after(91)
			r.Attempts = []telemetry.Attempt{a}
		},
		[]string{"It failed 80 ms later, in the body of its response: nothing came for 60s.", "upstream_stalled", "side: backend"},
	},
	telemetry.ClientGone: {
		func(r *telemetry.Record) {
			a := failed(telemetry.ClientGone, 99, "", 200)
			a.Waited = 95 * time.Millisecond
			r.Attempts, r.LeftIn = []telemetry.Attempt{a}, telemetry.Wait
		},
		[]string{"Attempt 1, at 10.0.0.7:8000, was given up after 99 ms, of which 95 ms were spent waiting for its first byte", "The client left after 100 ms, in the phase wait: before it got any response.", "client_gone", "side: client"},
	},
	telemetry.ClientAborted: {
		func(r *telemetry.Record) {
			r.Attempts, r.LeftIn, r.BytesOut = []telemetry.Attempt{attempt(200, 10)}, telemetry.Deliver, 2_500_000
		},
		[]string{"answered 200 after 10 ms", "The client left after 100 ms, in the phase deliver: it had been sent 2.5 MB of the response's body.", "client_aborted", "side: client"},
	},
	telemetry.RequestTimeout: {nil, []string{"pace responded 408 itself.", "request_timeout", "side: client", "server.body_timeout"}},
	telemetry.BadRequest:     {nil, []string{"pace responded 400 itself.", "bad_request", "side: client"}},
	telemetry.TooLarge:       {nil, []string{"pace responded 413 itself.", "too_large", "side: client", "server.max_body_bytes"}},
	telemetry.Upgraded: {
		func(r *telemetry.Record) {
			r.Attempts, r.Stream, r.Streamed, r.Closed = []telemetry.Attempt{attempt(101, 5)}, telemetry.WebSocket, after(6), telemetry.LostBackend
			r.End, r.BytesIn, r.BytesOut = after(75_006), 10, 2000
		},
		[]string{"answered 101 after 5 ms", "It became a stream (websocket) after 6 ms, which lived for 1m15s, received 10 B from the client and sent it 2 kB, and ended as backend_lost.", "upgraded"},
	},
	telemetry.InternalError: {nil, []string{"pace responded 500 itself.", "internal_error", "side: pace", "report it"}},
}

// wrong says which of the facts the sentences do not name, in their order; "" if they name all.
func wrong(sentences, facts []string) string {
	rest := strings.Join(sentences, " ")
	for _, fact := range facts {
		_, after, ok := strings.Cut(rest, fact)
		if !ok {
			return fact
		}
		rest = after
	}
	return ""
}

func TestExplain_EveryOutcome(t *testing.T) {
	for o := telemetry.OK; o < telemetry.OutcomeCount; o++ {
		tt, ok := explained[o]
		if !ok {
			t.Errorf("%s: no row says what its sentences must name", o)
			continue
		}
		sentences := Explain(ofCart(o, tt.of))
		if missing := wrong(sentences, tt.want); missing != "" {
			t.Errorf("%s: %q is not where it should be in\n%s", o, missing, strings.Join(sentences, "\n"))
		}
		for _, s := range sentences {
			if !strings.HasSuffix(s, ".") || strings.HasSuffix(s, "..") || strings.ContainsAny(s, "\n`") || strings.Contains(s, "%!") {
				t.Errorf("%s: %q is no sentence", o, s)
			}
		}
	}
}

// TestExplain_FurtherAttempts: why another attempt was made, or none, and whose response the client got.
func TestExplain_FurtherAttempts(t *testing.T) {
	unavailable := attempt(503, 5)
	unavailable.Backend, unavailable.BytesSent = one, 200
	refused := failed(telemetry.ConnectFailed, 0.4, "connection refused", 0)
	for _, tt := range []struct {
		name string
		of   func(*telemetry.Record)
		want []string
	}{
		{"a status leads to another backend, after a pause", func(r *telemetry.Record) {
			r.Attempts, r.Phases[telemetry.Pick] = []telemetry.Attempt{unavailable, attempt(200, 9)}, 20*time.Millisecond
			r.Failovers = []telemetry.Failover{{From: one, To: two, Reason: "503", Attempt: 1, BytesSent: 200}}
		}, []string{
			"Attempt 1, at 10.0.0.7:8000, answered 503 after 5 ms", "pace failed over to 10.0.0.8:8000 because of the 503: GET is safe to repeat, although 200 B had been sent.",
			"Attempt 2, at 10.0.0.8:8000, answered 200", "It paused for 20 ms before further attempts (retry.backoff).",
		}},
		{"the client gets the only response that there was", func(r *telemetry.Record) {
			r.Attempts, r.Delivered, r.BytesOut, r.Outcome = []telemetry.Attempt{unavailable, refused}, 1, 100, telemetry.UpstreamError
			r.Failovers = []telemetry.Failover{{From: one, To: two, Reason: "503", Attempt: 1, BytesSent: 200}}
			r.NoFurther = telemetry.AllTried
		}, []string{
			"answered 503", "failed over", "Attempt 2", "connection refused.", "pace asked no other backend: none was left.",
			"The client got the response of attempt 1, because no later one had any.", "The response's 100 B took", "It ended as upstream_error",
		}},
		{"the budget is used up", func(r *telemetry.Record) {
			r.Attempts, r.NoFurther = []telemetry.Attempt{refused}, telemetry.BudgetExceeded
		}, []string{"connection refused.", "pace asked no other backend: the budget of the upstream for further attempts was used up (retry.budget)."}},
		{"the request's body was not kept", func(r *telemetry.Record) {
			r.Attempts, r.NoFurther = []telemetry.Attempt{refused}, telemetry.BodyNotKept
		}, []string{"pace asked no other backend: the request's body had been read and not kept: retry.max_replay_bytes says"}},
		{"the body of a POST is never kept", func(r *telemetry.Record) {
			r.Method, r.Repeatable, r.Attempts, r.NoFurther = "POST", false, []telemetry.Attempt{refused}, telemetry.BodyNotKept
		}, []string{"pace asked no other backend: the request's body had been read and not kept, as it never is for POST."}},
		{"the body of a POST over HTTP/2 may be kept", func(r *telemetry.Record) {
			goAway := refused
			goAway.Protocol = "2"
			r.Method, r.Repeatable, r.Attempts, r.NoFurther = "POST", false, []telemetry.Attempt{goAway}, telemetry.BodyNotKept
		}, []string{"pace asked no other backend: the request's body had been read and not kept: retry.max_replay_bytes says"}},
		{"the response could not be kept", func(r *telemetry.Record) {
			r.Attempts, r.NoFurther = []telemetry.Attempt{unavailable}, telemetry.ResponseTooLarge
		}, []string{"answered 503", "pace asked no other backend: its response was too large to be kept meanwhile."}},
		{"a status of a POST", func(r *telemetry.Record) {
			r.Method, r.Attempts, r.NoFurther = "POST", []telemetry.Attempt{unavailable}, telemetry.NotRepeatable
		}, []string{"answered 503", "pace asked no other backend: POST is not safe to repeat, and 200 B had been sent."}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sentences := Explain(ofCart(telemetry.ConnectFailed, tt.of))
			if missing := wrong(sentences, tt.want); missing != "" {
				t.Errorf("%q is not where it should be in\n%s", missing, strings.Join(sentences, "\n"))
			}
		})
	}
}

// A record with wrong facts must not pass for the right one.
func TestExplain_OfWrongFacts(t *testing.T) {
	want := explained[telemetry.OK].want
	for name, spoil := range map[string]func(*telemetry.Record){
		"the attempts are swapped":           func(r *telemetry.Record) { slices.Reverse(r.Attempts) },
		"another backend failed":             func(r *telemetry.Record) { r.Attempts[0].Backend = two },
		"it was a retry":                     func(r *telemetry.Record) { r.Failovers, r.Retries = nil, []telemetry.Retry{{Attempt: 1}} },
		"something had been sent":            func(r *telemetry.Record) { r.Failovers[0].BytesSent = 80 },
		"the backend answered later":         func(r *telemetry.Record) { r.Attempts[1].Responded = after(90) },
		"the backend was not waited for":     func(r *telemetry.Record) { r.Attempts[1].Waited = 0 },
		"another status":                     func(r *telemetry.Record) { r.Attempts[1].Status = 201 },
		"another client":                     func(r *telemetry.Record) { r.Client = "203.0.113.8" },
		"more of the quota was used":         func(r *telemetry.Record) { r.Passed[0].Used = 8 },
		"the outcome of another exchange":    func(r *telemetry.Record) { r.Outcome = telemetry.UpstreamReset },
		"a method that is not safe":          func(r *telemetry.Record) { r.Method, r.Repeatable = "POST", false },
		"another error":                      func(r *telemetry.Record) { r.Attempts[0].Error = "no route to host" },
		"the body took longer":               func(r *telemetry.Record) { r.Phases[telemetry.Receive] = time.Second },
		"pace took longer":                   func(r *telemetry.Record) { r.Phases[telemetry.Own] = time.Second },
		"it came at another time":            func(r *telemetry.Record) { r.Start = after(5) },
		"the second attempt failed, too":     func(r *telemetry.Record) { r.Attempts[1].Status = 0 },
		"the first attempt was never made":   func(r *telemetry.Record) { r.Attempts = r.Attempts[1:] },
		"the failover was after the second":  func(r *telemetry.Record) { r.Failovers[0].Attempt = 2 },
		"the limit was another one":          func(r *telemetry.Record) { r.Passed[0].Policy = "other" },
		"the response's body was never sent": func(r *telemetry.Record) { r.BytesOut = 0 },
	} {
		r := ofCart(telemetry.OK, explained[telemetry.OK].of)
		spoil(r)
		if sentences := Explain(r); wrong(sentences, want) == "" {
			t.Errorf("%s: nobody would notice:\n%s", name, strings.Join(sentences, "\n"))
		}
	}
}

// What came over the wire cannot forge a sentence on a terminal.
// The attempt that ejected its backend is the one after whose sentence that stands.
func TestExplain_Ejected(t *testing.T) {
	got := Explain(ofCart(telemetry.OK, func(r *telemetry.Record) {
		explained[telemetry.OK].of(r)
		r.Attempts[0].PickReason, r.Attempts[1].PickReason, r.Attempts[1].Start = "trial", "panic", after(1.5)
		r.Ejected = []telemetry.Ejected{{At: after(1.4), Backend: one, Reason: "the trial failed: connect failure"}}
	}))
	want := []string{
		one + " was ejected and its time was up, so this request was its trial.",
		"Attempt 1, at " + one + ", failed",
		"That ejected " + one + ": the trial failed: connect failure.",
		"pace failed over to " + two,
		"No backend might be picked, so pace asked one nevertheless (panic).",
		"Attempt 2, at " + two,
	}
	if missing := wrong(got, want); missing != "" {
		t.Errorf("%q is not where it should be in\n%s", missing, strings.Join(got, "\n"))
	}
}

func TestExplain_HostileText(t *testing.T) {
	r := ofCart(telemetry.ConnectFailed, explained[telemetry.ConnectFailed].of)
	r.Path, r.Method, r.Attempts[0].Error = "/\x1b[2J\nGET /ok", "G\rET", "\u202eerror"
	if s := strings.Join(Explain(r), " "); strings.ContainsAny(s, "\x1b\r\n\u202e") {
		t.Errorf("got %q", s)
	}
}

func TestSpanAndSize_HaveAUnitThatSuits(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "less than 0.01 ms", 80 * time.Microsecond: "0.08 ms", 12_100 * time.Microsecond: "12.1 ms", 340 * time.Millisecond: "340 ms",
		1250 * time.Millisecond: "1.2 s", 123 * time.Second: "2m3s", time.Millisecond: "1 ms",
	} {
		if got := span(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 18_000: "18 kB", 1_250_000: "1.2 MB", 3_000_000_000: "3 GB"} {
		if got := size(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

func TestExplain_CallsOfGRPC(t *testing.T) {
	call := func(change func(*telemetry.Record)) func(*telemetry.Record) {
		return func(r *telemetry.Record) {
			r.Method, r.Path, r.GRPC, r.Status = "POST", "/users.v1.Users/Get", true, 200
			change(r)
		}
	}
	for name, tt := range map[string]struct {
		of   *telemetry.Record
		want []string
	}{
		"a backend that is not available": {
			ofCart(telemetry.UpstreamError, call(func(r *telemetry.Record) {
				a := attempt(200, 5)
				a.GRPCCode, a.Error = telemetry.GRPCUnavailable, "no connection to\nthe database."
				r.Attempts, r.GRPCCode = []telemetry.Attempt{a}, a.GRPCCode
			})),
			[]string{
				"POST /users.v1.Users/Get came from 203.0.113.7 over HTTP/2 as a gRPC call at",
				"answered 200 after 5 ms",
				"It ended the call with the gRPC status 14 (UNAVAILABLE): no connection to\uFFFDthe database.",
				"It ended as upstream_error",
			},
		},
		"a deadline": {
			ofCart(telemetry.UpstreamTimeout, call(func(r *telemetry.Record) {
				r.GRPCTimeout, r.GRPCCode = 80*time.Millisecond, telemetry.GRPCDeadlineExceeded
				r.Attempts = []telemetry.Attempt{failed(telemetry.UpstreamTimeout, 80, "", 100)}
			})),
			[]string{"as a gRPC call whose client waits for 80 ms (grpc-timeout) at", "pace ended the call itself, with the gRPC status 4 (DEADLINE_EXCEEDED).", "It ended as upstream_timeout"},
		},
		"a backend that is lost in the body": {
			ofCart(telemetry.UpstreamTruncated, call(func(r *telemetry.Record) {
				a := attempt(200, 5)
				a.Failure, a.Error = telemetry.UpstreamTruncated, "EOF"
				r.Attempts, r.GRPCCode, r.BytesOut = []telemetry.Attempt{a}, telemetry.GRPCUnavailable, 5
			})),
			[]string{"in the body of its response: EOF.", "pace ended the call itself, with the gRPC status 14 (UNAVAILABLE)."},
		},
	} {
		got := Explain(tt.of)
		if missing := wrong(got, tt.want); missing != "" {
			t.Errorf("%s: %q is not where it should be in\n%s", name, missing, strings.Join(got, "\n"))
		}
		if said := strings.Join(got, " "); strings.Contains(said, "pace responded 200") {
			t.Errorf("%s: got %s", name, said)
		}
	}
}
