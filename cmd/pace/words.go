package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"

	"pace/config"
	"pace/proxy"
	"pace/telemetry"
)

// load reads a configuration and holds the words in it to the lists of the parts that know them.
// All faults are reported at once, in file order.
func load(file string) (*config.File, error) {
	f, err := config.Load(file)
	if f == nil {
		return nil, err
	}
	faults := faultsIn(err)
	for _, w := range words(f) {
		known := func(f *config.Fault) bool { return f.Key == w.key }
		if !slices.Contains(w.known, w.got) && !slices.ContainsFunc(faults, known) {
			faults = append(faults, f.Fault(w.key, fmt.Sprintf("unknown word %q", w.got), "write one of "+strings.Join(w.known, ", ")))
		}
	}
	slices.SortStableFunc(faults, func(a, b *config.Fault) int { return cmp.Compare(line(a), line(b)) })
	errs := make([]error, len(faults))
	for i, fault := range faults {
		errs[i] = fault
	}
	return f, errors.Join(errs...)
}

// word is a key whose value must be one of a part's words.
type word struct {
	key, got string
	known    []string
}

var levels = []string{"debug", "info", "warn", "error"}

func words(f *config.File) []word {
	list := []word{
		{"tracing.protocol", f.Tracing.Protocol, telemetry.Protocols},
		{"tracing.trust", f.Tracing.Trust, proxy.Trusts},
		{"log.format", f.Log.Format, telemetry.LogFormats},
		{"log.level", f.Log.Level, levels},
	}
	if f.RateLimit != nil {
		list = append(list, word{"rate_limit.key_extractor", f.RateLimit.KeyExtractor, proxy.KeyKinds})
	}
	return list
}

func level(word string) (l slog.Level) {
	if err := l.UnmarshalText([]byte(word)); err != nil {
		panic("pace: BUG: a level that load let pass: " + word)
	}
	return l
}

func faultsIn(err error) (list []*config.Fault) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			list = append(list, faultsIn(e)...)
		}
	} else if fault, ok := errors.AsType[*config.Fault](err); ok {
		list = append(list, fault)
	}
	return list
}

func line(f *config.Fault) int {
	if f.Line == 0 {
		return math.MaxInt
	}
	return f.Line
}
