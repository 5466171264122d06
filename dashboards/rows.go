package dashboards

import (
	"fmt"
	"slices"
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
	height  uint32 // of a table; 0: that of a graph
	queries []query

	stacked   bool
	exemplars bool
	colors    map[string]string // of a legend
	shades    []shade           // of legends that mean the same
	limit     float64           // a figure is red from here on, otherwise green; 0: it is neither
	worst     string            // the column by which a table is sorted, in descending order
	columns   map[string]column // of a table, by the legend of a query or by a label
}

// shade gives the legends that a regular expression matches as a whole shades of one colour.
type shade struct{ pattern, color string }

// column is how a table shows a query or a label.
type column struct {
	title string  // "": the legend, or the name of the label
	unit  string  // "": none
	limit float64 // a value is red from here on, otherwise green; 0: it is neither
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
	at       = perLabel(metrics.ServerAddress.Name) + ":" + perLabel(metrics.ServerPort.Name)
)

// each is the unit of what happens so many times per second.
const each = "suffix:/s"

// overview returns the rows of the dashboard "pace overview", in the order in which someone who is woken
// at three in the morning needs them.
func overview() []row {
	return []row{
		{"Is it well? If not, who is the cause?", append(append([]panel{firing()}, shares()...), slowest(), load(), running())},
		{"What went wrong", []panel{errorRates(), errorShares(), totals()}},
		{"Rate", []panel{byRoute(), byStatus(), byOutcome(), failedCalls()}},
		{"Duration", []panel{quantiles(), slowestByRoute(), phases(), overhead()}},
		{"Backends", []panel{backendTable(), backendRate(), backendErrors(), backendDuration(), backendRequests(), backendConnections()}},
		{"States of backends", []panel{
			backendsUp(),
			perSecond("Changes of state, by the new one", metrics.BackendTransitions.Name, metrics.To.Name),
			perSecond("Picks in panic", metrics.PanicPicks.Name, metrics.Upstream.Name),
		}},
		{"Failovers and retries", []panel{
			perSecond("Failovers by reason", metrics.Failovers.Name, metrics.Reason.Name),
			perSecond("Retries by reason", metrics.Retries.Name, metrics.Reason.Name),
			lost("Requests over the budget of further attempts", metrics.BudgetExhausted.Name, metrics.Upstream.Name),
		}},
		{"Mirrors and checks", []panel{
			lost("Mirrored requests dropped", metrics.MirrorDropped.Name, metrics.Reason.Name),
			perSecond("Checks of backends, by result", metrics.HealthChecks.Name, metrics.Result.Name),
		}},
		{"Turned away", []panel{
			perSecond("Rejections by reason", metrics.Rejections.Name, metrics.Reason.Name),
			perSecond("Refused requests and connections", metrics.Refused.Name, metrics.Reason.Name),
			gauge("Limiter keys", units.Short, metrics.LimiterKeys.Name, metrics.Policy.Name),
			perSecond("Limiter keys forgotten too soon", metrics.LimiterEvicted.Name, metrics.Policy.Name),
		}},
		{"Clients", []panel{
			gauge("Client connections", units.Short, metrics.Connections.Name, metrics.State.Name),
			gauge("Active requests", units.Short, metrics.ActiveRequests.Name, metrics.Method.Name),
			clientsLeft(),
		}},
		{"TLS, and versions of HTTP", []panel{
			perSecond("Requests by version of HTTP", metrics.ProtocolRequests.Name, metrics.Protocol.Name),
			perSecond("Handshakes by version", metrics.Handshakes.Name, metrics.TLSVersion.Name),
			lost("Handshakes that failed", metrics.HandshakeFailures.Name, metrics.Reason.Name),
			daysLeft(),
			lost("New certificates refused", metrics.CertificateReloadFailures.Name, metrics.Certificate.Name),
			lost("Certificates not got by ACME", metrics.ACMEFailures.Name, instance),
		}},
		{"Streams", []panel{
			gauge("Open streams", units.Short, metrics.Streams.Name, metrics.StreamKind.Name),
			perSecond("Streams that ended, by reason", count(metrics.StreamDuration.Name), metrics.CloseReason.Name),
			streamBytes(),
		}},
		{"Configuration", []panel{
			reloads(),
			gauge("Last reload succeeded", units.Short, metrics.ConfigSuccessful.Name, instance),
			sinceLoaded(),
		}},
		{"Traces kept, and telemetry lost", []panel{
			perSecond("Traces kept, by reason", metrics.TracesKept.Name, metrics.Reason.Name),
			lost("Interesting traces dropped", metrics.TracesDropped.Name, metrics.Reason.Name),
			lost("Spans dropped", metrics.SpansDropped.Name, metrics.Reason.Name),
			lost("Log lines dropped", metrics.LogDropped.Name, metrics.Reason.Name),
			lost("Log records dropped", metrics.LogRecordsDropped.Name, metrics.Reason.Name),
			lost("Exports of metrics that failed", metrics.MetricExportsFailed.Name, instance),
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
		title: title, doc: docOf(metric), unit: each, stacked: true,
		queries: []query{{onScreen.rateBy(by(label), metric), perLabel(label)}},
	}
}

// lost is perSecond of what should not happen.
func lost(title, metric, label string) panel {
	p := perSecond(title, metric, label)
	p.shades = []shade{{".*", "red"}}
	return p
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
		title: "Instances", doc: "Instances that were scraped, and the version of each.", kind: figure, unit: units.Short, width: 3,
		queries: []query{{aggregate("count", by(metrics.Version.Name), onScreen.series(metrics.BuildInfo.Name)), perLabel(metrics.Version.Name)}},
	}
}

// daysLeft shows when each certificate expires.
func daysLeft() panel {
	return panel{
		title: "Days until a certificate expires", kind: table,
		doc:     docOf(metrics.CertificateExpiry.Name),
		columns: map[string]column{"days left": {unit: units.Days}},
		queries: []query{{fmt.Sprintf("(%s - time()) / 86400", aggregate("min", by(metrics.Certificate.Name), onScreen.series(metrics.CertificateExpiry.Name))), "days left"}},
	}
}

func reloads() panel {
	p := perSecond("Reloads by result", metrics.ConfigReloads.Name, metrics.Result.Name)
	p.shades = []shade{{"applied", "green"}, {"unchanged", "blue"}, {"refused", "red"}}
	return p
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
	for _, s := range slices.Backward(sides()) {
		list = append(list, panel{
			title: "Failed by " + s.title, doc: explain(s.outcomes), kind: figure, unit: units.PercentUnit, width: 3, limit: s.limit,
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
		title: "Requests that went wrong, by side", unit: units.RequestsPerSecond, stacked: true, colors: map[string]string{},
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
		title: "Duration of requests", unit: units.Seconds, exemplars: true, colors: quantileColors,
		doc: "Each dot is a request; its trace_id leads to Jaeger once the Prometheus data source has an exemplar link of that label to the Jaeger data source. Or put the trace_id into the field above, and see the last row.",
	}
	for _, q := range []float64{0.5, 0.95, 0.99} {
		p.queries = append(p.queries, query{onScreen.quantileBy(q, nil, metrics.ServerDuration.Name), fmt.Sprintf("p%v", 100*q)})
	}
	return p
}

// quantileColors are those of quantiles by their legend.
var quantileColors = map[string]string{"p50": "green", "p95": "yellow", "p99": "orange"}

func slowestByRoute() panel {
	return panel{
		title: "p99 by route", unit: units.Seconds, exemplars: true,
		doc:     "99 of 100 requests took no longer than this, for each route.",
		queries: []query{{ofRoute(onScreen.quantileBy(0.99, by(metrics.RouteName.Name), metrics.ServerDuration.Name)), perLabel(metrics.RouteName.Name)}},
	}
}

// ofRoute names the route of requests that had none, because Grafana would call their series "Value".
func ofRoute(expr string) string {
	return fmt.Sprintf(`label_replace(%s, %q, "no route", %[2]q, "")`, expr, metrics.RouteName.Name)
}

// phases divides the duration of requests into phases. The rest is pace's own time, in the next graph.
func phases() panel {
	return panel{
		title: "Time of a request by phase", unit: units.Seconds, stacked: true, doc: "Mean over the requests of all routes. dns, connect and tls: a connection to the backend is made. wait: the backend works. receive: its response arrives. deliver: the client takes it.",
		queries: []query{{
			fmt.Sprintf("%s / on () group_left () %s",
				onScreen.rateBy(by(metrics.Phase.Name), metrics.PhaseDuration.Name+"_sum"), allRoutes.rateBy(nil, requests)),
			perLabel(metrics.Phase.Name),
		}},
	}
}

func overhead() panel {
	return panel{
		title: "Time in pace itself", unit: units.Seconds, colors: quantileColors, doc: docOf(metrics.Overhead.Name),
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

// requestsBy graphs the rate of requests for each value of a label that occurred.
func requestsBy(title, metric, label string) panel {
	p := perSecond(title, metric, label)
	p.unit = units.RequestsPerSecond
	p.queries[0].expr += happened
	return p
}

func byRoute() panel {
	p := requestsBy("Requests by route", requests, metrics.RouteName.Name)
	p.queries[0].expr = ofRoute(p.queries[0].expr)
	return p
}

func byStatus() panel {
	p := requestsBy("Requests by status", count(metrics.ServerDuration.Name), metrics.Status.Name)
	p.shades = []shade{{"1..", "purple"}, {"2..", "green"}, {"3..", "blue"}, {"4..", "yellow"}, {"5..", "red"}}
	return p
}

// byOutcome stacks the failures on top of what went well.
func byOutcome() panel {
	o := metrics.Outcome.Name
	p := requestsBy("Requests by outcome", requests, o)
	p.queries = nil
	for _, operator := range []string{"=", "!="} {
		expr := onScreen.rateBy(by(o), requests, fmt.Sprintf("%s%s%q", metrics.Side.Name, operator, telemetry.NoSide))
		p.queries = append(p.queries, query{expr + happened, perLabel(o)})
	}
	p.doc = explain(telemetry.Outcomes())
	p.shades = []shade{{".*", "green"}}
	for _, s := range sides() {
		p.shades = append(p.shades, shade{"(" + words(s.outcomes) + ")", s.color})
	}
	return p
}

func totals() panel {
	o := metrics.Outcome.Name
	return panel{
		title: "Outcomes in the time shown", kind: table, worst: "requests",
		doc:     "Requests by outcome, counted over the whole time shown.",
		columns: map[string]column{o: {title: "outcome"}, "requests": {unit: units.Short}},
		queries: []query{{
			fmt.Sprintf("round(%s)", sumBy(by(o), fmt.Sprintf("increase(%s[$__range])", onScreen.series(requests)))) + happened, "requests",
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
	p.doc = "Requests whose client left before it had the whole response (client_gone, client_aborted). wait: no response had begun; a slow backend is the usual cause, so compare the client's timeout with p99. connect, tls, dns, send: the backend could not be reached in time. receive: the backend was slow in its response. read_request: the client left during its upload. deliver: the client left while it received the response."
	return p
}

func backendTable() panel {
	return panel{
		title: "Backends now", kind: table, width: 24, height: 6, worst: "failed",
		doc: "The last 5 minutes, worst first.",
		columns: map[string]column{
			metrics.ServerAddress.Name: {title: "backend"}, metrics.ServerPort.Name: {title: "port"}, "attempts": {unit: each},
			"failed": {unit: units.PercentUnit, limit: backendLimit}, "p50": {unit: units.Seconds}, "p99": {unit: units.Seconds, limit: slow},
		},
		queries: []query{
			{recent.rateBy(backend, attempts), "attempts"},
			{failed(recent) + " / " + recent.rateBy(backend, attempts), "failed"},
			{recent.quantileBy(0.5, backend, metrics.ClientDuration.Name), "p50"},
			{recent.quantileBy(0.99, backend, metrics.ClientDuration.Name), "p99"},
		},
	}
}

// failed is the rate of attempts that failed, got a 5xx, or a gRPC code of side backend, for each backend; 0 if
// there were none.
func failed(v view) string {
	all := v.rateBy(backend, attempts)
	return fmt.Sprintf("(%s or %s * 0)", v.rateBy(backend, attempts, failing()), all)
}

// failing matches attempts without a response, with a 5xx, or with a gRPC code of side backend.
func failing() string {
	return fmt.Sprintf("%s=~%q", metrics.ErrorType.Name, words(outcomesOf(telemetry.BackendSide))+"|5..|"+codes(telemetry.GRPCCode.Faulty))
}

// codes matches the names of the codes of gRPC that are so.
func codes(are func(telemetry.GRPCCode) bool) string {
	var names []string
	for _, c := range telemetry.GRPCCodes() {
		if are(c) {
			names = append(names, c.String())
		}
	}
	return strings.Join(names, "|")
}

// failedCalls shows the calls of gRPC that ended with another code than OK, first those of side backend.
func failedCalls() panel {
	e := metrics.ErrorType.Name
	p := panel{
		title: "gRPC calls that failed, by code", unit: units.RequestsPerSecond, stacked: true,
		doc:    "Calls that ended with another code than OK, be it from a backend or from pace. The red ones are of side backend, and count against the backend that sent them; the others are of side client.",
		shades: []shade{{codes(telemetry.GRPCCode.Faulty), "red"}, {".*", "yellow"}},
	}
	for _, are := range []func(telemetry.GRPCCode) bool{telemetry.GRPCCode.Faulty, ofClientSide} {
		of := onScreen.rateBy(by(e), count(metrics.ServerDuration.Name), fmt.Sprintf("%s=~%q", e, codes(are)))
		p.queries = append(p.queries, query{of + happened, perLabel(e)})
	}
	return p
}

func ofClientSide(c telemetry.GRPCCode) bool { return !c.Faulty() && c != telemetry.GRPCOK }

func backendRate() panel {
	return panel{
		title: "Attempts by backend", unit: each, width: 8, doc: docOf(attempts),
		queries: []query{{onScreen.rateBy(backend, attempts), at}},
	}
}

func backendErrors() panel {
	e := metrics.ErrorType.Name
	return panel{
		title: "Attempts that failed, by backend and error", unit: each, width: 8, stacked: true,
		doc:     "Attempts without a response, with a 5xx, or with a gRPC code of side backend.",
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

func backendsUp() panel {
	upstream := metrics.Upstream.Name
	return panel{
		title: "Backends that may be picked", unit: units.Short, doc: docOf(metrics.BackendUp.Name),
		queries: []query{{sumBy(append(by(upstream), backend...), onScreen.series(metrics.BackendUp.Name)), perLabel(upstream) + " " + at}},
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
