package observability

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pace/e2e/pacetest"
	"pace/e2e/parts"
	"pace/e2e/port"
)

// truth is what clients, backends and the wire know of one house's part of the mix.
type truth struct {
	*house
	exchanges []*exchange
	attempts  map[*exchange][]attempt // those that reached a backend, in order
	missed    map[string]int          // the others, by address

	requests   table // by method, status, outcome, error.type
	tries      table // attempts, by port, status, error.type
	failovers  table // by reason
	retries    table // by reason
	rejections table // by outcome
}

// table counts things by what they have in common.
type table map[string]float64

func key(words ...any) string {
	text := make([]string, len(words))
	for i, w := range words {
		if text[i] = fmt.Sprint(w); text[i] == "0" {
			text[i] = "" // a status that nobody sent is a label that is not there
		}
	}
	return strings.Join(text, " ")
}

func (v *village) truth(h *house, all []*exchange) *truth {
	tr := &truth{
		house: h, attempts: map[*exchange][]attempt{}, missed: h.missed(),
		requests: table{}, tries: table{}, failovers: table{}, retries: table{}, rejections: table{},
	}
	for _, x := range all {
		if x.house == h {
			tr.exchanges = append(tr.exchanges, x)
			tr.attempts[x] = v.ledger.attempts(x.target)
			tr.count(x)
		}
	}
	for address, n := range tr.missed {
		end := h.closed[address]
		tr.tries[key(port.Of(address), end.status, end.failure)] += float64(n)
		// Each was followed by a failover, but for the last one of an exchange that ended so.
		tr.failovers[end.failure] += float64(n)
	}
	for _, x := range tr.exchanges {
		if len(tr.attempts[x]) == 0 && len(h.closed) > 0 {
			tr.failovers[x.outcome]--
		}
	}
	return tr
}

// count adds what the exchange's client and backends say.
func (tr *truth) count(x *exchange) {
	tr.requests[key(x.knownMethod(), x.status, x.outcome, x.errorType())]++
	if slices.Contains([]string{"rate_limited", "bad_request", "too_large"}, x.outcome) {
		tr.rejections[x.outcome]++
	}
	attempts := tr.attempts[x]
	for i, a := range attempts {
		tr.tries[key(port.Of(a.backend), a.status, a.failure)]++
		switch {
		case i+1 == len(attempts):
		case attempts[i+1].backend != a.backend:
			tr.failovers[a.failure]++
		default:
			tr.retries["stale_connection"]++
		}
	}
}

// knownMethod is the method as labels and attributes have it.
func (x *exchange) knownMethod() string {
	if x.method == "BREW" {
		return "_OTHER"
	}
	return x.method
}

// errorType is the request's error.type.
func (x *exchange) errorType() string {
	switch x.outcome {
	case "ok", "client_error", "upgraded":
		return ""
	case "upstream_error":
		return strconv.Itoa(x.status)
	}
	return x.outcome
}

func (tr *truth) total(t table) (sum float64) {
	for _, n := range t {
		sum += n
	}
	return sum
}

func (tr *truth) String() string {
	return fmt.Sprintf("%d exchanges, %v attempts, failovers %v, retries %v, rejections %v",
		len(tr.exchanges), tr.total(tr.tries), tr.failovers, tr.retries, tr.rejections)
}

// compare reports each count in which two tables differ; one that is absent is 0.
func compare(t *testing.T, what string, got map[string]float64, want table) {
	t.Helper()
	keys := maps.Clone(map[string]float64(want))
	maps.Copy(keys, got)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if got[k] != want[k] {
			t.Errorf("%s %q: got %v, want %v", what, k, got[k], want[k])
		}
	}
}

// fold adds up a table by the first words of its keys.
func (t table) fold(words int) table {
	folded := table{}
	for k, n := range t {
		folded[strings.Join(strings.Split(k, " ")[:words], " ")] += n
	}
	return folded
}

// againstLog holds the access lines to the truth: one an exchange, with its outcome.
func (tr *truth) againstLog(t *testing.T) {
	t.Helper()
	var lines []pacetest.Line
	pacetest.Eventually(t, func() error {
		if lines = tr.Lines("request"); len(lines) < len(tr.exchanges) {
			return fmt.Errorf("%d access lines, want %d", len(lines), len(tr.exchanges))
		}
		return nil
	})
	byOutcome, byTrace := table{}, map[string]pacetest.Line{}
	for _, line := range lines {
		byOutcome[key(line.Text("status"), line.Text("outcome"))]++
		byTrace[line.Text("trace_id")] = line
	}
	want := table{}
	for _, x := range tr.exchanges {
		want[key(x.status, x.outcome)]++
		if line := byTrace[x.trace]; line.Text("path") != x.target && x.method != "CONNECT" || line.Text("client") != x.source {
			t.Errorf("the access line of trace %s is %v, want path %s and client %s", x.trace, line, x.target, x.source)
		}
	}
	compare(t, "access lines", byOutcome, want)
}

// againstPrometheus holds each metric of requests and attempts to the truth.
func (tr *truth) againstPrometheus(t *testing.T, p *parts.Prom) {
	t.Helper()
	ours := fmt.Sprintf("{instance=%q}", tr.Admin)
	p.Wait("sum(http_server_request_duration_seconds_count"+ours+")", func(s []parts.Sample) bool {
		return len(s) == 1 && s[0].Value >= float64(len(tr.exchanges))
	})
	p.Scraped() // once more, so that what is counted too often shows

	compare(t, "http_server_request_duration_seconds", p.By("http_server_request_duration_seconds_count"+ours,
		"http_request_method", "http_response_status_code", "pace_outcome", "error_type"), tr.requests)
	compare(t, "its route and scheme", p.By("http_server_request_duration_seconds_count"+ours, "http_route", "url_scheme"),
		table{"/ http": float64(len(tr.exchanges))})
	compare(t, "pace_requests_total", p.By("pace_requests_total"+ours, "pace_outcome", "http_route"), tr.outcomes())
	compare(t, "pace_client_left_total", table{"": p.Sum("pace_client_left_total" + ours)}, table{"": tr.outcomes()["client_gone /"] + tr.outcomes()["client_aborted /"]})
	// A backend has a request a moment before pace knows that it is sent.
	compare(t, "pace_client_left_total before the response", table{"": p.Sum(fmt.Sprintf(`pace_client_left_total{instance=%q,left_in=~"send|wait"}`, tr.Admin))}, table{"": tr.outcomes()["client_gone /"]})
	compare(t, "its last bucket", p.By(fmt.Sprintf(`http_server_request_duration_seconds_bucket{instance=%q,le="+Inf"}`, tr.Admin),
		"http_request_method", "http_response_status_code"), tr.requests.fold(2))
	compare(t, "http_requests_duration_seconds", p.By("http_requests_duration_seconds_count"+ours, "method", "status"), tr.requests.fold(2))
	compare(t, "http_client_request_duration_seconds", p.By("http_client_request_duration_seconds_count"+ours,
		"server_port", "http_response_status_code", "error_type"), tr.tries)
	compare(t, "pace_failovers_total", p.By("pace_failovers_total"+ours, "reason"), tr.failovers)
	compare(t, "pace_retries_total", p.By("pace_retries_total"+ours, "reason"), tr.retries)
	compare(t, "pace_rejections_total", p.By("pace_rejections_total"+ours, "reason"), tr.rejections)
	compare(t, "pace_overhead_seconds", table{"": p.Sum("pace_overhead_seconds_count" + ours)}, table{"": float64(len(tr.exchanges))})
	streams := tr.upgrades()
	compare(t, "pace_stream_duration_seconds", p.By("pace_stream_duration_seconds_count"+ours, "kind", "pace_close_reason"),
		table{"other client_closed": streams})
	compare(t, "pace_stream_io_bytes_total", p.By("pace_stream_io_bytes_total"+ours, "kind", "direction"),
		table{"other received": streams * float64(len(message)), "other sent": streams * float64(len(message))})
	for _, none := range []string{"pace_spans_dropped_total", "pace_log_dropped_total", "http_server_active_requests", "pace_streams"} {
		if n := p.Sum(none + ours); n != 0 {
			t.Errorf("%s is %v, want 0", none, n)
		}
	}
}

// outcomes counts the exchanges by how they ended, and their route.
func (tr *truth) outcomes() table {
	counts := table{}
	for _, x := range tr.exchanges {
		counts[key(x.outcome, "/")]++
	}
	return counts
}

// upgrades counts the exchanges that became streams.
func (tr *truth) upgrades() (n float64) {
	for k, count := range tr.requests {
		if strings.Contains(k, " upgraded ") {
			n += count
		}
	}
	return n
}
