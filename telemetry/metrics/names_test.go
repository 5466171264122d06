package metrics_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"pace/telemetry"
	"pace/telemetry/metrics"
	"pace/telemetry/telemetrytest"
)

// TestNames_AreThoseOfTheScrape holds the table of instruments to what a scraper gets.
func TestNames_AreThoseOfTheScrape(t *testing.T) {
	b := telemetrytest.New(t, func(o *telemetrytest.Options) { o.NoExporter = true })
	b.WatchConnections(func() (active, idle int) { return 1, 0 })
	b.WatchLimiters(map[string]telemetry.LimiterState{"default": {Keys: func() int { return 1 }, Evicted: func() uint64 { return 1 }}})
	b.WatchCertificates(func() []telemetry.CertificateState {
		return []telemetry.CertificateState{{Name: "a", NotAfter: time.Now(), FromFile: true}}
	})
	b.WatchBackends(func() []telemetry.BackendState {
		return []telemetry.BackendState{{Upstream: "default", Host: "10.0.0.7", Port: 8000, InFlight: 1, Open: 2, Idle: 1, Changes: make([]int64, 5)}}
	})
	b.WatchUpstreams(map[string]telemetry.UpstreamState{"default": {
		Checks:     func() (int64, int64, bool) { return 1, 1, true },
		PanicPicks: func() int64 { return 1 },
	}})
	b.Request(nil, func(_ context.Context, r *telemetry.Record) {
		telemetrytest.Fill(r)
		b.End(r)
	})
	b.Request(nil, func(_ context.Context, r *telemetry.Record) {
		telemetrytest.Fill(r)
		r.Outcome, r.Status = telemetry.RateLimited, 429
		b.End(r)
	})
	b.Request(nil, func(_ context.Context, r *telemetry.Record) {
		telemetrytest.Fill(r)
		r.Outcome, r.Status = telemetry.Upgraded, 101
		b.BecomeStream(r, telemetry.WebSocket)
		r.Closed = telemetry.ClosedByClient
		b.End(r)
	})
	families := b.Scrape(t)
	for _, i := range metrics.Instruments() {
		family := families[i.Name]
		switch {
		case family == nil:
			if i.Name != metrics.SpansDropped.Name { // without an exporter there are no spans to drop
				t.Errorf("%s is not in the scrape", i.Name)
			}
		case strings.ToLower(family.GetType().String()) != string(i.Type):
			t.Errorf("%s: got a %v, the table says %s", i.Name, family.GetType(), i.Type)
		case sorted(labelsOf(family)) != sorted(i.LabelNames()):
			t.Errorf("%s: got labels %s, the table says %s", i.Name, sorted(labelsOf(family)), sorted(i.LabelNames()))
		case family.GetHelp() != i.Doc:
			t.Errorf("%s: got help %q, the table says %q", i.Name, family.GetHelp(), i.Doc)
		}
		wantWords(t, i, family)
		delete(families, i.Name)
	}
	for name := range families {
		if !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") && name != "target_info" {
			t.Errorf("%s is in the scrape, but in no table", name)
		}
	}
}

// wantWords holds the series to the closed lists of labels' words.
func wantWords(t *testing.T, i metrics.Instrument, family *dto.MetricFamily) {
	t.Helper()
	for _, series := range family.GetMetric() {
		for _, l := range series.GetLabel() {
			if list := wordsOf(i, l.GetName()); list != nil && !slices.Contains(list, l.GetValue()) {
				t.Errorf("%s has %s=%q, the list says %v", i.Name, l.GetName(), l.GetValue(), list)
			}
		}
	}
}

// wordsOf returns the closed list of the label's words; nil if it has none.
func wordsOf(i metrics.Instrument, label string) []string {
	for _, l := range i.Labels {
		if l.Name == label {
			return l.Words
		}
	}
	return nil
}

func sorted(list []string) string { return strings.Join(slices.Sorted(slices.Values(list)), " ") }

// A label that no metric has can only be asked for in vain.
func TestNames_LabelsAreSomeMetrics(t *testing.T) {
	known := map[string]bool{"method": true, "status": true} // of the older proxy's histogram
	for _, i := range metrics.Instruments() {
		for _, l := range i.LabelNames() {
			known[l] = true
		}
	}
	for _, l := range []string{metrics.Method.Name, metrics.Scheme.Name, metrics.Status.Name, metrics.Route.Name, metrics.Outcome.Name, metrics.ErrorType.Name, metrics.ServerAddress.Name,
		metrics.ServerPort.Name, metrics.Upstream.Name, metrics.Reason.Name, metrics.State.Name, metrics.Policy.Name, metrics.Version.Name, metrics.GoVersion.Name, metrics.Phase.Name, metrics.StreamKind.Name,
		metrics.CloseReason.Name, metrics.Direction.Name, metrics.Side.Name, metrics.LeftIn.Name, metrics.To.Name} {
		if !known[l] {
			t.Errorf("%s is no label of %v", l, slices.Sorted(maps.Keys(known)))
		}
	}
}

// labelsOf returns the names of all labels of a family's series.
func labelsOf(family *dto.MetricFamily) []string {
	set := map[string]bool{}
	for _, series := range family.GetMetric() {
		for _, l := range series.GetLabel() {
			set[l.GetName()] = true
		}
	}
	return slices.Collect(maps.Keys(set))
}
