package metrics

import (
	"github.com/prometheus/otlptranslator"

	"pace/telemetry"
)

// Kind is what a metric family is in Prometheus.
type Kind string

// The kinds.
const (
	Histogram Kind = "histogram"
	Counter   Kind = "counter"
	Gauge     Kind = "gauge"
)

// Instrument is one metric family that pace publishes.
type Instrument struct {
	Name   string // of Prometheus, derived from Key
	Key    string // of OpenTelemetry
	Type   Kind
	Unit   string // of OpenTelemetry, "" none
	Labels []Label
	Doc    string
	Bounds []float64 // of a histogram
}

// Label is one label of a metric family.
type Label struct {
	Name  string   // of Prometheus, derived from Key
	Key   string   // of OpenTelemetry
	Words []string // all that its value can be, in the order of the docs; nil: the list is not closed
}

// of returns the label with a closed list of words.
func (l Label) of(words []string) Label {
	l.Words = words
	return l
}

// LabelNames are the Prometheus names of the labels, in their order.
func (i Instrument) LabelNames() (names []string) {
	for _, l := range i.Labels {
		names = append(names, l.Name)
	}
	return names
}

// strategy derives the names of Prometheus from those of OpenTelemetry, here and at a scrape.
var strategy = otlptranslator.UnderscoreEscapingWithSuffixes

var translated = map[Kind]otlptranslator.MetricType{
	Histogram: otlptranslator.MetricTypeHistogram,
	Counter:   otlptranslator.MetricTypeMonotonicCounter,
	Gauge:     otlptranslator.MetricTypeGauge,
}

// named returns i with the name that it has in a scrape.
func named(i Instrument) Instrument {
	namer := otlptranslator.NewMetricNamer("", strategy)
	i.Name = must(namer.Build(otlptranslator.Metric{Name: i.Key, Unit: i.Unit, Type: translated[i.Type]}))
	return i
}

func label(key string) Label {
	var namer otlptranslator.LabelNamer
	return Label{Name: must(namer.Build(key)), Key: key}
}

func must(name string, err error) string {
	if err != nil {
		panic("pace: BUG: " + err.Error())
	}
	return name
}

// The labels. Expressions of dashboards and rules take their names from here.
var (
	Method        = label("http.request.method")
	Scheme        = label("url.scheme")
	Status        = label("http.response.status_code")
	Route         = label("http.route")
	RouteName     = label("pace.route")
	Outcome       = label("pace.outcome")
	Side          = label("pace.side")
	LeftIn        = label("left_in")
	ErrorType     = label("error.type")
	ServerAddress = label("server.address")
	ServerPort    = label("server.port")
	Upstream      = label("pace.upstream")
	Reason        = label("reason")
	Result        = label("result")
	State         = label("state")
	Policy        = label("policy")
	Certificate   = label("certificate")
	TLSVersion    = label("tls.protocol.version")
	Protocol      = label("network.protocol.version")
	Phase         = label("phase")
	StreamKind    = label("kind")
	CloseReason   = label("pace.close_reason")
	Direction     = label("direction")
	To            = label("to")
	Version       = label("version")
	GoVersion     = label("goversion")

	olderMethod, olderStatus = label("method"), label("status") // the older proxy's names
)

// The lists of words that several rows share.
var (
	outcomeWords = telemetry.WordsOf(telemetry.Outcomes())
	sideWords    = sides()
	kindWords    = words(telemetry.NoStream+1, telemetry.StreamKinds)
	phaseWords   = words(telemetry.Own, telemetry.PhaseCount)
)

// The instruments that records are written to, in the order of the docs.
var (
	OlderDuration = named(Instrument{
		Key: "http.requests.duration", Type: Histogram, Unit: "s",
		Labels: []Label{olderMethod, olderStatus}, Doc: "Duration of requests, under the older proxy's name. An unknown method is _OTHER.",
		Bounds: []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5},
	})
	ServerDuration = named(Instrument{
		Key: "http.server.request.duration", Type: Histogram, Unit: "s",
		Labels: serverLabels(), Doc: "Duration of requests, from the request header to the end of the response.", Bounds: semconvBounds,
	})
	ClientDuration = named(Instrument{
		Key: "http.client.request.duration", Type: Histogram, Unit: "s",
		Labels: labelsOf(attemptLabels), Doc: "Duration of attempts at a backend, one for each attempt, from its pick to its end.", Bounds: semconvBounds,
	})
	PhaseDuration = named(Instrument{
		Key: "pace.phase.duration", Type: Histogram, Unit: "s",
		Labels: []Label{Phase.of(phaseWords[1:])}, Doc: "Time that requests spent in each phase. A backend's name is resolved in dns; a backend that is named by its address never enters it.", Bounds: tallyBounds,
	})
	Overhead = named(Instrument{
		Key: "pace.overhead", Type: Histogram, Unit: "s",
		Doc: "Time that requests spent in pace itself, outside the phases.", Bounds: tallyBounds,
	})
	StreamDuration = named(Instrument{
		Key: "pace.stream.duration", Type: Histogram, Unit: "s",
		Labels: []Label{StreamKind.of(kindWords), CloseReason.of(words(telemetry.NotClosed+1, telemetry.CloseReasons))},
		Doc:    "Duration of streams, from the response header to the end.",
		Bounds: []float64{0.1, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400},
	})
	Failovers = named(Instrument{
		Key: "pace.failovers", Type: Counter, Unit: "{failover}",
		Labels: []Label{Upstream, Reason.of(telemetry.FailoverReasons())},
		Doc:    "Attempts that failed, or whose response had such a status, and were followed by one at another backend.",
	})
	Retries = named(Instrument{
		Key: "pace.retries", Type: Counter, Unit: "{retry}",
		Labels: []Label{Upstream, Reason.of(telemetry.RetryReasons())},
		Doc:    "Attempts that failed on a stale connection, or that the backend had not processed, and were followed by one on a new connection to the same backend.",
	})
	BudgetExhausted = named(Instrument{
		Key: "pace.retry.budget_exhausted", Type: Counter, Unit: "{request}",
		Labels: []Label{Upstream},
		Doc:    "Requests that ended because the budget of their upstream allowed no further attempt.",
	})
	Rejections = named(Instrument{
		Key: "pace.rejections", Type: Counter, Unit: "{request}",
		Labels: []Label{Reason.of(telemetry.WordsOf(telemetry.Rejections())), Route, RouteName},
		Doc:    "Requests that pace rejected on purpose, by outcome.",
	})
	Requests = named(Instrument{
		Key: "pace.requests", Type: Counter, Unit: "{request}",
		Labels: []Label{Outcome.of(outcomeWords), Side.of(sideWords), Route, RouteName}, Doc: "Requests, by outcome and by the side that caused it. Every word and every route is there at 0 from the start.",
	})
	ClientLeft = named(Instrument{
		Key: "pace.client.left", Type: Counter, Unit: "{request}",
		Labels: []Label{LeftIn.of(phaseWords), Route, RouteName},
		Doc:    "Requests whose client left before it had the whole response, by the phase in which it left. Clients that leave in wait have usually timed out because the backend is slow.",
	})
)

// The instruments of state. They are read at each scrape: see [stateInstruments].
var (
	ActiveRequests = named(Instrument{
		Key: "http.server.active_requests", Type: Gauge, Unit: "{request}",
		Labels: []Label{Method, Scheme}, Doc: "Requests in progress.",
	})
	Refused = named(Instrument{
		Key: "pace.refused", Type: Counter, Unit: "{request}",
		Labels: []Label{Reason.of(telemetry.RefusalWords())},
		Doc:    "Requests and connections that pace refused before it looked for a route; they are in no other metric.",
	})
	Handshakes = named(Instrument{
		Key: "pace.tls.handshakes", Type: Counter, Unit: "{handshake}",
		Labels: []Label{TLSVersion.of(telemetry.HandshakeVersions())},
		Doc:    "TLS handshakes with clients that were completed, those that resume a session included.",
	})
	ProtocolRequests = named(Instrument{
		Key: "pace.protocol.requests", Type: Counter, Unit: "{request}",
		Labels: []Label{Protocol.of(protocols[:])}, Doc: "Requests, by the version of HTTP that the client used.",
	})
	HandshakeFailures = named(Instrument{
		Key: "pace.tls.handshake.failures", Type: Counter, Unit: "{handshake}",
		Labels: []Label{Reason.of(telemetry.HandshakeFailureWords())},
		Doc:    "TLS handshakes with clients that failed.",
	})
	CertificateExpiry = named(Instrument{
		Key: "pace.certificate.expiry_timestamp", Type: Gauge, Unit: "s",
		Labels: []Label{Certificate}, Doc: "Unix time at which a certificate in force expires.",
	})
	CertificateReloadFailures = named(Instrument{
		Key: "pace.certificate.reload.failures", Type: Counter, Unit: "{failure}",
		Labels: []Label{Certificate}, Doc: "Changes of a certificate's files that could not be used; the certificate before stayed in force.",
	})
	ACMEFailures = named(Instrument{
		Key: "pace.acme.failures", Type: Counter, Unit: "{attempt}",
		Doc: "Attempts to get or renew a certificate by ACME that failed; pace tries again.",
	})
	Connections = named(Instrument{
		Key: "pace.connections", Type: Gauge, Unit: "{connection}",
		Labels: []Label{State.of([]string{connectionActive, connectionIdle})}, Doc: "Client connections.",
	})
	BackendRequests = named(Instrument{
		Key: "pace.backend.active_requests", Type: Gauge, Unit: "{request}",
		Labels: []Label{Upstream, ServerAddress, ServerPort}, Doc: "Requests in flight at a backend, streams included.",
	})
	BackendConnections = named(Instrument{
		Key: "pace.backend.connections", Type: Gauge, Unit: "{connection}",
		Labels: []Label{Upstream, ServerAddress, ServerPort, State.of([]string{connectionActive, connectionIdle})},
		Doc:    "Connections to a backend; those of streams are active.",
	})
	LimiterKeys = named(Instrument{
		Key: "pace.limiter.keys", Type: Gauge, Unit: "{key}",
		Labels: []Label{Policy}, Doc: "Keys that a limiter keeps in memory.",
	})
	LimiterEvicted = named(Instrument{
		Key: "pace.limiter.evicted", Type: Counter, Unit: "{key}",
		Labels: []Label{Policy}, Doc: "Keys that a full limiter forgot before their window had passed; each starts again with its whole quota.",
	})
	HealthChecks = named(Instrument{
		Key: "pace.health.checks", Type: Counter, Unit: "{check}",
		Labels: []Label{Upstream, Result.of([]string{telemetry.CheckPassed, telemetry.CheckFailed})},
		Doc:    "Checks of backends, which are in no other metric. A check that pace itself could not make, without a descriptor for example, is not counted.",
	})
	BackendUp = named(Instrument{
		Key: "pace.backend.up", Type: Gauge,
		Labels: []Label{Upstream, ServerAddress, ServerPort},
		Doc:    "1 if the backend may be picked: it is healthy or starting. 0 if not; it may be asked nevertheless if no other may be picked either.",
	})
	BackendTransitions = named(Instrument{
		Key: "pace.backend.transitions", Type: Counter, Unit: "{transition}",
		Labels: []Label{Upstream, ServerAddress, ServerPort, To.of(telemetry.BackendStates)},
		Doc:    "Changes of a backend's state, by the new state; each is a line of the log. A failed trial is another change to ejected.",
	})
	PanicPicks = named(Instrument{
		Key: "pace.panic.picks", Type: Counter, Unit: "{pick}",
		Labels: []Label{Upstream}, Doc: "Picks while no backend may be picked, so that all are asked that are not drained.",
	})
	SpansDropped = named(Instrument{
		Key: "pace.spans.dropped", Type: Counter, Unit: "{span}",
		Labels: []Label{Reason.of(lossWords(telemetry.SpanLosses))}, Doc: "Spans that were lost.",
	})
	TracesKept = named(Instrument{
		Key: "pace.traces.kept", Type: Counter, Unit: "{trace}",
		Labels: []Label{Reason.of(keepWords())}, Doc: "Traces of interesting exchanges that were kept although their head was not sampled; the collector accepted them.",
	})
	TracesDropped = named(Instrument{
		Key: "pace.traces.dropped", Type: Counter, Unit: "{trace}",
		Labels: []Label{Reason.of(lossWords(telemetry.KeepLosses))}, Doc: "Traces of interesting exchanges that were not kept.",
	})
	LogDropped = named(Instrument{
		Key: "pace.log.dropped", Type: Counter, Unit: "{line}",
		Labels: []Label{Reason.of(lossWords(telemetry.LineLosses))}, Doc: "Log lines that were lost.",
	})
	LogRecordsDropped = named(Instrument{
		Key: "pace.log_records.dropped", Type: Counter, Unit: "{record}",
		Labels: []Label{Reason.of(lossWords(telemetry.LogRecordLosses))}, Doc: "OTLP log records that were lost. Each is an access line, which pace's own log has in any case.",
	})
	MetricExportsFailed = named(Instrument{
		Key: "pace.metric_exports.failed", Type: Counter, Unit: "{export}",
		Doc: "Exports of metrics over OTLP that the collector did not accept whole.",
	})
	MirrorDropped = named(Instrument{
		Key: "pace.mirror.dropped", Type: Counter, Unit: "{request}",
		Labels: []Label{Reason.of(lossWords(telemetry.CopyLosses))}, Doc: "Requests that a mirror was to get and did not.",
	})
	Streams = named(Instrument{
		Key: "pace.streams", Type: Gauge, Unit: "{stream}",
		Labels: []Label{StreamKind.of(kindWords)}, Doc: "Open streams.",
	})
	StreamBytes = named(Instrument{
		Key: "pace.stream.io", Type: Counter, Unit: "By",
		Labels: []Label{StreamKind.of(kindWords), Direction.of([]string{received, sent})}, Doc: "Bytes that streams received from clients and sent to them.",
	})
	ConfigReloads = named(Instrument{
		Key: "pace.config.reloads", Type: Counter, Unit: "{reload}",
		Labels: []Label{Result.of(telemetry.ReloadWords())},
		Doc:    "Reloads of the configuration: applied, unchanged, or refused because the new one cannot be put in force.",
	})
	ConfigSuccessful = named(Instrument{
		Key: "pace.config.last_reload_successful", Type: Gauge,
		Doc: "1 if the last reload of the configuration succeeded, or none has been tried; 0 if it was refused.",
	})
	ConfigSucceededAt = named(Instrument{
		Key: "pace.config.last_reload_success_timestamp", Type: Gauge, Unit: "s",
		Doc: "Unix time of the last reload that succeeded, or of the start.",
	})
	BuildInfo = named(Instrument{
		Key: "pace.build.info", Type: Gauge,
		Labels: []Label{Version, GoVersion}, Doc: "Always 1; the labels say which version is running.",
	})
)

// The words of labels that no other package knows.
const (
	connectionActive, connectionIdle = "active", "idle"
	received, sent                   = "received", "sent"
)

var semconvBounds = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}

// Instruments returns every metric family of pace's own, in the order of the docs.
func Instruments() []Instrument {
	list := []Instrument{OlderDuration, ServerDuration, ClientDuration, PhaseDuration, Overhead, StreamDuration, Failovers, Retries, BudgetExhausted, Rejections, Requests, ClientLeft}
	for _, s := range stateInstruments {
		list = append(list, s.Instrument)
	}
	return list
}

// attemptLabels are the details of an attempt that are labels of [ClientDuration].
var attemptLabels = telemetry.On(telemetry.OnMetric, telemetry.AttemptDetails)

func labelsOf[T any](details []telemetry.Detail[T]) (list []Label) {
	for _, d := range details {
		list = append(list, label(d.Name))
	}
	return list
}

// serverLabels are the facts that are labels of the histogram of requests.
func serverLabels() (list []Label) {
	for _, f := range telemetry.Facts() {
		switch {
		case !f.Label:
		case f.Attribute == Outcome.Key:
			list = append(list, Outcome.of(outcomeWords))
		default:
			list = append(list, label(f.Attribute))
		}
	}
	return list
}

// sides are the sides of the outcomes, in the order of the table of outcomes.
func sides() (list []string) {
	seen := map[telemetry.Side]bool{}
	for _, o := range telemetry.Outcomes() {
		if !seen[o.Side] {
			seen[o.Side] = true
			list = append(list, string(o.Side))
		}
	}
	return list
}

// words returns the words from first up to end, without end.
func words[T interface {
	~uint8
	String() string
}](first, end T) (list []string) {
	for v := first; v < end; v++ {
		list = append(list, v.String())
	}
	return list
}

func keepWords() (list []string) {
	for _, r := range telemetry.KeepReasons() {
		list = append(list, r.String())
	}
	return list
}

func lossWords(reasons []telemetry.Loss) (list []string) {
	for _, r := range reasons {
		list = append(list, r.String())
	}
	return list
}
