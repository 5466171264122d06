package main

import (
	"cmp"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"pace/telemetry"
	"pace/telemetry/metrics"
)

// signals makes docs/signals.md.
func signals(fs.FS) (string, error) {
	var p page
	p.text("# Signals\n\nWhat pace publishes, and under which name. Made from telemetry's tables by `go generate ./scripts/...`; do not edit.\n" +
		"All names here are promised: they stay, as [interface.md](interface.md) says.\n")
	p.text("## Metrics\n\nThe names are those of Prometheus. In OpenTelemetry's names, dots stand for underscores, and the unit is no part of the name.\n" +
		"Besides these metrics there are `go_*` and `process_*` of the Go runtime and the process, and `target_info` with the resource: `service.name`\n" +
		"(`pace`, or `OTEL_SERVICE_NAME`), `service.version`, `service.instance.id` (new at each start), `host.name`, `telemetry.sdk.*`, and what `OTEL_RESOURCE_ATTRIBUTES` says.\n")
	p.table("name|type|unit|labels|meaning", metricRows())
	p.text("The words of the labels that have a closed list:\n")
	p.table("metric|label|words", wordRows())
	p.text("## Span of a request (SERVER)\n\nAttributes. Those with \"yes\" are labels of " + code(metrics.ServerDuration.Name) + ", too.\n")
	p.table("attribute|label|meaning", serverRows())
	p.text("## Span of an attempt (CLIENT)\n\nOne for each attempt, as a child of the request's span.\n")
	p.table("attribute|meaning", detailRows(attemptAttributes()))
	p.text("## Events of a request's span\n\nThere is exactly one for each increment of the counter of the same thing.\n")
	for _, e := range telemetry.Events() {
		p.text("### " + code(e.Name) + "\n\n" + e.Doc + "\n")
		p.table("attribute|meaning", detailRows(e.Details))
	}
	p.text("## Access line\n\nOne line for each request; `msg` is `request`. A field without a value is absent.\n")
	p.table("field|meaning", fieldRows())
	p.text("## Outcomes\n\nThe one word for how an exchange ended, in " + code("pace.outcome") + ", " + code(metrics.Outcome.Name) + " and the field `outcome`.\n" +
		"The side is who caused it. No exchange ends yet with an outcome that says \"later\".\n")
	p.table("word|status|Proxy-Status error|side|level|when|cause|remedy", outcomeRows())
	return string(p), nil
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
		status := strconv.Itoa(o.Status)
		if o.Status == 0 {
			status = ""
		}
		rows = append(rows, []string{code(o.Word), status, code(o.ProxyStatus), string(o.Side), strings.ToLower(o.Level.String()), o.When, o.Cause, o.Remedy})
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

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}
