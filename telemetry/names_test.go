package telemetry

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// TestNames_AreThoseOfTheScrape holds the table of instruments to what a scraper gets.
func TestNames_AreThoseOfTheScrape(t *testing.T) {
	tel := newTelemetry(t)
	inRequest(tel, func(r *Record) {
		fill(r)
		r.End()
	})
	inRequest(tel, func(r *Record) {
		fill(r)
		r.Outcome, r.Status = RateLimited, 429
		r.End()
	})
	inRequest(tel, func(r *Record) {
		fill(r)
		r.Outcome, r.Status = Upgraded, 101
		r.BecomeStream(WebSocket)
		r.Closed = ClosedByClient
		r.End()
	})
	families := scrape(t, tel)
	for _, i := range Instruments() {
		family := families[i.Name]
		switch {
		case family == nil:
			if i.Name != MetricSpansDropped { // without an exporter there are no spans to drop
				t.Errorf("%s is not in the scrape", i.Name)
			}
		case strings.ToLower(family.GetType().String()) != i.Type:
			t.Errorf("%s: got a %v, the table says %s", i.Name, family.GetType(), i.Type)
		case sorted(labelsOf(family)) != sorted(i.Labels):
			t.Errorf("%s: got labels %s, the table says %s", i.Name, sorted(labelsOf(family)), sorted(i.Labels))
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
func wantWords(t *testing.T, i Instrument, family *dto.MetricFamily) {
	t.Helper()
	for _, series := range family.GetMetric() {
		for _, l := range series.GetLabel() {
			if list := Words(i.Name, l.GetName()); list != nil && !slices.Contains(list, l.GetValue()) {
				t.Errorf("%s has %s=%q, the list says %v", i.Name, l.GetName(), l.GetValue(), list)
			}
		}
	}
}

// TestNames_AreThoseOfTheSpans holds the tables of attributes to what spans have.
func TestNames_AreThoseOfTheSpans(t *testing.T) {
	tel := newTelemetry(t)
	inRequest(tel, func(r *Record) {
		fill(r)
		r.Method = "BREW"
		r.Stream, r.Closed = WebSocket, ClosedByClient
		r.Outcome, r.LeftIn = ClientAborted, Deliver
		for i := range r.clock.spent {
			r.clock.spent[i] = time.Second
		}
		server, client := r.serverSpan(), r.clientSpan(1)
		want := map[string][]string{}
		for _, f := range Facts() {
			if f.Attribute != "" {
				want["attribute of SERVER"] = append(want["attribute of SERVER"], f.Attribute)
			}
		}
		want["attribute of CLIENT"] = namesOf(AttemptDetails())
		for _, e := range Events() {
			want["event"] = append(want["event"], e.Name)
			want["attribute of "+e.Name] = namesOf(e.Details)
		}
		got := map[string][]string{}
		for _, a := range server.attributes {
			got["attribute of SERVER"] = append(got["attribute of SERVER"], string(a.Key))
		}
		for _, a := range client.attributes {
			got["attribute of CLIENT"] = append(got["attribute of CLIENT"], string(a.Key))
		}
		for _, e := range server.events {
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
		r.End()
	})
}

func namesOf(details []Detail) (names []string) {
	for _, d := range details {
		names = append(names, d.Name)
	}
	return names
}

func sorted(list []string) string { return strings.Join(slices.Sorted(slices.Values(list)), " ") }

// A label that no metric has can only be asked for in vain.
func TestNames_LabelsAreSomeMetrics(t *testing.T) {
	known := map[string]bool{"method": true, "status": true} // of the older proxy's histogram
	for _, i := range Instruments() {
		for _, l := range i.Labels {
			known[l] = true
		}
	}
	for _, l := range []string{LabelMethod, LabelScheme, LabelStatus, LabelRoute, LabelOutcome, LabelErrorType, LabelServerAddress,
		LabelServerPort, LabelUpstream, LabelReason, LabelState, LabelPolicy, LabelVersion, LabelGoVersion, LabelPhase, LabelKind,
		LabelCloseReason, LabelDirection, LabelSide, LabelLeftIn} {
		if !known[l] {
			t.Errorf("%s is no label of %v", l, slices.Sorted(maps.Keys(known)))
		}
	}
}

func newTelemetry(t *testing.T) *Telemetry {
	t.Helper()
	log, err := OpenLog(LogOptions{File: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	tel, err := New(t.Context(), Options{Version: "1", Log: log, SampleRatio: 1, Upstream: "default", Route: "/"})
	if err != nil {
		t.Fatal(err)
	}
	tel.WatchConnections(func() (active, idle int) { return 1, 0 })
	tel.WatchLimiters(map[string]LimiterState{"default": {Keys: func() int { return 1 }, Evicted: func() uint64 { return 1 }}})
	t.Cleanup(func() {
		tel.Shutdown(context.Background())
		log.Close()
	})
	return tel
}

// inRequest calls f with the record of a request, as a handler would have it.
func inRequest(tel *Telemetry, f func(*Record)) {
	h := tel.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		f(tel.Begin(q.Context(), q.Method, "http"))
	}), nil)
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
}

// fill gives the record something of all that can be told: a failover, a retry, a limiter's no.
func fill(r *Record) {
	r.Host, r.Path, r.Query, r.Protocol, r.UserAgent, r.RequestID = "example.org:8080", "/p", "q=1", "1.1", "test", "id"
	r.Peer, r.PeerPort, r.Client = "192.0.2.1", 1234, "192.0.2.2"
	r.Route, r.Upstream = "/", "default"
	r.BeginAttempt("10.0.0.1:8000", "10.0.0.1", 8000).Failure = ConnectFailed
	r.EndAttempt()
	a := r.BeginAttempt("10.0.0.2:8000", "10.0.0.2", 8000)
	a.Status, a.Remote = 500, netip.MustParseAddrPort("10.0.0.2:8000")
	r.EndAttempt()
	r.Failovers = []Failover{{From: "10.0.0.1:8000", To: "10.0.0.2:8000", Reason: ConnectFailed, Attempt: 1}}
	r.Retries = []Retry{{Backend: "10.0.0.2:8000", Attempt: 2}}
	r.Limited = []Limited{{Policy: "default", KeyKind: "client_ip", Limit: 1, Window: time.Minute, RetryAfter: time.Second}}
	r.Outcome, r.Status = UpstreamError, 500
}

func scrape(t *testing.T, tel *Telemetry) map[string]*dto.MetricFamily {
	t.Helper()
	w := httptest.NewRecorder()
	tel.Metrics().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return families
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
