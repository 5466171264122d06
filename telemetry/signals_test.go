package telemetry

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	signalsFile   = "../docs/signals.md"
	interfaceFile = "../docs/interface.md"
)

var update = flag.Bool("update", false, "rewrite docs/signals.md")

// TestSignals holds docs/signals.md to the tables. What the tables have beyond the contract is
// listed there, so that nothing is added without somebody reading it in a difference.
func TestSignals(t *testing.T) {
	got := signals(t)
	if *update {
		if err := os.WriteFile(signalsFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(signalsFile)
	if err != nil {
		t.Fatal(err)
	}
	if line, differs := firstDifference(got, string(want)); differs {
		t.Errorf("docs/signals.md is stale: run go generate ./telemetry, and read the difference; it begins with\n%s", line)
	}
}

func firstDifference(got, want string) (string, bool) {
	old := strings.Split(want, "\n")
	for i, line := range strings.Split(got, "\n") {
		if i >= len(old) || line != old[i] {
			return line, true
		}
	}
	return "(lines that are gone)", len(got) != len(want)
}

// TestInterface holds the tables to the contract: nothing of it is missing or differs.
func TestInterface(t *testing.T) {
	ours := published()
	for _, promised := range contract(t) {
		i := slices.IndexFunc(ours, func(s signal) bool { return s.kind == promised.kind && s.name == promised.name })
		if i < 0 {
			t.Errorf("%s %s of interface.md is missing", promised.kind, promised.name)
		} else if promised.detail != "" && promised.detail != ours[i].detail {
			t.Errorf("%s %s: got %s, interface.md says %s", promised.kind, promised.name, ours[i].detail, promised.detail)
		}
	}
}

// A test that reads a page must notice when it no longer finds anything there.
func TestInterface_IsRead(t *testing.T) {
	count := map[string]int{}
	for _, s := range contract(t) {
		count[s.kind]++
	}
	for kind, least := range map[string]int{"metric": 18, "outcome": 22, "attribute of SERVER": 28, "attribute of CLIENT": 11,
		"event": 3, "attribute of pace.failover": 5, "field": 30, "word of pace_refused_total reason": 6} {
		if count[kind] < least {
			t.Errorf("%d of kind %s are read from interface.md, want at least %d: %v", count[kind], kind, least, count)
		}
	}
}

// signal is one thing that is promised or published: its kind, name, and what else is fixed of it.
type signal struct{ kind, name, detail string }

// published returns what the tables have.
func published() (all []signal) {
	for _, i := range Instruments() {
		all = append(all, signal{"metric", i.Name, i.Type + " " + sorted(i.Labels)})
		for _, label := range i.Labels {
			for _, word := range words(i.Name, label) {
				all = append(all, signal{"word of " + i.Name + " " + label, word, ""})
			}
		}
	}
	for _, o := range Outcomes() {
		all = append(all, signal{"outcome", o.Word, fmt.Sprintf("%d %q later=%v", o.Status, o.ProxyStatus, o.Later)})
	}
	for _, name := range []string{"time", "level", "msg"} {
		all = append(all, signal{"field", name, ""})
	}
	for _, f := range Facts() {
		if f.Attribute != "" {
			all = append(all, signal{"attribute of SERVER", f.Attribute, ""})
		}
		if f.Field != "" {
			all = append(all, signal{"field", f.Field, ""})
		}
	}
	all = append(all, attributes("CLIENT", attemptDetails)...)
	for _, e := range events() {
		all = append(append(all, signal{"event", e.name, ""}), e.attributes...)
	}
	return all
}

// described is an event for the docs.
type described struct {
	name, doc  string
	attributes []signal
	rows       [][]string
}

func events() []described {
	return []described{
		{eventLimited, "A limiter said no.", attributes(eventLimited, limitedDetails), detailRows(limitedDetails)},
		{eventFailover, "An attempt failed, and another backend is asked.", attributes(eventFailover, failoverDetails), detailRows(failoverDetails)},
		{eventRetry, "A pooled connection died, and the same backend is asked again on a new one.", attributes(eventRetry, retryDetails), detailRows(retryDetails)},
	}
}

func attributes[T any](of string, details []detail[T]) (all []signal) {
	for _, d := range details {
		all = append(all, signal{"attribute of " + of, d.name, ""})
	}
	return all
}

func detailRows[T any](details []detail[T]) (rows [][]string) {
	for _, d := range details {
		rows = append(rows, []string{code(d.name), d.doc})
	}
	return rows
}

// words are those that a metric's label can have, if the list is closed.
func words(metric, label string) []string {
	switch metric + " " + label {
	case MetricFailovers + " " + LabelReason:
		return wordsOf(FailoverReasons())
	case MetricRetries + " " + LabelReason:
		return []string{staleConnection}
	case MetricRejections + " " + LabelReason:
		return wordsOf(Rejections())
	case MetricRefused + " " + LabelReason:
		return refusals[:]
	case MetricConnections + " " + LabelState:
		return []string{"active", "idle"}
	case MetricSpansDropped + " " + LabelReason:
		return []string{queueFull, exportFailed, shutDown}
	case MetricLogDropped + " " + LabelReason:
		return []string{bufferFull, writeFailed}
	case MetricPhaseDuration + " " + LabelPhase:
		return phaseWords[ReadRequest:]
	case MetricStreams + " " + LabelKind, MetricStreamDuration + " " + LabelKind, MetricStreamBytes + " " + LabelKind:
		return streamWords[WebSocket:]
	case MetricStreamDuration + " " + LabelCloseReason:
		return closeWords[ClosedByClient:]
	case MetricStreamBytes + " " + LabelDirection:
		return directions[:]
	case MetricRequests + " " + LabelSide:
		return sides()
	case MetricClientLeft + " " + LabelLeftIn:
		return phaseWords[:]
	case MetricServerDuration + " " + LabelOutcome, MetricRequests + " " + LabelOutcome:
		return wordsOf(Outcomes())
	}
	return nil
}

// sides are those of the outcomes, in the order in which these name them first.
func sides() (words []string) {
	for _, o := range Outcomes() {
		if !slices.Contains(words, string(o.Side)) {
			words = append(words, string(o.Side))
		}
	}
	return words
}

func wordsOf(list []OutcomeInfo) (all []string) {
	for _, o := range list {
		all = append(all, o.Word)
	}
	return all
}

// contract returns what interface.md promises.
func contract(t *testing.T) (all []signal) {
	t.Helper()
	raw, err := os.ReadFile(interfaceFile)
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	for _, cells := range table(section(page, "Metrics")) {
		all = append(all, promisedMetrics(cells)...)
	}
	for _, cells := range table(section(page, "Outcomes")) {
		all = append(all, promisedOutcome(cells))
	}
	spans := section(page, "Spans")
	for _, kind := range []string{"SERVER", "CLIENT"} {
		list := regexp.MustCompile(`(?m)^` + kind + `, .*?` + "`" + `\)?: (.*)$`).FindStringSubmatch(spans)
		all = append(all, names("attribute of "+kind, before(list[1], ". Status Error"))...)
	}
	for _, event := range regexp.MustCompile("(?m)^- `(.*?)` \\{(.*)\\}$").FindAllStringSubmatch(spans, -1) {
		all = append(all, signal{"event", event[1], ""})
		all = append(all, names("attribute of "+event[1], event[2])...)
	}
	access := section(page, "Access line")
	return append(all, names("field", before(access[strings.Index(access, "\n"):], ". Level"))...)
}

// promisedMetrics reads a row of the table of metrics, which may name several.
func promisedMetrics(cells []string) (all []signal) {
	kind, _, _ := strings.Cut(strings.ReplaceAll(cells[1], ",", " "), " ")
	var labels []string
	for _, l := range names("", cells[2]) {
		labels = append(labels, l.name)
	}
	for _, quoted := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(cells[0], -1) {
		name := quoted[1]
		if name == "target_info" { // the exporter's own
			continue
		}
		all = append(all, signal{"metric", name, kind + " " + sorted(labels)})
		for _, closed := range regexp.MustCompile("([a-z_]+) \\((`[a-z_0-9]+`(?:, `[a-z_0-9]+`)*)\\)").FindAllStringSubmatch(cells[2], -1) {
			all = append(all, names("word of "+name+" "+closed[1], closed[2])...)
		}
	}
	return all
}

// promisedOutcome reads a row of the table of outcomes.
func promisedOutcome(cells []string) signal {
	status, _ := strconv.Atoi(regexp.MustCompile(`^\d*`).FindString(cells[1]))
	later := strings.HasPrefix(cells[3], "later")
	return signal{"outcome", strings.Trim(cells[0], "`"), fmt.Sprintf("%d %q later=%v", status, strings.Trim(cells[2], "`()"), later)}
}

// names reads a list of names, each perhaps with a remark in parentheses or before a colon; one with
// PHASE stands for as many as there are phases.
func names(kind, list string) (all []signal) {
	list = regexp.MustCompile(`\([^()]*\)|[\w ]+: `).ReplaceAllString(list, "")
	for name := range strings.SplitSeq(strings.ReplaceAll(list, ";", ","), ",") {
		name = strings.Trim(name, " `\n.")
		if strings.Contains(name, "PHASE") {
			for _, phase := range phaseWords {
				all = append(all, signal{kind, strings.Replace(name, "PHASE", phase, 1), ""})
			}
		} else if name != "" {
			all = append(all, signal{kind, name, ""})
		}
	}
	return all
}

// section returns what stands under the heading that begins with title.
func section(page, title string) string {
	_, rest, _ := strings.Cut(page, "\n## "+title)
	return before(rest, "\n## ")
}

// table returns the cells of the rows below the first table's head.
func table(text string) (rows [][]string) {
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "|") {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, cells)
	}
	return rows[min(2, len(rows)):]
}

func before(s, end string) string {
	s, _, _ = strings.Cut(s, end)
	return s
}

func sorted(list []string) string { return strings.Join(slices.Sorted(slices.Values(list)), " ") }

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

// signals writes docs/signals.md.
func signals(t *testing.T) string {
	var p page
	p.text("# Signals\n\nWhat pace tells, and under which name. Made from telemetry's tables by `go generate ./telemetry`; do not edit.\n" +
		"[interface.md](interface.md) says what of it is promised to stay.\n")
	p.text("## Metrics\n\nIn Prometheus' names; in OpenTelemetry's, dots stand for underscores and the unit is no part of the name.\n" +
		"Besides them `go_*` and `process_*` of the Go runtime and the process, and `target_info` with the resource: `service.name`\n" +
		"(`pace`, or `OTEL_SERVICE_NAME`), `service.version`, `service.instance.id` (new at each start), `host.name`, `telemetry.sdk.*`, and what `OTEL_RESOURCE_ATTRIBUTES` says.\n")
	p.table("name|type|unit|labels|meaning", metricRows())
	p.text("Words of labels whose list is closed:\n")
	p.table("metric|label|words", wordRows())
	p.text("## Span of a request (SERVER)\n\nAttributes; those with a mark are labels of " + code(MetricServerDuration) + ", too.\n")
	p.table("attribute|label|meaning", serverRows())
	p.text("## Span of an attempt (CLIENT)\n\nOne for each attempt, child of the request's.\n")
	p.table("attribute|meaning", detailRows(attemptDetails))
	p.text("## Events of a request's span\n\nExactly one for each increment of the counter.\n")
	for _, e := range events() {
		p.text("### " + code(e.name) + "\n\n" + e.doc + "\n")
		p.table("attribute|meaning", e.rows)
	}
	p.text("## Access line\n\nOne line a request, `msg` is `request`. A field that has nothing to say is absent.\n")
	p.table("field|meaning", fieldRows())
	p.text("## Outcomes\n\nThe one word for how an exchange ended, in " + code("pace.outcome") + ", " + code(LabelOutcome) + " and the field `outcome`.\n" +
		"Side says whose doing it is. Those with \"later\" end no exchange yet.\n")
	p.table("word|status|Proxy-Status error|side|level|when|cause|remedy", outcomeRows())
	p.text("## Beyond interface.md\n\nPublished, and not (yet) promised:\n")
	for _, s := range beyond(t) {
		p.text("- " + s.kind + ": " + code(s.name))
	}
	return string(p)
}

// beyond returns what is published, but not promised.
func beyond(t *testing.T) []signal {
	promised := contract(t)
	return slices.DeleteFunc(published(), func(s signal) bool {
		if strings.HasPrefix(s.kind, "word of ") && slices.Contains(wordsOf(Outcomes()), s.name) {
			return true // promised as an outcome
		}
		return slices.ContainsFunc(promised, func(p signal) bool { return p.kind == s.kind && p.name == s.name })
	})
}

func metricRows() (rows [][]string) {
	for _, i := range Instruments() {
		doc := i.Doc
		if i.Bounds != nil {
			doc += " Bounds: " + strings.Trim(fmt.Sprint(i.Bounds), "[]") + "."
		}
		rows = append(rows, []string{code(i.Name), i.Type, cmp.Or(i.Unit, "1"), strings.Join(i.Labels, ", "), doc})
	}
	return rows
}

func wordRows() (rows [][]string) {
	for _, i := range Instruments() {
		for _, label := range i.Labels {
			if list := words(i.Name, label); list != nil {
				rows = append(rows, []string{code(i.Name), label, strings.Join(list, ", ")})
			}
		}
	}
	return rows
}

func serverRows() (rows [][]string) {
	for _, f := range Facts() {
		if f.Attribute != "" {
			rows = append(rows, []string{code(f.Attribute), map[bool]string{true: "yes"}[f.Label], f.Doc})
		}
	}
	return rows
}

func fieldRows() [][]string {
	rows := [][]string{{"`time`", "When the exchange ended."}, {"`level`", "See the outcome."}, {"`msg`", "Always `request`."}}
	for _, f := range Facts() {
		if f.Field != "" {
			rows = append(rows, []string{code(f.Field), f.Doc})
		}
	}
	return rows
}

func outcomeRows() (rows [][]string) {
	for _, o := range Outcomes() {
		status, when := strconv.Itoa(o.Status), o.When
		if o.Status == 0 {
			status = ""
		}
		if o.Later {
			when = "later: " + when
		}
		rows = append(rows, []string{code(o.Word), status, code(o.ProxyStatus), string(o.Side), strings.ToLower(o.Level.String()), when, o.Cause, o.Remedy})
	}
	return rows
}

// page is Markdown in the making.
type page string

func (p *page) text(s string) { *p += page(s + "\n") }

func (p *page) table(head string, rows [][]string) {
	columns := strings.Split(head, "|")
	p.row(columns)
	p.row(slices.Repeat([]string{"---"}, len(columns)))
	for _, cells := range rows {
		p.row(cells)
	}
	p.text("")
}

func (p *page) row(cells []string) { p.text("| " + strings.Join(cells, " | ") + " |") }
