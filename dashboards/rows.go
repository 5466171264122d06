package dashboards

import (
	"fmt"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/units"

	"pace/telemetry"
	"pace/telemetry/metrics"
)

// row is a strip of panels under a title.
type row struct {
	title  string
	panels []panel
}

// panel is one picture, which answers one question.
type panel struct {
	title   string
	doc     string // what to look for; Grafana shows it at the panel's i
	kind    kind
	unit    string
	width   uint32 // of 24
	queries []query

	stacked   bool
	exemplars bool
	colors    map[string]string // of a legend
	limit     float64           // a figure is red from here on; 0: never
	worst     string            // the column by which a table is sorted, in descending order
	units     map[string]string // of the columns of a table whose unit is not the panel's
}

// kind is how a panel shows its queries.
type kind uint8

const (
	graph  kind = iota // over time
	figure             // as they are now
	table              // as they are now, in columns, with a line for each set of labels
)

// query is an expression and the legend of its series; in a table, the title of its column.
type query struct{ expr, legend string }

// Metrics of the collectors for Go and the process; they are not instruments of pace.
const (
	goroutines   = "go_goroutines"
	heapInUse    = "go_memstats_heap_inuse_bytes"
	gcPause      = "go_gc_duration_seconds" // a summary; its quantile 1 is 1.0 in OpenMetrics
	cpuSeconds   = "process_cpu_seconds_total"
	residentSize = "process_resident_memory_bytes"
	openFiles    = "process_open_fds"
	maxFiles     = "process_max_fds"
	startTime    = "process_start_time_seconds"
)

var (
	requests = metrics.Requests.Name
	attempts = count(metrics.ClientDuration.Name)
	backend  = by(metrics.ServerAddress.Name, metrics.ServerPort.Name)
	at       = perLabel(metrics.ServerAddress.Name, metrics.ServerPort.Name)
)

// overview returns the rows of the dashboard "pace overview", in the order in which someone who is woken
// at three in the morning needs them.
func overview() []row {
	return []row{
		{"At a glance", append([]panel{running(), load()}, append(shares(), slowest(), firing())...)},
		{"Rate", []panel{
			perSecond("Requests by route", requests, metrics.RouteName.Name),
			perSecond("Requests by status", count(metrics.ServerDuration.Name), metrics.Status.Name),
		}},
		{"Errors by side", []panel{errorRates(), errorShares()}},
		{"Duration", []panel{quantiles(), byRoute(), phases(), overhead()}},
		{"Outcomes", []panel{byOutcome(), totals(), clientsLeft()}},
		{"Backends", []panel{backendTable(), backendRate(), backendErrors(), backendDuration(), backendRequests(), backendConnections()}},
		{"Failovers, retries, mirrors", []panel{
			perSecond("Failovers by reason", metrics.Failovers.Name, metrics.Reason.Name),
			perSecond("Retries by reason", metrics.Retries.Name, metrics.Reason.Name),
			perSecond("Mirrored requests dropped", metrics.MirrorDropped.Name, metrics.Reason.Name),
		}},
		{"Turned away", []panel{
			perSecond("Rejections by reason", metrics.Rejections.Name, metrics.Reason.Name),
			perSecond("Refused before the handler", metrics.Refused.Name, metrics.Reason.Name),
			gauge("Limiter keys", units.Short, metrics.LimiterKeys.Name, metrics.Policy.Name),
			perSecond("Limiter keys forgotten too soon", metrics.LimiterEvicted.Name, metrics.Policy.Name),
		}},
		{"Connections", []panel{
			gauge("Client connections", units.Short, metrics.Connections.Name, metrics.State.Name),
			gauge("Active requests", units.Short, metrics.ActiveRequests.Name, metrics.Method.Name),
		}},
		{"TLS", []panel{
			perSecond("Handshakes that failed", metrics.HandshakeFailures.Name, metrics.Reason.Name),
			daysLeft(),
			perSecond("New certificates refused", metrics.CertificateReloadFailures.Name, metrics.Certificate.Name),
		}},
		{"Streams", []panel{
			gauge("Open streams", units.Short, metrics.Streams.Name, metrics.StreamKind.Name),
			perSecond("Streams that ended, by reason", count(metrics.StreamDuration.Name), metrics.CloseReason.Name),
			streamBytes(),
		}},
		{"Configuration", []panel{
			perSecond("Reloads by result", metrics.ConfigReloads.Name, metrics.Result.Name),
			gauge("Last reload succeeded", units.Short, metrics.ConfigSuccessful.Name, instance),
			sinceLoaded(),
		}},
		{"Telemetry's own loss", []panel{
			perSecond("Spans dropped", metrics.SpansDropped.Name, metrics.Reason.Name),
			perSecond("Log lines dropped", metrics.LogDropped.Name, metrics.Reason.Name),
			perSecond("Log records dropped", metrics.LogRecordsDropped.Name, metrics.Reason.Name),
			perSecond("Exports of metrics that failed", metrics.MetricExportsFailed.Name, instance),
			perSecond("Traces kept, by reason", metrics.TracesKept.Name, metrics.Reason.Name),
			perSecond("Interesting traces dropped", metrics.TracesDropped.Name, metrics.Reason.Name),
		}},
		{"Go runtime", []panel{
			gauge("Goroutines", units.Short, goroutines, instance),
			gauge("Heap in use", units.BytesIEC, heapInUse, instance),
			gauge("Resident memory", units.BytesIEC, residentSize, instance),
			longestPause(), cpu(), descriptors(),
		}},
	}
}

// perSecond graphs the rate of a counter for each value of a label. The doc is the instrument's.
func perSecond(title, metric, label string) panel {
	return panel{
		title: title, doc: docOf(metric), unit: units.CountsPerSecond, stacked: true,
		queries: []query{{onScreen.rateBy(by(label), metric), perLabel(label)}},
	}
}

// gauge graphs a gauge for each value of a label.
func gauge(title, unit, metric, label string) panel {
	return panel{
		title: title, doc: docOf(metric), unit: unit,
		queries: []query{{sumBy(by(label), onScreen.series(metric)), perLabel(label)}},
	}
}

// docOf returns telemetry's text about a metric; "" for one that is not pace's own.
func docOf(metric string) string {
	for _, i := range metrics.Instruments() {
		if i.Name == metric || count(i.Name) == metric {
			return i.Doc
		}
	}
	return ""
}

func running() panel {
	return panel{
		title: "Running", doc: "Instances that were scraped, and the version of each.", kind: figure, unit: units.Short, width: 3,
		queries: []query{{aggregate("count", by(metrics.Version.Name), onScreen.series(metrics.BuildInfo.Name)), perLabel(metrics.Version.Name)}},
	}
}

// daysLeft shows when each certificate expires.
func daysLeft() panel {
	return panel{
		title: "Days until a certificate expires", kind: table, unit: units.Days,
		doc:     docOf(metrics.CertificateExpiry.Name),
		queries: []query{{fmt.Sprintf("(%s - time()) / 86400", aggregate("min", by(metrics.Certificate.Name), onScreen.series(metrics.CertificateExpiry.Name))), "days left"}},
	}
}

func sinceLoaded() panel {
	return panel{
		title: "Since the configuration was loaded", doc: docOf(metrics.ConfigSucceededAt.Name), unit: units.Seconds,
		queries: []query{{"time() - " + sumBy(by(instance), onScreen.series(metrics.ConfigSucceededAt.Name)), perLabel(instance)}},
	}
}

func load() panel {
	return panel{
		title: "Requests", doc: "Requests per second in the last 5 minutes, and an hour before.", kind: figure, unit: units.RequestsPerSecond, width: 3,
		queries: []query{
			{recent.rateBy(nil, requests), "now"},
			{before.rateBy(nil, requests), "1 h ago"},
		},
	}
}

// shares returns a figure for each side: the share of requests that it made fail, now and before.
func shares() (list []panel) {
	for _, s := range sides() {
		list = append(list, panel{
			title: "Fault: " + s.title, doc: explain(s.outcomes), kind: figure, unit: units.PercentUnit, width: 3, limit: s.limit,
			queries: []query{{share(recent, s), "now"}, {share(before, s), "1 h ago"}},
		})
	}
	return list
}

// share is the share of all requests that a side made fail. If there is no series, it is zero.
func share(v view, s side) string {
	return fmt.Sprintf("(%s or vector(0)) / %s", v.rateBy(nil, requests, is(metrics.Side.Name, string(s.Side))), v.rateBy(nil, requests))
}

func slowest() panel {
	return panel{
		title: "p99", doc: "99 of 100 requests took no longer than this, in the last 5 minutes.", kind: figure, unit: units.Seconds, width: 3, limit: slow,
		queries: []query{{recent.quantileBy(0.99, nil, metrics.ServerDuration.Name), "p99"}},
	}
}

func firing() panel {
	return panel{
		title: "Alerts", doc: "Firing alerts of pace-rules.yml.", kind: figure, unit: units.Short, width: 3, limit: 1,
		queries: []query{{`count(ALERTS{alertname=~"Pace.*",alertstate="firing",` + job + `=~"$job"}) or vector(0)`, "firing"}},
	}
}

func errorRates() panel {
	p := panel{
		title: "Requests that went wrong, by side", unit: units.CountsPerSecond, stacked: true, colors: map[string]string{},
		doc: "One side causes each outcome. client: sent a request that cannot be served, or left (in the phase wait usually because the backend was slow, see the graph of clients that left). limiter: the client exhausted its quota. pace: an error of its own. backend: failed, or could not be reached.",
	}
	for _, s := range sides() {
		p.colors[s.title] = s.color
		p.queries = append(p.queries, query{onScreen.rateBy(nil, requests, is(metrics.Side.Name, string(s.Side))), s.title})
	}
	return p
}

func errorShares() panel {
	p := errorRates()
	p.title, p.unit, p.stacked = "Share of requests that went wrong, by side", units.PercentUnit, false
	for i, q := range p.queries {
		p.queries[i].expr = q.expr + " / " + onScreen.rateBy(nil, requests)
	}
	return p
}

func quantiles() panel {
	p := panel{
		title: "Duration of requests", unit: units.Seconds, exemplars: true,
		doc: "Each dot is a request; its trace_id leads to Jaeger once the Prometheus data source has an exemplar link of that label to the Jaeger data source. Or put the trace_id into the field above, and see the last row.",
	}
	for _, q := range []float64{0.5, 0.95, 0.99} {
		p.queries = append(p.queries, query{onScreen.quantileBy(q, nil, metrics.ServerDuration.Name), fmt.Sprintf("p%v", 100*q)})
	}
	return p
}

func byRoute() panel {
	return panel{
		title: "p99 by route", unit: units.Seconds, exemplars: true,
		doc:     "99 of 100 requests took no longer than this, for each route.",
		queries: []query{{onScreen.quantileBy(0.99, by(metrics.RouteName.Name), metrics.ServerDuration.Name), perLabel(metrics.RouteName.Name)}},
	}
}

// phases divides the duration of requests into phases. The rest is pace's own time, in the next graph.
func phases() panel {
	return panel{
		title: "Time of a request by phase", unit: units.Seconds, stacked: true, doc: "Mean over the requests of all routes. dns and connect: a connection to the backend is made. wait: the backend works. receive: its response arrives. deliver: the client takes it.",
		queries: []query{{
			fmt.Sprintf("%s / on () group_left () %s",
				onScreen.rateBy(by(metrics.Phase.Name), metrics.PhaseDuration.Name+"_sum"), allRoutes.rateBy(nil, requests)),
			perLabel(metrics.Phase.Name),
		}},
	}
}

func overhead() panel {
	return panel{
		title: "Time in pace itself", unit: units.Seconds, doc: docOf(metrics.Overhead.Name),
		queries: []query{
			{onScreen.quantileBy(0.5, nil, metrics.Overhead.Name), "p50"},
			{onScreen.quantileBy(0.99, nil, metrics.Overhead.Name), "p99"},
		},
	}
}

func streamBytes() panel {
	p := perSecond("Bytes of streams", metrics.StreamBytes.Name, metrics.Direction.Name)
	p.unit, p.stacked = units.BytesPerSecondIEC, false
	return p
}

// happened leaves out the outcomes that no request had. Their counters exist from the start.
const happened = " > 0"

func byOutcome() panel {
	p := perSecond("Requests by outcome", requests, metrics.Outcome.Name)
	p.doc = explain(telemetry.Outcomes())
	p.queries[0].expr += happened
	return p
}

func totals() panel {
	o := metrics.Outcome.Name
	return panel{
		title: "Outcomes in the time shown", kind: table, unit: units.Short, worst: "requests",
		doc: "Requests by outcome, counted over the whole time shown.",
		queries: []query{{
			sumBy(by(o), fmt.Sprintf("increase(%s[$__range])", onScreen.series(requests))) + happened, "requests",
		}},
	}
}

// explain lists outcomes with cause and remedy, in Markdown.
func explain(outcomes []telemetry.OutcomeInfo) string {
	var b strings.Builder
	for _, o := range outcomes {
		fmt.Fprintf(&b, "- **%s**: %s. *%s.*\n", o.Word, o.Cause, o.Remedy)
	}
	return b.String()
}

func clientsLeft() panel {
	p := perSecond("Clients that left, by phase", metrics.ClientLeft.Name, metrics.LeftIn.Name)
	p.queries[0].expr += happened
	p.doc = "Requests whose client left before it had the whole response (client_gone, client_aborted). wait: no response had begun; a slow backend is the usual cause, so compare the client's timeout with p99. connect, dns, send: the backend could not be reached in time. receive: the backend was slow in its response. read_request: the client left during its upload. deliver: the client left while it received the response."
	return p
}

func backendTable() panel {
	return panel{
		title: "Backends now", kind: table, unit: units.Short, width: 24, worst: "failed",
		doc:   "The last 5 minutes, worst first.",
		units: map[string]string{"failed": units.PercentUnit, "p50": units.Seconds, "p99": units.Seconds},
		queries: []query{
			{recent.rateBy(backend, attempts), "attempts/s"},
			{failed(recent) + " / " + recent.rateBy(backend, attempts), "failed"},
			{recent.quantileBy(0.5, backend, metrics.ClientDuration.Name), "p50"},
			{recent.quantileBy(0.99, backend, metrics.ClientDuration.Name), "p99"},
		},
	}
}

// failed is the rate of attempts that failed or got a 5xx, for each backend; 0 if there were none.
func failed(v view) string {
	all := v.rateBy(backend, attempts)
	return fmt.Sprintf("(%s or %s * 0)", v.rateBy(backend, attempts, failing()), all)
}

// failing matches attempts without a response or with a 5xx.
func failing() string {
	words := make([]string, 0, 8)
	for _, o := range outcomesOf(telemetry.BackendSide) {
		words = append(words, o.Word)
	}
	return fmt.Sprintf("%s=~%q", metrics.ErrorType.Name, strings.Join(append(words, "5.."), "|"))
}

func backendRate() panel {
	return panel{
		title: "Attempts by backend", unit: units.CountsPerSecond, width: 8, doc: docOf(attempts),
		queries: []query{{onScreen.rateBy(backend, attempts), at}},
	}
}

func backendErrors() panel {
	e := metrics.ErrorType.Name
	return panel{
		title: "Attempts that failed, by backend and error", unit: units.CountsPerSecond, width: 8, stacked: true,
		doc:     "Attempts without a response, or with a 5xx.",
		queries: []query{{onScreen.rateBy(append(backend, e), attempts, failing()), at + " " + perLabel(e)}},
	}
}

func backendDuration() panel {
	return panel{
		title: "p99 by backend", unit: units.Seconds, width: 8, exemplars: true, doc: docOf(attempts),
		queries: []query{{onScreen.quantileBy(0.99, backend, metrics.ClientDuration.Name), at}},
	}
}

func backendRequests() panel {
	m := metrics.BackendRequests.Name
	return panel{
		title: "Requests in flight by backend", unit: units.Short, width: 12, doc: docOf(m),
		queries: []query{{sumBy(backend, onScreen.series(m)), at}},
	}
}

func backendConnections() panel {
	m, state := metrics.BackendConnections.Name, metrics.State.Name
	return panel{
		title: "Connections by backend", unit: units.Short, width: 12, doc: docOf(m),
		queries: []query{{sumBy(append(backend, state), onScreen.series(m)), at + " " + perLabel(state)}},
	}
}

func longestPause() panel {
	return panel{
		title: "Longest GC pause", unit: units.Seconds, doc: "The longest pause among the last collections that Go remembers.",
		queries: []query{{aggregate("max", by(instance), onScreen.series(gcPause)), perLabel(instance)}},
	}
}

func cpu() panel {
	return panel{
		title: "CPU", unit: units.Short, doc: "Cores in use.",
		queries: []query{{onScreen.rateBy(by(instance), cpuSeconds), perLabel(instance)}},
	}
}

func descriptors() panel {
	return panel{
		title: "File descriptors", unit: units.PercentUnit, doc: "Open descriptors as a share of their limit; at 100 % no client can connect.",
		queries: []query{{
			sumBy(by(instance), onScreen.series(openFiles)) + " / " + sumBy(by(instance), onScreen.series(maxFiles)), perLabel(instance),
		}},
	}
}
