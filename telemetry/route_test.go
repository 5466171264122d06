package telemetry_test

import (
	"context"
	"testing"

	"pace/telemetry"
	"pace/telemetry/telemetrytest"
)

// The rule of a route decides which of its exchanges have a line. Metrics and spans have all of them.
func TestLineRules(t *testing.T) {
	outcomes := []telemetry.Outcome{telemetry.OK, telemetry.ClientError, telemetry.ClientGone, telemetry.BadRequest, telemetry.RateLimited, telemetry.UpstreamError, telemetry.InternalError}
	for _, tt := range []struct {
		word string
		want []string
	}{
		{"all", []string{"ok", "client_error", "client_gone", "bad_request", "rate_limited", "upstream_error", "internal_error"}},
		{"failures", []string{"rate_limited", "upstream_error", "internal_error"}},
		{"none", nil},
	} {
		b := telemetrytest.New(t, nil)
		route := &telemetry.Route{Path: "/a", Name: "a", Lines: telemetry.LineRuleOf(tt.word)}
		b.Configure([]*telemetry.Route{route}, nil)
		for _, o := range outcomes {
			b.Request(nil, func(_ context.Context, r *telemetry.Record) {
				b.TakenBy(r, route)
				r.Outcome = o
				b.End(r)
			})
		}
		b.Close()
		var got []string
		for _, line := range b.Logged(t, "request") {
			got = append(got, line["outcome"].(string))
		}
		if len(got) != len(tt.want) {
			t.Errorf("%s: got lines of %v, want %v", tt.word, got, tt.want)
		}
		for i := range min(len(got), len(tt.want)) {
			if got[i] != tt.want[i] {
				t.Errorf("%s: got lines of %v, want %v", tt.word, got, tt.want)
			}
		}
		if n := len(b.Exporter.Spans()); n != len(outcomes) {
			t.Errorf("%s: got %d spans, want %d", tt.word, n, len(outcomes))
		}
	}
}

// Before a route is known, no signal has one.
func TestRoute_IsAbsentUntilItIsKnown(t *testing.T) {
	b := telemetrytest.New(t, nil)
	b.Request(nil, func(_ context.Context, r *telemetry.Record) {
		r.Outcome, r.Status = telemetry.BadRequest, 400
		b.End(r)
	})
	b.Close()
	span := b.Exporter.Spans()[0]
	attributes, line := telemetrytest.AttributesOf(t, span), b.Logged(t, "request")[0]
	if span.Name() != "GET" || attributes["http.route"] != nil || attributes["pace.route"] != nil || line["route"] != nil || line["route_name"] != nil {
		t.Errorf("got a span named %q with %v and %v, and a line with %v and %v", span.Name(), attributes["http.route"], attributes["pace.route"], line["route"], line["route_name"])
	}
}
