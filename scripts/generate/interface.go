package main

import (
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"pace/telemetry"
	"pace/telemetry/metrics"
)

// promised makes docs/interface.md: the text is written by hand, and the blocks between marks are made from
// the tables of telemetry. TestPromises_AreKept holds the tables to what was promised before.
func promised(root fs.FS) (string, error) {
	raw, err := fs.ReadFile(root, "docs/interface.md")
	if err != nil {
		return "", err
	}
	text := string(raw)
	for name, block := range map[string]func(*page){
		"outcomes":             func(p *page) { p.table("word|status the client gets|Proxy-Status error|side|when", promisedOutcomes()) },
		"metrics":              func(p *page) { p.table("name|type|labels|meaning", promisedMetrics()) },
		"attributes of SERVER": func(p *page) { p.table("attribute|meaning", promisedAttributes()) },
		"attributes of CLIENT": func(p *page) { p.table("attribute|meaning", detailRows(attemptAttributes())) },
		"events":               func(p *page) { p.table("event|attributes", promisedEvents()) },
		"fields":               func(p *page) { p.table("field|meaning", fieldRows()) },
	} {
		var p page
		block(&p)
		if text, err = replaceBlock(text, name, strings.TrimSuffix(string(p), "\n")); err != nil {
			return "", fmt.Errorf("docs/interface.md: %w", err)
		}
	}
	return text, nil
}

// replaceBlock returns a page with another text between the marks of a block: <!-- NAME --> and <!-- /NAME -->.
func replaceBlock(page, name, text string) (string, error) {
	begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->"
	head, rest, ok1 := strings.Cut(page, begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		return "", fmt.Errorf("there is no block from %q to %q", begin, end)
	}
	return head + begin + text + end + tail, nil
}

// statuses describe the status that the client gets, for outcomes that do not have one fixed number.
var statuses = map[telemetry.Outcome]string{
	telemetry.OK:            "the backend's 1xx–3xx",
	telemetry.ClientError:   "the backend's 4xx",
	telemetry.UpstreamError: "the backend's 5xx",
	telemetry.DrainTimeout:  "503, or the status already sent",
	telemetry.ClientGone:    "499 (in telemetry; nobody gets it)",
}

func promisedOutcomes() (rows [][]string) {
	for word := telemetry.OK; word < telemetry.OutcomeCount; word++ {
		o := word.Info()
		status, when, proxyStatus := statuses[word], o.When, code(o.ProxyStatus)
		switch {
		case status != "":
		case o.Status == 0:
			status = "the status already sent"
			if proxyStatus != "" {
				proxyStatus = "(" + proxyStatus + ")" // the field was sent before
			}
		default:
			status = strconv.Itoa(o.Status)
		}
		rows = append(rows, []string{code(o.Word), status, proxyStatus, string(o.Side), when})
	}
	return rows
}

func promisedMetrics() (rows [][]string) {
	for _, i := range metrics.Instruments() {
		kind := string(i.Type)
		if i.Bounds != nil {
			kind += " " + strings.Trim(fmt.Sprint(i.Bounds), "[]")
		}
		var labels []string
		for _, l := range i.Labels {
			labels = append(labels, l.Name+closedList(l.Words))
		}
		rows = append(rows, []string{code(i.Name), kind, strings.Join(labels, ", "), i.Doc})
	}
	return rows
}

// closedList returns the words of a label in parentheses; nothing if it has no closed list.
func closedList(words []string) string {
	if words == nil {
		return ""
	}
	if slices.Equal(words, telemetry.WordsOf(telemetry.Outcomes())) {
		return " (an outcome)"
	}
	return " (`" + strings.Join(words, "`, `") + "`)"
}

func promisedAttributes() (rows [][]string) {
	for _, f := range telemetry.Facts() {
		if f.Attribute != "" {
			rows = append(rows, []string{code(f.Attribute), f.Doc})
		}
	}
	return rows
}

func promisedEvents() (rows [][]string) {
	for _, e := range telemetry.Events() {
		var list []string
		for _, d := range e.Details {
			list = append(list, d.Name)
		}
		rows = append(rows, []string{code(e.Name), strings.Join(list, ", ")})
	}
	return rows
}
