package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"pace/telemetry"
)

// contract returns what the page docs/interface.md promises.
func contract(page string) (all []signal) {
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
			for phase := range telemetry.PhaseCount {
				all = append(all, signal{kind, strings.Replace(name, "PHASE", phase.String(), 1), ""})
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
