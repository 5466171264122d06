package audit

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pace/e2e/pacetest"
	"pace/e2e/parts"
	"pace/e2e/port"
)

// books is the truth of one mix, as clients, backends and the wire have written it down, and what was
// found to differ from it.
type books struct {
	t      *testing.T
	tw     *town
	all    []*exchange       // but the one that is held while main drains
	truths map[string]*truth // by house

	outcomes map[string]*row             // by outcome: how often each signal has it
	lines    map[*exchange]pacetest.Line // the access line of each
	faults   int
	shown    map[string]int // faults by what they are about
}

// row is what is printed of one outcome.
type row struct{ truth, metrics, log, spans int }

// truth is what is counted of one house. Tables have the labels that Prometheus has.
type truth struct {
	*house
	exchanges []*exchange    // that entered the handler
	flying    []*exchange    // of these, still in flight when the metrics are asked
	missed    map[string]int // attempts that no backend saw, by address and error.type
	broken    map[string]int // connections by address that were opened, and gone before a byte was written

	requests, tries, failovers, retries, rejections, refused, streams, bytes, left table
}

// table counts things by what they have in common.
type table map[string]float64

func key(words ...any) string {
	text := make([]string, len(words))
	for i, w := range words {
		if text[i] = fmt.Sprint(w); w == 0 || w == nil {
			text[i] = "" // a status that nobody sent is a label that is not there
		}
	}
	return strings.Join(text, " ")
}

func newBooks(tw *town) *books {
	b := &books{t: tw.t, tw: tw, truths: map[string]*truth{}, outcomes: map[string]*row{}, lines: map[*exchange]pacetest.Line{}, shown: map[string]int{}}
	b.all = append(slices.Concat(tw.dying[:]...), slices.Concat(tw.mix, tw.late)...)
	for name, h := range tw.houses {
		b.truths[name] = b.truth(h)
	}
	b.clients()
	return b
}

// differs writes down a difference between the truth and what pace says, or an exchange that did not
// go as its script says, which makes it no truth. Of a hundred of one sort a few are shown.
func (b *books) differs(format string, args ...any) {
	b.t.Helper()
	b.faults++
	text := fmt.Sprintf(format, args...)
	sort := format + kindIn.FindString(text)
	if b.shown[sort]++; b.shown[sort] <= 4 {
		b.t.Error(text)
	} else {
		b.t.Fail()
	}
}

// kindIn finds the first segment of a path, which is a kind's name.
var kindIn = regexp.MustCompile(`/[a-z]+/`)

func (b *books) row(outcome string) *row {
	if b.outcomes[outcome] == nil {
		b.outcomes[outcome] = &row{}
	}
	return b.outcomes[outcome]
}

// client holds what a client saw to its script.
func (b *books) client(x *exchange) {
	for _, fault := range x.faults() {
		b.differs("%s %s over %s: %s", x.method, x.path, x.mode, fault)
	}
}

// clients does so for all, and looks at what they saw together.
func (b *books) clients() {
	passed, crowd := map[string]int{}, map[string]int{}
	for _, x := range b.all {
		b.client(x)
		if x.name == "crowd" {
			crowd[x.source]++
		}
		if x.refused != "" {
			continue
		}
		outcome, _ := x.ends()
		b.row(outcome).truth++
		if x.house.places > 0 && outcome != "rate_limited" {
			passed[x.source]++
		}
		if n, want := len(x.attempts), x.due(outcome); want >= 0 && n != want {
			b.differs("%s: backends got %d attempts, want %d: %v", x.path, n, want, x.attempts)
		}
	}
	for source, n := range crowd {
		if want := min(n, places); passed[source] != want {
			b.differs("of a crowd of %d from %s %d passed the limiter, want %d", n, source, passed[source], want)
		}
	}
}

// due is how many attempts backends must have got by the rules of interface.md, given how each of
// them ended; -1 if there may have been others that no backend saw.
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
		case !slices.Contains(failoverReasons, a.failure) || x.body != "" || x.method == "POST" || x.method == "BREW":
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

// failoverReasons are the ways in which an attempt fails so that another may follow.
var failoverReasons = []string{"connect_failed", "connect_timeout", "dns_failed", "upstream_reset", "upstream_timeout", "upstream_invalid"}

// truth counts what is known of one house.
func (b *books) truth(h *house) *truth {
	tr := &truth{house: h, missed: map[string]int{}, broken: map[string]int{}, requests: table{}, tries: table{}, failovers: table{},
		retries: table{}, rejections: table{}, refused: table{}, streams: table{}, bytes: table{}, left: table{}}
	for _, x := range b.all {
		switch {
		case x.house != h:
		case x.refused != "":
			tr.refused[x.refused]++
		default:
			tr.exchanges = append(tr.exchanges, x)
		}
	}
	if len(h.wired) > 0 {
		b.readWire(tr)
	}
	for _, x := range tr.exchanges {
		tr.count(x)
	}
	if h.name == "main" {
		tr.flying = []*exchange{b.tw.held}
	}
	b.countUnseen(tr)
	return tr
}

// count adds what the exchange's client and backends say.
func (tr *truth) count(x *exchange) {
	outcome, status := x.ends()
	tr.requests[key(x.knownMethod(), status, outcome, x.errorType(), "/", "http")]++
	if slices.Contains([]string{"rate_limited", "bad_request", "too_large", "draining"}, outcome) {
		tr.rejections[key(outcome, "/")]++
	}
	if in := x.leftIn(); in != nil {
		tr.left[before(in[1])]++
	}
	if x.stream != "" {
		received := 0
		if outcome == "upgraded" {
			received = len(message)
		}
		tr.streams[key(x.stream, x.closed)]++
		tr.bytes[key(x.stream, "received")] += float64(received)
		tr.bytes[key(x.stream, "sent")] += float64(x.handedOn())
	}
	for _, a := range x.attempts {
		tr.tries[key(x.knownMethod(), port.Of(a.backend), a.status, a.failure, "default")]++
	}
	x.steps(tr.failovers, tr.retries)
}

// steps counts what led from each attempt that was seen to the next one.
func (x *exchange) steps(failovers, retries table) {
	for i := range max(0, len(x.attempts)-1) {
		if a := x.attempts[i]; x.attempts[i+1].backend != a.backend {
			failovers[key("default", a.failure)]++
		} else {
			retries["default stale_connection"]++
		}
	}
}

// handedOn is how many bytes of the answer's body went to the client, -1 if nobody knows.
func (x *exchange) handedOn() int {
	if x.part != 0 {
		return x.part
	}
	if x.whole() {
		return len(x.got.Body)
	}
	return 0
}

// readWire gives each exchange the attempts that the wire saw, in place of those that a backend saw:
// there are more.
func (b *books) readWire(tr *truth) {
	byTrace, received := map[string]*exchange{}, map[string]attempt{}
	for _, x := range tr.exchanges {
		byTrace[x.trace] = x
		for _, a := range x.attempts {
			received[a.span] = a
		}
		x.attempts = nil
	}
	for _, m := range b.tw.mortal {
		if slices.Contains(tr.wired, m.Address()) {
			maps.Copy(received, m.served())
		}
	}
	for _, address := range tr.wired {
		for _, parent := range b.tw.tap.At(address).Traceparents {
			a := attempt{backend: address, body: -1}
			a.trace, a.span, a.flags = pacetest.Traceparent(parent)
			x := byTrace[a.trace]
			if x == nil {
				b.differs("the wire saw a request of %s at %s, which nobody sent", parent, address)
				continue
			}
			if known, ok := received[a.span]; ok {
				delete(received, a.span)
				a = known
			}
			a.ending = ending{failure: "upstream_reset"}
			x.attempts = append(x.attempts, a)
		}
	}
	for span := range received {
		b.differs("a backend of %s got an attempt %s that the wire did not see", tr.name, span)
	}
	for _, x := range tr.exchanges {
		x.settle()
	}
}

// settle says which of the attempts that the wire saw was answered: the last one at the backend that
// the client was told.
func (x *exchange) settle() {
	answered := -1
	for i, a := range x.attempts {
		if a.backend == x.backend() {
			answered = i
		}
	}
	if answered < 0 {
		return
	}
	last := x.attempts[answered]
	last.ending = ending{status: 200}
	if outcome, _ := x.ends(); outcome == "upstream_truncated" {
		last.failure = outcome
	}
	x.attempts = append(slices.Delete(x.attempts, answered, answered+1), last)
}

// countUnseen adds the attempts that failed before a backend could know of them, as the wire saw them.
func (b *books) countUnseen(tr *truth) {
	for address, end := range tr.unseen {
		wire := b.tw.tap.At(address)
		n := wire.Refused
		if end.failure == "connect_timeout" {
			n = wire.SYNs
		}
		tr.miss(address, end, n)
		tr.broken[address] = wire.Opened - wire.Used
	}
	// Each was followed by a failover, but for the last one of an exchange that ended so.
	for _, x := range tr.exchanges {
		if outcome, _ := x.ends(); len(x.attempts) == 0 && len(tr.unseen) > 0 {
			tr.failovers[key("default", outcome)]--
		}
	}
}

// settleBroken says how the attempts ended whose connection was gone before a byte was written. If it
// was gone before pace looked whether it is open, connecting has failed, else the connection was lost,
// and the wire cannot tell. So pace's metric may, within what the wire saw; all else is held to it.
func (tr *truth) settleBroken(tries map[string]float64) {
	for address, n := range tr.broken {
		said := int(tries[key(port.Of(address), "connect_failed")])
		early := min(max(said-tr.missed[key(address, "connect_failed")], 0), n)
		tr.miss(address, ending{failure: "connect_failed"}, early)
		tr.miss(address, ending{failure: "upstream_reset"}, n-early)
	}
}

func (tr *truth) miss(address string, end ending, n int) {
	if n == 0 {
		return
	}
	tr.missed[key(address, end.failure)] += n
	tr.failovers[key("default", end.failure)] += float64(n)
}

// compare reports each count in which two tables differ; one that is absent is 0.
func (b *books) compare(what string, got map[string]float64, want table) {
	b.t.Helper()
	keys := maps.Clone(map[string]float64(want))
	maps.Copy(keys, got)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if got[k] != want[k] {
			b.differs(what+" %q: got %v, want %v", k, got[k], want[k])
		}
	}
}

// fold adds up a table by some words of its keys.
func (t table) fold(words ...int) table {
	folded := table{}
	for k, n := range t {
		all := strings.Split(k, " ")
		var some []string
		for _, i := range words {
			some = append(some, all[i])
		}
		folded[strings.Join(some, " ")] += n
	}
	return folded
}

func (t table) total() (sum float64) {
	for _, n := range t {
		sum += n
	}
	return sum
}

// againstPrometheus holds each metric of requests, attempts and streams to the truth.
func (b *books) againstPrometheus(p *parts.Prom) {
	for _, name := range slices.Sorted(maps.Keys(b.truths)) {
		tr := b.truths[name]
		// At most 100 ms after a client has seen the end of its answer the request is counted.
		p.Wait(fmt.Sprintf("sum(http_server_active_requests{instance=%q})", tr.Admin), func(s []parts.Sample) bool {
			return len(s) == 1 && s[0].Value == float64(len(tr.flying))
		})
	}
	p.Scraped() // once more, so that what is counted too often shows
	for _, name := range slices.Sorted(maps.Keys(b.truths)) {
		b.holdMetrics(p, b.truths[name])
	}
}

func (b *books) holdMetrics(p *parts.Prom, tr *truth) {
	of := func(name string, labels ...string) map[string]float64 {
		return p.By(fmt.Sprintf("%s{instance=%q}", name, tr.Admin), labels...)
	}
	one := func(name string) table { return table{"": p.Sum(fmt.Sprintf("%s{instance=%q}", name, tr.Admin))} }
	hold := func(name string, want table, labels ...string) {
		b.compare(tr.name+": "+name, of(name, labels...), want)
	}
	tr.settleBroken(of("http_client_request_duration_seconds_count", "server_port", "error_type"))
	n := float64(len(tr.exchanges))
	served := of("http_server_request_duration_seconds_count", "http_request_method", "http_response_status_code", "pace_outcome", "error_type", "http_route", "url_scheme")
	b.compare(tr.name+": http_server_request_duration_seconds", served, tr.requests)
	b.compare(tr.name+": its last bucket", p.By(fmt.Sprintf(`http_server_request_duration_seconds_bucket{instance=%q,le="+Inf"}`, tr.Admin), "http_request_method", "http_response_status_code"),
		tr.requests.fold(0, 1))
	hold("pace_requests_total", tr.bySide(), "pace_outcome", "pace_side", "http_route")
	b.compare(tr.name+": pace_client_left_total", leftBy(of("pace_client_left_total", "left_in")), tr.left)
	hold("http_requests_duration_seconds_count", tr.requests.fold(0, 1), "method", "status")
	b.compare(tr.name+": its last bucket", p.By(fmt.Sprintf(`http_requests_duration_seconds_bucket{instance=%q,le="+Inf"}`, tr.Admin), "method", "status"), tr.requests.fold(0, 1))
	b.compare(tr.name+": pace_overhead_seconds", one("pace_overhead_seconds_count"), table{"": n})
	b.holdTries(of("http_client_request_duration_seconds_count", "http_request_method", "server_port", "http_response_status_code", "error_type", "pace_upstream"), tr.tries, tr)
	hold("pace_failovers_total", tr.failovers, "pace_upstream", "reason")
	hold("pace_retries_total", tr.retries, "pace_upstream", "reason")
	hold("pace_rejections_total", tr.rejections, "reason", "http_route")
	hold("pace_refused_total", tr.refused, "reason")
	hold("pace_stream_duration_seconds_count", tr.streams, "kind", "pace_close_reason")
	hold("pace_stream_io_bytes_total", tr.bytes, "kind", "direction")
	hold("pace_streams", table{}, "kind")
	hold("pace_spans_dropped_total", table{}, "reason")
	hold("pace_log_dropped_total", table{}, "reason")
	if tr.places > 0 {
		hold("pace_limiter_keys", table{"default": float64(tr.sources())}, "policy")
	}
	for k, n := range served {
		outcome := strings.Split(k, " ")[2]
		b.row(outcome).metrics += int(n)
	}
}

// holdTries compares attempts. Of those that no backend saw the method is not known, so all at a port
// are compared without it.
func (b *books) holdTries(got map[string]float64, want table, tr *truth) {
	unseen := table{}
	for k, n := range tr.missed {
		address, failure, _ := strings.Cut(k, " ")
		unseen[key(port.Of(address), "", failure, "default")] += float64(n)
	}
	if len(unseen) == 0 {
		b.compare(tr.name+": http_client_request_duration_seconds", got, want)
		return
	}
	folded := want.fold(1, 2, 3, 4)
	for k, n := range unseen {
		folded[k] += n
	}
	b.compare(tr.name+": http_client_request_duration_seconds", table(got).fold(1, 2, 3, 4), folded)
}

// sources counts the addresses that have asked the limiter.
func (tr *truth) sources() int {
	seen := map[string]bool{}
	for _, x := range slices.Concat(tr.exchanges, tr.flying) {
		// What cannot be proxied at all is turned away before.
		if outcome, _ := x.ends(); outcome == "draining" || x.name == "connect" || x.name == "large" {
			continue
		}
		seen[x.source] = true
	}
	return len(seen)
}

// conclude says what was compared, and ends the test.
func (b *books) conclude() {
	var text strings.Builder
	fmt.Fprintf(&text, "%-20s %8s %8s %8s %8s\n", "outcome", "truth", "metrics", "log", "spans")
	sum := row{}
	for _, word := range slices.SortedFunc(maps.Keys(b.outcomes), func(x, y string) int {
		return cmp.Or(cmp.Compare(b.outcomes[y].truth, b.outcomes[x].truth), cmp.Compare(x, y))
	}) {
		r := b.outcomes[word]
		fmt.Fprintf(&text, "%-20s %8d %8d %8d %8d\n", word, r.truth, r.metrics, r.log, r.spans)
		sum = row{sum.truth + r.truth, sum.metrics + r.metrics, sum.log + r.log, sum.spans + r.spans}
	}
	fmt.Fprintf(&text, "%-20s %8d %8d %8d %8d\n", "all", sum.truth, sum.metrics, sum.log, sum.spans)
	var tries, failovers, retries, refused, streams float64
	unseen := map[string]int{}
	for _, tr := range b.truths {
		tries += tr.tries.total()
		failovers += tr.failovers.total()
		retries += tr.retries.total()
		refused += tr.refused.total()
		streams += tr.streams.total()
		for k, n := range tr.missed {
			unseen[strings.Fields(k)[1]] += n
		}
	}
	fmt.Fprintf(&text, "attempts %v, and %v that only the wire knows of; failovers %v, retries %v; streams %v; refused before the handler %v; kills %d\n",
		tries, unseen, failovers, retries, streams, refused, massacres)
	fmt.Fprintf(&text, "%d differences", b.faults)
	b.t.Logf("\n%s", text.String())
}
