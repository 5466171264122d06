package mix

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// differs writes down a difference between the truth and what pace says, or an exchange that did not
// go as its script says, which makes it no truth. Of a hundred of one sort a few are shown.
func (tr *Truth) differs(format string, args ...any) {
	tr.t.Helper()
	tr.faults++
	text := fmt.Sprintf(format, args...)
	sort := format + kindIn.FindString(text)
	if tr.shown[sort]++; tr.shown[sort] <= 4 {
		tr.t.Error(text)
	} else {
		tr.t.Fail()
	}
}

// kindIn finds the first segment of a path, which is a kind's name.
var kindIn = regexp.MustCompile(`/[a-z]+/`)

// compare reports each count in which two tables differ.
func (tr *Truth) compare(what string, got, want Table) {
	tr.t.Helper()
	for _, difference := range got.Differences(want) {
		tr.differs(what+" %s", difference)
	}
}

// row is what is printed of one outcome.
type row struct{ truth, metrics, log, spans int }

func (tr *Truth) row(outcome string) *row {
	if tr.outcomes[outcome] == nil {
		tr.outcomes[outcome] = &row{}
	}
	return tr.outcomes[outcome]
}

// keptRow is what is printed of one reason for which traces are kept.
type keptRow struct{ truth, counter, log, ring, spans, jaeger int }

func (tr *Truth) reason(word string) *keptRow {
	if tr.reasons[word] == nil {
		tr.reasons[word] = &keptRow{}
	}
	return tr.reasons[word]
}

// Report says what was compared.
func (tr *Truth) Report() {
	var text strings.Builder
	fmt.Fprintf(&text, "%-20s %8s %8s %8s %8s\n", "outcome", "truth", "metrics", "log", "spans")
	sum := row{}
	for _, word := range slices.SortedFunc(maps.Keys(tr.outcomes), func(x, y string) int {
		return cmp.Or(cmp.Compare(tr.outcomes[y].truth, tr.outcomes[x].truth), cmp.Compare(x, y))
	}) {
		r := tr.outcomes[word]
		fmt.Fprintf(&text, "%-20s %8d %8d %8d %8d\n", word, r.truth, r.metrics, r.log, r.spans)
		sum = row{sum.truth + r.truth, sum.metrics + r.metrics, sum.log + r.log, sum.spans + r.spans}
	}
	fmt.Fprintf(&text, "%-20s %8d %8d %8d %8d\n", "all", sum.truth, sum.metrics, sum.log, sum.spans)
	fmt.Fprintf(&text, "%-20s %8s %8s %8s %8s %8s %8s\n", "kept for", "truth", "counter", "log", "ring", "spans", "by id")
	for _, word := range slices.Sorted(maps.Keys(tr.reasons)) {
		r := tr.reasons[word]
		fmt.Fprintf(&text, "%-20s %8d %8d %8d %8d %8d %8d\n", word, r.truth, r.counter, r.log, r.ring, r.spans, r.jaeger)
	}
	fmt.Fprintf(&text, "%d exemplars\n", tr.exemplars)
	var tries, failovers, retries, refused, streams float64
	unseen := map[string]int{}
	for _, ac := range tr.houses {
		tries += ac.tries.Total()
		failovers += ac.failovers.Total()
		retries += ac.retries.Total()
		refused += ac.refused.Total()
		streams += ac.streams.Total()
		for k, n := range ac.missed {
			unseen[strings.Fields(k)[1]] += n
		}
	}
	fmt.Fprintf(&text, "attempts %v, and %v that only the wire knows of; failovers %v, retries %v; streams %v; refused before the handler %v; kills %d\n",
		tries, unseen, failovers, retries, streams, refused, crashes)
	fmt.Fprintf(&text, "%d differences", tr.faults)
	tr.t.Logf("\n%s", text.String())
}
