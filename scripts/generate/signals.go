package main

import (
	"cmp"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"pace/telemetry"
	"pace/telemetry/metrics"
)

// signals makes docs/signals.md, which says last what docs/interface.md does not promise.
func signals(root fs.FS) (string, error) {
	promises, err := fs.ReadFile(root, "docs/interface.md")
	if err != nil {
		return "", err
	}
	var p page
	p.text("# Signals\n\nWhat pace tells, and under which name. Made from telemetry's tables by `go generate ./scripts/...`; do not edit.\n" +
		"[interface.md](interface.md) says what of it is promised to stay.\n")
	p.text("## Metrics\n\nIn Prometheus' names; in OpenTelemetry's, dots stand for underscores and the unit is no part of the name.\n" +
		"Besides them `go_*` and `process_*` of the Go runtime and the process, and `target_info` with the resource: `service.name`\n" +
		"(`pace`, or `OTEL_SERVICE_NAME`), `service.version`, `service.instance.id` (new at each start), `host.name`, `telemetry.sdk.*`, and what `OTEL_RESOURCE_ATTRIBUTES` says.\n")
	p.table("name|type|unit|labels|meaning", metricRows())
	p.text("Words of labels whose list is closed:\n")
	p.table("metric|label|words", wordRows())
	p.text("## Span of a request (SERVER)\n\nAttributes; those with a mark are labels of " + code(metrics.ServerDuration.Name) + ", too.\n")
	p.table("attribute|label|meaning", serverRows())
	p.text("## Span of an attempt (CLIENT)\n\nOne for each attempt, child of the request's.\n")
	p.table("attribute|meaning", detailRows(attemptAttributes()))
	p.text("## Events of a request's span\n\nExactly one for each increment of the counter.\n")
	for _, e := range telemetry.Events() {
		p.text("### " + code(e.Name) + "\n\n" + e.Doc + "\n")
		p.table("attribute|meaning", detailRows(e.Details))
	}
	p.text("## Access line\n\nOne line a request, `msg` is `request`. A field that has nothing to say is absent.\n")
	p.table("field|meaning", fieldRows())
	p.text("## Outcomes\n\nThe one word for how an exchange ended, in " + code("pace.outcome") + ", " + code(metrics.Outcome.Name) + " and the field `outcome`.\n" +
		"Side says whose doing it is. Those with \"later\" end no exchange yet.\n")
	p.table("word|status|Proxy-Status error|side|level|when|cause|remedy", outcomeRows())
	p.text("## Beyond interface.md\n\nPublished, and not (yet) promised:\n")
	for _, s := range beyond(contract(string(promises))) {
		p.text("- " + s.kind + ": " + code(s.name))
	}
	return string(p), nil
}

// beyond returns what is published, but not promised.
func beyond(promised []signal) []signal {
	return slices.DeleteFunc(published(), func(s signal) bool {
		if strings.HasPrefix(s.kind, "word of ") && slices.ContainsFunc(telemetry.Outcomes(), func(o telemetry.OutcomeInfo) bool { return o.Word == s.name }) {
			return true // promised as an outcome
		}
		return slices.ContainsFunc(promised, func(p signal) bool { return p.kind == s.kind && p.name == s.name })
	})
}

func metricRows() (rows [][]string) {
	for _, i := range metrics.Instruments() {
		doc := i.Doc
		if i.Bounds != nil {
			doc += " Bounds: " + strings.Trim(fmt.Sprint(i.Bounds), "[]") + "."
		}
		rows = append(rows, []string{code(i.Name), string(i.Type), cmp.Or(i.Unit, "1"), strings.Join(i.LabelNames(), ", "), doc})
	}
	return rows
}

func wordRows() (rows [][]string) {
	for _, i := range metrics.Instruments() {
		for _, label := range i.Labels {
			if label.Words != nil {
				rows = append(rows, []string{code(i.Name), label.Name, strings.Join(label.Words, ", ")})
			}
		}
	}
	return rows
}

func serverRows() (rows [][]string) {
	for _, f := range telemetry.Facts() {
		if f.Attribute != "" {
			rows = append(rows, []string{code(f.Attribute), map[bool]string{true: "yes"}[f.Label], f.Doc})
		}
	}
	return rows
}

func fieldRows() [][]string {
	rows := [][]string{{"`time`", "When the exchange ended."}, {"`level`", "See the outcome."}, {"`msg`", "Always `request`."}}
	for _, f := range telemetry.Facts() {
		if f.Field != "" {
			rows = append(rows, []string{code(f.Field), f.Doc})
		}
	}
	return rows
}

func outcomeRows() (rows [][]string) {
	for _, o := range telemetry.Outcomes() {
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

// attemptAttributes are the attributes of an attempt's span.
func attemptAttributes() []telemetry.Described {
	return telemetry.Describe(telemetry.On(telemetry.OnSpan, telemetry.AttemptDetails))
}

func detailRows(details []telemetry.Described) (rows [][]string) {
	for _, d := range details {
		rows = append(rows, []string{code(d.Name), d.Doc})
	}
	return rows
}

// signal is one thing that is promised or published: its kind, name, and what else is fixed of it.
type signal struct{ kind, name, detail string }

// published returns what the tables have.
func published() (all []signal) {
	for _, i := range metrics.Instruments() {
		all = append(all, signal{"metric", i.Name, string(i.Type) + " " + sorted(i.LabelNames())})
		for _, label := range i.Labels {
			for _, word := range label.Words {
				all = append(all, signal{"word of " + i.Name + " " + label.Name, word, ""})
			}
		}
	}
	for _, o := range telemetry.Outcomes() {
		all = append(all, signal{"outcome", o.Word, fmt.Sprintf("%d %q later=%v", o.Status, o.ProxyStatus, o.Later)})
	}
	for _, name := range []string{"time", "level", "msg"} {
		all = append(all, signal{"field", name, ""})
	}
	for _, f := range telemetry.Facts() {
		if f.Attribute != "" {
			all = append(all, signal{"attribute of SERVER", f.Attribute, ""})
		}
		if f.Field != "" {
			all = append(all, signal{"field", f.Field, ""})
		}
	}
	all = append(all, attributes("CLIENT", attemptAttributes())...)
	for _, e := range telemetry.Events() {
		all = append(append(all, signal{"event", e.Name, ""}), attributes(e.Name, e.Details)...)
	}
	return all
}

func attributes(of string, details []telemetry.Described) (all []signal) {
	for _, d := range details {
		all = append(all, signal{"attribute of " + of, d.Name, ""})
	}
	return all
}

func sorted(list []string) string { return strings.Join(slices.Sorted(slices.Values(list)), " ") }

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}
