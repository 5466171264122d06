package main

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"pace/telemetry"
	"pace/telemetry/metrics"
)

// promisesFile lists every name that docs/interface.md has ever promised, one a line.
const promisesFile = "scripts/generate/testdata/promises.txt"

// promises returns the text of the file of promises: it adds the names that are published now, and removes none.
func promises(root fs.FS) (string, error) {
	kept, err := readPromises(root)
	if err != nil {
		return "", err
	}
	list := append(kept, published()...)
	slices.Sort(list)
	return strings.Join(slices.Compact(list), "\n") + "\n", nil
}

func readPromises(root fs.FS) ([]string, error) {
	raw, err := fs.ReadFile(root, promisesFile)
	return strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n"), err
}

// published returns what the tables publish, as lines of the file of promises.
func published() (list []string) {
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	for _, i := range metrics.Instruments() {
		add("metric %s is a %s", i.Name, i.Type)
		for _, label := range i.Labels {
			add("metric %s has the label %s", i.Name, label.Name)
			for _, word := range label.Words {
				add("metric %s has the label %s=%s", i.Name, label.Name, word)
			}
		}
	}
	for _, o := range telemetry.Outcomes() {
		add("outcome %s has the status %d and the error %q", o.Word, o.Status, o.ProxyStatus)
	}
	for _, f := range telemetry.Facts() {
		if f.Attribute != "" {
			add("span SERVER has the attribute %s", f.Attribute)
		}
	}
	for _, d := range attemptAttributes() {
		add("span CLIENT has the attribute %s", d.Name)
	}
	for _, e := range telemetry.Events() {
		for _, d := range e.Details {
			add("event %s has the attribute %s", e.Name, d.Name)
		}
	}
	for _, row := range fieldRows() {
		add("line has the field %s", strings.Trim(row[0], "`"))
	}
	return list
}
