package dashboards

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"pace/e2e/pacetest"
	"pace/e2e/parts"
)

// empty is what has no data although everything happens, and why.
var empty = map[string]string{
	"Requests / 1 h ago":          anHour,
	"Failed by client / 1 h ago":  anHour,
	"Failed by limiter / 1 h ago": anHour,
	"Failed by pace / 1 h ago":    anHour,
	"Failed by backend / 1 h ago": anHour,
}

const anHour = "an hour ago this town did not stand"

// unheard are outcomes that nothing which comes over the wire can cause, and those that this town does not bring about.
var unheard = []string{"unset", "no_backend", "internal_error", "overload"}

// TestExpressions_HaveData drives all that can happen, and runs every expression of every panel and
// rule. Each has to have a sample above zero, or stand in the list of what has none.
func TestExpressions_HaveData(t *testing.T) {
	written := writeDashboards(t)
	jaeger := parts.Jaeger(t)
	town := settle(t, jaeger.GRPC)
	town.prom.LoadRules(written.rules)
	began := time.Now()
	for round := range 3 { // a rate needs a counter to grow from scrape to scrape
		town.prom.Scraped()
		town.busy()
		if round == 0 {
			town.prom.Scraped()
			town.restartMute() // the dashboard marks starts
		}
	}
	town.prom.Scraped()
	wantOutcomes(t, town.prom)

	o := readOverview(t, written.overview)
	wantData(t, town.prom, o.asks(t)...)
	wantExemplars(t, town.prom, o, began)
	wantTraces(t, jaeger, o)
	wantSeen(t, grafana{prometheus: town.prom.URL, jaeger: jaeger.URL, dashboard: written.overview, from: began})
	town.houses["far"].Kill() // for the alert that a pace is down
	town.houses["routed"].WriteTOML("nonsense")
	town.houses["routed"].HUP() // for the alert that a reload was refused
	for _, r := range loadedRules(t, town.prom) {
		if r.Health != "ok" {
			t.Errorf("rule %s: health %s: %s", r.Name, r.Health, r.LastError)
		}
		if r.Type == "alerting" { // what it compares it yields as it is: up == 0 yields 0
			town.prom.Wait(r.Query, func(s []parts.Sample) bool { return len(s) > 0 })
			continue
		}
		wantData(t, town.prom, ask{"rule / " + r.Name, r.Query})
	}
	for _, alert := range []string{"PaceSpansDropped", "PaceLogRecordsDropped", "PaceLogDropped"} { // these do not wait
		wantData(t, town.prom, ask{"alert / " + alert, `ALERTS{alertstate="firing",alertname="` + alert + `"}`})
	}
}

// wantOutcomes shows that the drive is what it says: every outcome that can happen did.
func wantOutcomes(t *testing.T, p *parts.Prom) {
	t.Helper()
	seen := p.By(`http_server_request_duration_seconds_count`, "pace_outcome")
	t.Logf("requests by outcome: %v", seen)
	for outcome := range strings.FieldsSeq(`ok client_error upstream_error rate_limited draining connect_failed connect_timeout
		upstream_timeout upstream_reset upstream_invalid upstream_truncated client_gone client_aborted request_timeout bad_request too_large upgraded
		dns_failed tls_failed exhausted`) {
		if seen[outcome] == 0 {
			t.Errorf("no request ended as %s", outcome)
		}
	}
	for _, outcome := range unheard {
		if seen[outcome] > 0 {
			t.Errorf("a request ended as %s: it can be driven, so demand it", outcome)
		}
	}
}

// wantData polls until each of asks has a sample above zero, and fails t if that takes too long. A documented emptiness
// is held to be one. The asks wait together, because the rates fall as soon as the town rests.
func wantData(t *testing.T, p *parts.Prom, asks ...ask) {
	t.Helper()
	var missing []ask
	for _, a := range asks {
		why, documented := empty[a.where]
		if !documented {
			missing = append(missing, a)
		} else if samples := p.Query(a.expr); len(samples) > 0 {
			t.Errorf("%s has data (%v) in spite of: %s. Strike it from the list", a.where, samples, why)
		}
	}
	for deadline := time.Now().Add(pacetest.Patience); len(missing) > 0; time.Sleep(50 * time.Millisecond) {
		late := time.Now().After(deadline)
		missing = slices.DeleteFunc(missing, func(a ask) bool {
			samples := p.Query(a.expr)
			if slices.ContainsFunc(samples, func(s parts.Sample) bool { return s.Value > 0 && !math.IsInf(s.Value, 0) }) {
				t.Logf("%-45s %s", a.where, summary(samples))
				return true
			}
			if late {
				t.Errorf("%s: no sample above zero in %v\nof %s", a.where, samples, a.expr)
			}
			return late
		})
	}
}

// summary is what one would see: each series' labels and value, the largest first.
func summary(samples []parts.Sample) string {
	slices.SortFunc(samples, func(a, b parts.Sample) int { return int(math.Copysign(1, b.Value-a.Value)) })
	var shown []string
	for _, s := range samples[:min(len(samples), 6)] {
		var labels []string
		for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
			labels = append(labels, s.Labels[name])
		}
		shown = append(shown, fmt.Sprintf("%s=%.4g", strings.Join(labels, ":"), s.Value))
	}
	if rest := len(samples) - len(shown); rest > 0 {
		shown = append(shown, fmt.Sprintf("and %d more", rest))
	}
	return strings.Join(shown, "  ")
}

// wantExemplars demands that the dots of panels with exemplars are there, and lead to traces.
func wantExemplars(t *testing.T, p *parts.Prom, o overview, began time.Time) {
	t.Helper()
	for _, panel := range o.Panels {
		for _, target := range panel.Targets {
			if !target.Exemplar {
				continue
			}
			expr := strings.NewReplacer("$__rate_interval", "1m", "$job", ".*", "$instance", ".*", "$pace_route", ".*").Replace(target.Expr)
			exemplars := p.Exemplars(expr, began.Add(-time.Minute), time.Now())
			if len(exemplars) == 0 || len(exemplars[0].Labels["trace_id"]) != 32 {
				t.Errorf("%s / %s: exemplars %v, want some with a trace_id", panel.Title, target.LegendFormat, exemplars)
			}
		}
	}
}

// wantTraces asks Jaeger what Grafana's Jaeger source would ask for the panels of traces, for each
// outcome that one can choose.
func wantTraces(t *testing.T, j *parts.Jaeg, o overview) {
	t.Helper()
	asked := 0
	for _, p := range o.Panels {
		for _, target := range p.Targets {
			if target.QueryType != "search" {
				continue
			}
			for outcome := range strings.SplitSeq(o.outcomes(), ",") {
				if slices.Contains(unheard, outcome) {
					continue
				}
				asked++
				fill := strings.NewReplacer("$service", service, "$outcome", outcome)
				wantTrace(t, j, fill.Replace(target.Service), fill.Replace(target.Tags), target.Limit)
			}
		}
	}
	if asked < 15 {
		t.Errorf("%d searches for traces, want one for each outcome", asked)
	}
}

// wantTrace demands that a search finds a trace, and that Jaeger has its spans.
func wantTrace(t *testing.T, j *parts.Jaeg, service, tags string, limit int) {
	t.Helper()
	pacetest.Eventually(t, func() error {
		found := search(t, j, service, tags, limit)
		if len(found) == 0 {
			return fmt.Errorf("Jaeger finds nothing of %s with %s", service, tags)
		}
		if spans := j.Trace(found[0]); len(spans) == 0 {
			return fmt.Errorf("Jaeger does not know trace %s", found[0])
		}
		return nil
	})
}

// search returns the ids of traces that Jaeger's older API finds, which Grafana uses. tags is "KEY=VALUE".
func search(t *testing.T, j *parts.Jaeg, service, tags string, limit int) (ids []string) {
	t.Helper()
	key, value, _ := strings.Cut(tags, "=")
	url := fmt.Sprintf(`%s/api/traces?service=%s&tags={%q:%q}&limit=%d`, j.URL, service, key, value, limit)
	var response struct{ Data []struct{ TraceID string } }
	getJSON(t, strings.NewReplacer(`{`, "%7B", `}`, "%7D", `"`, "%22").Replace(url), &response)
	for _, trace := range response.Data {
		ids = append(ids, trace.TraceID)
	}
	return ids
}

// loaded is a rule as Prometheus has it.
type loaded struct{ Type, Name, Query, Health, LastError string }

func loadedRules(t *testing.T, p *parts.Prom) (list []loaded) {
	t.Helper()
	var response struct {
		Data struct{ Groups []struct{ Rules []loaded } }
	}
	getJSON(t, p.URL+"/api/v1/rules", &response)
	for _, g := range response.Data.Groups {
		list = append(list, g.Rules...)
	}
	if len(list) < 20 {
		t.Errorf("Prometheus has %d rules, want all of them", len(list))
	}
	return list
}

func getJSON(t *testing.T, url string, into any) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
}
