package traces_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"pace/telemetry"
	"pace/telemetry/telemetrytest"
)

// TestNames_AreThoseOfTheSpans holds the tables of attributes to what spans have.
func TestNames_AreThoseOfTheSpans(t *testing.T) {
	b := telemetrytest.New(t, func(o *telemetrytest.Options) { o.SampleRatio, o.Keep.Enabled = 0, true })
	b.Request(nil, func(_ context.Context, r *telemetry.Record) {
		telemetrytest.Fill(r)
		r.Method = "BREW"
		for p := range telemetry.PhaseCount {
			r.Enter(p)
			time.Sleep(10 * time.Microsecond) // a shorter phase is absent
		}
		b.BecomeStream(r, telemetry.WebSocket)
		r.Closed = telemetry.ClosedByClient
		r.Outcome, r.LeftIn = telemetry.ClientAborted, telemetry.Deliver
		r.GRPC, r.GRPCCode = true, telemetry.GRPCUnavailable
		r.Attempts[len(r.Attempts)-1].GRPCCode = telemetry.GRPCUnavailable
		b.End(r)
	})
	b.Close()
	server, client := b.Exporter.Spans()[0], b.Exporter.Spans()[2]
	want := map[string][]string{}
	for _, f := range telemetry.Facts() {
		if f.Attribute != "" {
			want["attribute of SERVER"] = append(want["attribute of SERVER"], f.Attribute)
		}
	}
	want["attribute of CLIENT"] = namesOf(telemetry.Describe(telemetry.On(telemetry.OnSpan, telemetry.AttemptDetails)))
	want["attribute of CLIENT"] = slices.DeleteFunc(want["attribute of CLIENT"], func(name string) bool {
		return name == "pace.mirror" // see TestMirror
	})
	for _, e := range telemetry.Events() {
		want["event"] = append(want["event"], e.Name)
		want["attribute of "+e.Name] = namesOf(e.Details)
	}
	got := map[string][]string{}
	for _, a := range server.Attributes() {
		got["attribute of SERVER"] = append(got["attribute of SERVER"], string(a.Key))
	}
	for _, a := range client.Attributes() {
		got["attribute of CLIENT"] = append(got["attribute of CLIENT"], string(a.Key))
	}
	for _, e := range server.Events() {
		got["event"] = append(got["event"], e.Name)
		for _, a := range e.Attributes {
			got["attribute of "+e.Name] = append(got["attribute of "+e.Name], string(a.Key))
		}
	}
	for kind, names := range got {
		if sorted(names) != sorted(want[kind]) {
			t.Errorf("%s: got %s, the tables say %s", kind, sorted(names), sorted(want[kind]))
		}
	}
}

func namesOf(details []telemetry.Described) (names []string) {
	for _, d := range details {
		names = append(names, d.Name)
	}
	return names
}

func sorted(list []string) string { return strings.Join(slices.Sorted(slices.Values(list)), " ") }
