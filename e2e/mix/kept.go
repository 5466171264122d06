package mix

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
	"pace/e2e/parts"
)

// HoldRing compares what each pace keeps in memory with the truth: each interesting exchange that has ended, once,
// and a few ordinary ones. The paces must still be there to be asked.
func (tr *Truth) HoldRing() {
	for _, ac := range tr.houses {
		var records map[*exchange]pacetest.Line
		pacetest.Eventually(tr.t, func() error {
			records = tr.ring(ac)
			for _, x := range ac.exchanges {
				if reason, _ := x.interest(); reason != "" && records[x] == nil {
					return fmt.Errorf("%s: %s, interesting for %s, is not in the ring of %d", ac.name, x.path, reason, len(records))
				}
			}
			return nil
		})
		ordinary := 0
		for x, record := range records {
			tr.holdRecord(x, record)
			if record.Text("reason") == "" {
				ordinary++
			}
		}
		if ordinary > recent/10 {
			tr.differs("%s: %d ordinary exchanges are in the ring of %d", ac.name, ordinary, recent)
		}
	}
}

// ring returns the records that a pace has, by the exchange.
func (tr *Truth) ring(ac *account) map[*exchange]pacetest.Line {
	records := map[*exchange]pacetest.Line{}
	for after := ""; ; {
		var page struct {
			Requests []pacetest.Line
			Next     *string
		}
		resp, err := http.Get("http://" + ac.Admin + "/api/v1/requests?limit=1000&after=" + url.QueryEscape(after))
		if err != nil {
			tr.t.Fatal(err)
		}
		err = json.NewDecoder(resp.Body).Decode(&page)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			tr.t.Fatalf("the ring of %s: %s, %v", ac.name, resp.Status, err)
		}
		for _, record := range page.Requests {
			x := tr.known(record.Text("path"), record.Text("trace_id"))
			if x == nil || x.house != ac.house || records[x] != nil {
				tr.differs("%s: in the ring, and not sent, or there twice: %v", ac.name, record)
				continue
			}
			records[x] = record
		}
		if page.Next == nil {
			return records
		}
		after = *page.Next
	}
}

func (tr *Truth) holdRecord(x *exchange, record pacetest.Line) {
	reason, sure := x.interest()
	got := record.Text("reason")
	if got != reason && (sure || got != "failover" && got != "retry") {
		tr.differs("%s: in the ring for %q, want %q", x.path, got, reason)
	}
	outcome, status := x.ends()
	side := sides[outcome]
	if side == "" {
		side = "backend"
	}
	export := "sampled"
	if x.quiet {
		export = "dropped"
		if reason != "" {
			export = "kept"
		}
	}
	for field, want := range map[string]string{
		"trace_id": x.trace, "outcome": outcome, "status": fmt.Sprint(status), "side": side, "trace": export, "kept": x.keptFor(),
		"trace_sampled": fmt.Sprint(!x.quiet), "route": "default", "client": x.source,
	} {
		if got := record.Text(field); got != want {
			tr.differs("%s: in the ring with %s %q, want %q", x.path, field, got, want)
		}
	}
	if record.Text("kept") != "" {
		tr.reason(record.Text("kept")).ring++
	}
	var spans []string
	for _, a := range x.attempts {
		if a.span != "" {
			spans = append(spans, a.span)
		}
	}
	list, _ := record["attempts"].([]any)
	for _, one := range list {
		a, _ := one.(map[string]any)
		if i := slices.Index(spans, text(a["span_id"])); i >= 0 {
			spans = slices.Delete(spans, i, i+1)
		} else if len(x.house.unseen) == 0 {
			tr.differs("%s: in the ring with an attempt that nobody got: %v", x.path, a)
		}
	}
	if len(spans) > 0 {
		tr.differs("%s: in the ring without the attempts %v", x.path, spans)
	}
}

// exemplar is one of a pace's page.
type exemplar struct {
	house       *account
	name        string // of the histogram
	labels      map[string]string
	trace, span string
	value       float64
}

// Exemplars reads the exemplars of all paces.
func (tr *Truth) Exemplars() (all []exemplar) {
	line := regexp.MustCompile(`^(\w+)_bucket\{(.*)\} \d+ # \{span_id="(\w+)",trace_id="(\w+)"\} (\S+) `)
	label := regexp.MustCompile(`(\w+)="([^"]*)"`)
	for _, ac := range tr.houses {
		for text := range strings.Lines(ac.Exposition("application/openmetrics-text; version=1.0.0")) {
			if !strings.Contains(text, " # {") {
				continue
			}
			found := line.FindStringSubmatch(text)
			if found == nil {
				tr.differs("%s: an exemplar that cannot be read: %s", ac.name, text)
				continue
			}
			e := exemplar{house: ac, name: found[1], labels: map[string]string{}, span: found[3], trace: found[4]}
			for _, l := range label.FindAllStringSubmatch(found[2], -1) {
				e.labels[l[1]] = l[2]
			}
			e.value, _ = strconv.ParseFloat(found[5], 64)
			all = append(all, e)
		}
	}
	return all
}

// HoldExemplars requires that the collector has the span to which each exemplar leads, that it is of an exchange with
// the labels of the histogram, and that it has the duration that the exemplar says.
func (tr *Truth) HoldExemplars(all []exemplar, spans []otlp.Span) {
	byID, served := map[string]otlp.Span{}, map[string]*exchange{}
	for _, s := range spans {
		byID[s.TraceID+s.SpanID] = s
	}
	for _, x := range tr.entered() {
		served[x.trace] = x
	}
	of := map[string]int{}
	for _, e := range all {
		of[e.name]++
		s, ok := byID[e.trace+e.span]
		x := served[e.trace]
		if !ok || x == nil || x.house != e.house.house {
			tr.differs("%s: an exemplar of %s %v leads nowhere: trace %s, span %s", e.house.name, e.name, e.labels, e.trace, e.span)
			continue
		}
		outcome, status := x.ends()
		lasted := s.End.Sub(s.Start).Seconds()
		switch e.name {
		case "http_server_request_duration_seconds":
			if e.labels["pace_outcome"] != outcome || e.labels["http_response_status_code"] != fmt.Sprint(status) {
				tr.differs("%s ended with %s and %d: it is the exemplar of %v", x.path, outcome, status, e.labels)
			}
		case "http_client_request_duration_seconds":
			if s.Kind != otlp.Client || e.labels["server_port"] != fmt.Sprint(s.Attrs["server.port"]) {
				tr.differs("%s: the exemplar of attempts %v leads to %v", x.path, e.labels, s.Attrs)
			}
		case "http_requests_duration_seconds":
		default: // of a phase: it is a part of the request
			if e.value > lasted+0.001 {
				tr.differs("%s lasted %.4f s, the exemplar of %s says %.4f", x.path, lasted, e.name, e.value)
			}
			continue
		}
		if x.stream == "" && math.Abs(lasted-e.value) > 0.001 {
			tr.differs("%s: a span lasted %.4f s, its exemplar of %s says %.4f", x.path, lasted, e.name, e.value)
		}
		bound, err := strconv.ParseFloat(e.labels["le"], 64)
		if err != nil || e.value > bound {
			tr.differs("%s: an exemplar of %v s is in the bucket up to %s", x.path, e.value, e.labels["le"])
		}
	}
	if len(of) < 5 {
		tr.differs("only these histograms have exemplars: %v", of)
	}
	tr.exemplars = len(all)
}

// HoldTraces goes from the access line of each exchange that must be kept to Jaeger, by the trace id.
func (tr *Truth) HoldTraces(j *parts.Jaeg) {
	for _, x := range tr.entered() {
		reason := x.keptFor()
		if reason == "" {
			continue
		}
		tr.reason(reason).truth++
		line := tr.lines[x]
		if slices.ContainsFunc(j.Trace(line.Text("trace_id")), func(s otlp.Span) bool {
			return s.SpanID == line.Text("span_id") && s.Kind == otlp.Server && s.Attrs["pace.keep.reason"] == reason
		}) {
			tr.reason(reason).jaeger++
		} else {
			tr.differs("%s, kept for %s: Jaeger has no trace %s of its access line", x.path, reason, line.Text("trace_id"))
		}
	}
}
