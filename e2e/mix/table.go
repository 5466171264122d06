package mix

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Table counts things by what they have in common.
type Table map[string]float64

// Key is what things of one sort have in common, as the key of a Table.
func Key(words ...any) string {
	text := make([]string, len(words))
	for i, w := range words {
		if text[i] = fmt.Sprint(w); w == 0 || w == nil {
			text[i] = "" // a status that nobody sent is a label that is not there
		}
	}
	return strings.Join(text, " ")
}

// Differences says of each count in which two tables differ what it is and what it should be; one that
// is absent is 0.
func (t Table) Differences(want Table) (list []string) {
	keys := maps.Clone(want)
	maps.Copy(keys, t)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if t[k] != want[k] {
			list = append(list, fmt.Sprintf("%q: got %v, want %v", k, t[k], want[k]))
		}
	}
	return list
}

// fold adds up a table by some words of its keys.
func (t Table) fold(words ...int) Table {
	folded := Table{}
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

// Total adds up the table.
func (t Table) Total() (sum float64) {
	for _, n := range t {
		sum += n
	}
	return sum
}
