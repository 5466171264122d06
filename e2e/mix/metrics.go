package mix

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"

	"pace/e2e/pacetest"
	"pace/e2e/parts"
	"pace/e2e/port"
)

// Metrics is the source from which the metrics of the houses are read.
type Metrics interface {
	// by adds up a metric's series by the values of the labels, joined by a space. Of a histogram,
	// NAME_count and NAME_bucket can be asked for; of its buckets the last one is meant.
	by(h *house, name string, labels ...string) Table
	// refresh makes by say what holds after the call.
	refresh()
}

// FromPrometheus reads the metrics from a Prometheus that scrapes the houses.
func FromPrometheus(p *parts.Prom) Metrics { return prometheus{p} }

type prometheus struct{ *parts.Prom }

func (p prometheus) by(h *house, name string, labels ...string) Table {
	last := ""
	if strings.HasSuffix(name, "_bucket") {
		last = `,le="+Inf"`
	}
	// A series whose last scrape took too long is stale. What the scrape before it said is what the test waited for.
	return p.By(fmt.Sprintf("last_over_time(%s{instance=%q%s}[5m])", name, h.Admin, last), labels...)
}

func (p prometheus) refresh() { p.Scraped() }

// FromPages reads the metrics from each pace's own page.
func FromPages() Metrics { return pages{} }

type pages struct{}

func (pages) by(h *house, name string, labels ...string) Table {
	sums, m := Table{}, h.Metrics()
	read := func(s *dto.Metric) float64 { return s.GetCounter().GetValue() + s.GetGauge().GetValue() }
	family := m[name]
	if base, is := strings.CutSuffix(name, "_count"); is {
		family, read = m[base], func(s *dto.Metric) float64 { return float64(s.GetHistogram().GetSampleCount()) }
	} else if base, is := strings.CutSuffix(name, "_bucket"); is {
		family, read = m[base], func(s *dto.Metric) float64 {
			buckets := s.GetHistogram().GetBucket()
			return float64(buckets[len(buckets)-1].GetCumulativeCount())
		}
	}
	for _, s := range family.GetMetric() {
		values := make([]string, len(labels))
		for i, label := range labels {
			values[i] = pacetest.Label(s, label)
		}
		sums[strings.Join(values, " ")] += read(s)
	}
	return sums
}

func (pages) refresh() {}

// HoldMetrics holds each metric of requests, attempts and streams to the truth.
func (tr *Truth) HoldMetrics(m Metrics) {
	for _, name := range slices.Sorted(maps.Keys(tr.houses)) {
		ac := tr.houses[name]
		// At most 100 ms after a client has seen the end of its response the request is counted.
		pacetest.Eventually(tr.t, func() error {
			if n, known := m.by(ac.house, "http_server_active_requests")[""]; !known || n != float64(len(ac.flying)) {
				return fmt.Errorf("%s: %v requests are active (known: %t), want %d", name, n, known, len(ac.flying))
			}
			return nil
		})
	}
	for _, ac := range tr.houses {
		want := 0.0
		for _, n := range ac.keptBy() {
			want += n
		}
		pacetest.Eventually(tr.t, func() error { // the collector has to accept them first
			kept, dropped := m.by(ac.house, "pace_traces_kept_total")[""], m.by(ac.house, "pace_traces_dropped_total")[""]
			if kept+dropped < want {
				return fmt.Errorf("%s: %v traces are kept and %v dropped, want %v", ac.name, kept, dropped, want)
			}
			return nil
		})
	}
	m.refresh() // once more, so that what is counted too often shows
	for _, name := range slices.Sorted(maps.Keys(tr.houses)) {
		tr.holdMetrics(m, tr.houses[name])
	}
}

func (tr *Truth) holdMetrics(m Metrics, ac *account) {
	of := func(name string, labels ...string) Table { return m.by(ac.house, name, labels...) }
	hold := func(name string, want Table, labels ...string) {
		tr.compare(ac.name+": "+name, of(name, labels...), want)
	}
	ac.settleBroken(of("http_client_request_duration_seconds_count", "server_port", "error_type"))
	ac.settleRetries(of("pace_retries_total")[""])
	n := float64(len(ac.exchanges))
	served := of("http_server_request_duration_seconds_count", "http_request_method", "http_response_status_code", "pace_outcome", "error_type", "http_route", "pace_route", "url_scheme")
	tr.compare(ac.name+": http_server_request_duration_seconds", served, ac.requests)
	tr.compare(ac.name+": its last bucket", of("http_server_request_duration_seconds_bucket", "http_request_method", "http_response_status_code"),
		ac.requests.fold(0, 1))
	kept := of("pace_traces_kept_total", "reason")
	tr.compare(ac.name+": pace_traces_kept_total", kept, ac.keptBy())
	for reason, n := range kept {
		tr.reason(reason).counter += int(n)
	}
	hold("pace_traces_dropped_total", Table{}, "reason")
	hold("pace_requests_total", ac.bySide(), "pace_outcome", "pace_side", "http_route", "pace_route")
	tr.compare(ac.name+": pace_client_left_total", leftBy(of("pace_client_left_total", "left_in")), ac.left)
	hold("http_requests_duration_seconds_count", ac.requests.fold(0, 1), "method", "status")
	tr.compare(ac.name+": its last bucket", of("http_requests_duration_seconds_bucket", "method", "status"), ac.requests.fold(0, 1))
	tr.compare(ac.name+": pace_overhead_seconds", of("pace_overhead_seconds_count"), Table{"": n})
	tr.holdTries(of("http_client_request_duration_seconds_count", "http_request_method", "server_port", "http_response_status_code", "error_type", "pace_upstream"), ac.tries, ac)
	hold("pace_failovers_total", ac.failovers, "pace_upstream", "reason")
	hold("pace_retries_total", ac.retries, "pace_upstream", "reason")
	hold("pace_rejections_total", ac.rejections, "reason", "http_route", "pace_route")
	hold("pace_refused_total", ac.refused, "reason")
	hold("pace_stream_duration_seconds_count", ac.streams, "kind", "pace_close_reason")
	hold("pace_stream_io_bytes_total", ac.bytes, "kind", "direction")
	hold("pace_streams", Table{}, "kind")
	hold("pace_protocol_requests_total", ac.protocols, "network_protocol_version")
	hold("pace_tls_handshakes_total", Table{"1.3": float64(ac.handshakes.Load())}, "tls_protocol_version")
	hold("pace_tls_handshake_failures_total", Table{}, "reason")
	// Now, because the exchange in flight, when it ends, may be the trial that lets a backend in again.
	hold("pace_backend_transitions_total", ac.changes(), "server_port", "to")
	hold("pace_panic_picks_total", Table{}, "pace_upstream")
	hold("pace_spans_dropped_total", Table{}, "reason")
	hold("pace_log_dropped_total", Table{}, "reason")
	if ac.quota > 0 {
		hold("pace_limiter_keys", Table{"default": float64(ac.sources())}, "policy")
	}
	for k, n := range served {
		outcome := strings.Split(k, " ")[2]
		tr.row(outcome).metrics += int(n)
	}
}

// holdTries compares attempts. Of those that no backend saw the method is not known, so all at a port
// are compared without it.
func (tr *Truth) holdTries(got map[string]float64, want Table, ac *account) {
	unseen := Table{}
	for k, n := range ac.missed {
		address, failure, _ := strings.Cut(k, " ")
		unseen[Key(port.Of(address), "", failure, "default")] += float64(n)
	}
	if len(unseen) == 0 {
		tr.compare(ac.name+": http_client_request_duration_seconds", got, want)
		return
	}
	folded := want.fold(1, 2, 3, 4)
	for k, n := range unseen {
		folded[k] += n
	}
	tr.compare(ac.name+": http_client_request_duration_seconds", Table(got).fold(1, 2, 3, 4), folded)
}

// sources counts the addresses that have asked the limiter.
func (ac *account) sources() int {
	seen := map[string]bool{}
	for _, x := range slices.Concat(ac.exchanges, ac.flying) {
		// What cannot be proxied at all is turned away before.
		if outcome, _ := x.ends(); outcome == "draining" || x.name == "connect" || x.name == "large" {
			continue
		}
		seen[x.source] = true
	}
	return len(seen)
}
