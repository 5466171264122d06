package traces_test

import (
	"context"
	"net/http"
	"testing"

	"pace/telemetry"
	"pace/telemetry/telemetrytest"
)

// A route's ratio decides about the traces that begin here, and about no others.
func TestResample(t *testing.T) {
	const parent = "00-0102030405060708090a0b0c0d0e0f10-0102030405060708-0"
	all, none := 1.0, 0.0
	for _, tt := range []struct {
		name    string
		ratio   float64 // of [tracing]
		route   *float64
		header  http.Header
		sampler string // of the environment
		want    bool
	}{
		{"a route without a ratio has that of all", 1, nil, nil, "", true},
		{"a route may sample none", 1, &none, nil, "", false},
		{"a route may sample all", 0, &all, nil, "", true},
		{"a sampled parent is followed", 1, &none, http.Header{"Traceparent": {parent + "1"}}, "", true},
		{"a parent that is not sampled is followed", 0, &all, http.Header{"Traceparent": {parent + "0"}}, "", false},
		{"the environment takes precedence", 1, &none, nil, "always_on", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.sampler != "" {
				t.Setenv("OTEL_TRACES_SAMPLER", tt.sampler)
			}
			b := telemetrytest.New(t, func(o *telemetrytest.Options) { o.SampleRatio = tt.ratio })
			route := &telemetry.Route{Path: "/a", Name: "a", SampleRatio: tt.route}
			b.Configure([]*telemetry.Route{route}, nil)
			b.Request(tt.header, func(_ context.Context, r *telemetry.Record) {
				b.TakenBy(r, route)
				if got := r.Identity.Context.IsSampled(); got != tt.want {
					t.Errorf("sampled: got %v, want %v", got, tt.want)
				}
				r.Outcome = telemetry.OK
				b.End(r)
			})
			b.Close()
			if got := len(b.Exporter.Spans()) == 1; got != tt.want {
				t.Errorf("%d spans were exported, want some: %v", len(b.Exporter.Spans()), tt.want)
			}
		})
	}
}
