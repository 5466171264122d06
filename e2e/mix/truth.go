package mix

import (
	"slices"
	"strconv"
	"testing"

	"pace/e2e/pacetest"
	"pace/e2e/port"
)

// Truth is what clients, backends and the recorded traffic say about one mix, and the differences that
// were found.
type Truth struct {
	t      testing.TB
	mx     *Mix
	all    []*exchange         // except the one that is held while main drains
	houses map[string]*account // by house

	outcomes map[string]*row             // by outcome: how often each signal has it
	reasons  map[string]*keptRow         // by reason: how often each signal has it as that for which a trace is kept
	lines    map[*exchange]pacetest.Line // the access line of each
	faults   int

	exemplars int            // that lead to a span
	shown     map[string]int // number of differences by subject
}

// account has the counts of one house. Its tables have the same labels as Prometheus.
type account struct {
	*house
	exchanges []*exchange    // that entered the handler
	flying    []*exchange    // those of them that are in flight when the metrics are read
	missed    map[string]int // attempts that no backend saw, by address and error.type
	broken    map[string]int // connections, by address, that ended before a byte was written to them

	requests, tries, failovers, retries, rejections, refused, streams, bytes, left, protocols Table
}

// Truth returns what is known of the mix after its run. If something did not happen as the script says, the
// result reports it as a difference.
func (mx *Mix) Truth() *Truth {
	tr := &Truth{t: mx.t, mx: mx, houses: map[string]*account{}, outcomes: map[string]*row{}, reasons: map[string]*keptRow{}, lines: map[*exchange]pacetest.Line{}, shown: map[string]int{}}
	tr.all = append(slices.Concat(mx.dying...), slices.Concat(mx.script, mx.late)...)
	for _, x := range tr.all {
		tr.adopt(x)
	}
	for name, h := range mx.houses {
		tr.houses[name] = tr.account(h)
	}
	tr.clients()
	return tr
}

// adopt gives an orphan the trace that client and backends know, and says whether its id makes it one that is sampled.
func (tr *Truth) adopt(x *exchange) {
	if !x.orphan || x.refused != "" {
		return
	}
	if x.trace = x.got.Header.Get("X-Trace-Id"); x.trace == "" && len(x.attempts) > 0 {
		x.trace = x.attempts[0].trace
	}
	// OpenTelemetry's consistent probability: the last 56 bits are random, and the highest of them are sampled.
	random, err := strconv.ParseUint(x.trace[max(0, len(x.trace)-14):], 16, 64)
	if err != nil {
		tr.differs("%s: neither client nor backend knows its trace", x.path)
	}
	x.quiet = float64(random) < (1-tr.mx.ratio)*(1<<56)
}

// client compares what a client saw with its script.
func (tr *Truth) client(x *exchange) {
	for _, fault := range x.faults() {
		tr.differs("%s %s over %s: %s", x.method, x.path, x.speaks(), fault)
	}
}

// clients does so for all clients, and compares what they saw together.
func (tr *Truth) clients() {
	passed, crowd := map[string]int{}, map[string]int{}
	for _, x := range tr.all {
		tr.client(x)
		if x.name == "crowd" {
			crowd[x.source]++
		}
		if x.refused != "" {
			continue
		}
		outcome, _ := x.ends()
		tr.row(outcome).truth++
		if x.house.quota > 0 && outcome != "rate_limited" {
			passed[x.source]++
		}
		if n, want := len(x.attempts), x.due(outcome); want >= 0 && n != want {
			tr.differs("%s: backends got %d attempts, want %d: %v", x.path, n, want, x.attempts)
		}
	}
	for source, n := range crowd {
		if want := min(n, quota); passed[source] != want {
			tr.differs("of a crowd of %d from %s %d passed the limiter, want %d", n, source, passed[source], want)
		}
	}
}

// due returns how many attempts the backends must have received by the rules of interface.md, given how each
// of them ended; -1 if there may be more attempts, which no backend saw.
func (x *exchange) due(outcome string) int {
	switch {
	case len(x.house.wired) > 1:
		return -1
	case x.serve == nil, outcome == "rate_limited":
		return 0
	case len(x.house.unseen) > 0:
		return 1
	}
	tried, retries := map[string]bool{}, 0
	for i, a := range x.attempts {
		tried[a.backend] = true
		switch {
		case !slices.Contains(failoverReasons, a.failure) && !slices.Contains(x.house.repeated(), a.failure) || x.body != "" || x.method == "POST" || x.method == "BREW":
			return i + 1
		case i == 0 && len(tried) < x.house.backends: // max_retries = 1
		case a.failure == "upstream_reset" && a.nth != 1 && !a.begun && retries == 0:
			retries++
		default:
			return i + 1
		}
	}
	return len(x.attempts) + 1
}

// account returns the counts of one house.
func (tr *Truth) account(h *house) *account {
	ac := &account{house: h, missed: map[string]int{}, broken: map[string]int{}, requests: Table{}, tries: Table{}, failovers: Table{},
		retries: Table{}, rejections: Table{}, refused: Table{}, streams: Table{}, bytes: Table{}, left: Table{}, protocols: Table{}}
	for _, x := range tr.all {
		switch {
		case x.house != h:
		case x.refused != "":
			ac.refused[x.refused]++
		default:
			ac.exchanges = append(ac.exchanges, x)
		}
	}
	if len(h.wired) > 0 {
		tr.readWire(ac)
	}
	for _, x := range ac.exchanges {
		ac.count(x)
	}
	if h.name == "main" && tr.mx.held != nil {
		ac.flying = []*exchange{tr.mx.held}
	}
	tr.countUnseen(ac)
	return ac
}

// count adds what the exchange's client and backends recorded.
func (ac *account) count(x *exchange) {
	outcome, status := x.ends()
	ac.requests[Key(x.knownMethod(), status, outcome, x.errorType(), "/", "default", x.scheme())]++
	ac.protocols[x.protocolVersion()]++
	if slices.Contains([]string{"rate_limited", "bad_request", "too_large", "draining"}, outcome) {
		ac.rejections[Key(outcome, "/", "default")]++
	}
	if in := x.leftIn(); in != nil {
		ac.left[before(in[1])]++
	}
	if x.stream != "" {
		received := 0
		if outcome == "upgraded" {
			received = len(message)
		}
		ac.streams[Key(x.stream, x.closed)]++
		ac.bytes[Key(x.stream, "received")] += float64(received)
		ac.bytes[Key(x.stream, "sent")] += float64(x.handedOn())
	}
	for _, a := range x.attempts {
		ac.tries[Key(x.knownMethod(), port.Of(a.backend), a.status, a.failure, "default")]++
	}
	x.steps(ac.failovers, ac.retries)
}

// steps counts the failovers and retries between the attempts that backends saw.
func (x *exchange) steps(failovers, retries Table) {
	for i := range max(0, len(x.attempts)-1) {
		if a := x.attempts[i]; x.attempts[i+1].backend != a.backend {
			failovers[Key("default", a.failure)]++
		} else {
			retries["default stale_connection"]++
		}
	}
}

// handedOn returns how many bytes of the response's body pace forwarded to the client; -1 if unknown.
func (x *exchange) handedOn() int {
	if x.part != 0 {
		return x.part
	}
	if x.whole() {
		return len(x.got.Body)
	}
	return 0
}
