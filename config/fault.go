package config

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"

	"pace/config/toml"
)

// Fault is one thing wrong with a config: where, what, and how to fix it.
type Fault struct {
	File   string
	Line   int    // from 1; 0 when no line is to blame, as for a missing key
	Key    string // dotted, as written: upstreams.backends[1]; "" when no key is to blame
	What   string // lower case, no full stop: no scheme in "127.0.0.1:8001"
	Remedy string // what to do: write "http://127.0.0.1:8001"
}

// Error is one line, FILE:LINE: KEY: WHAT; REMEDY, without the parts that are not known.
func (f *Fault) Error() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		b.WriteString(":" + strconv.Itoa(f.Line))
	}
	b.WriteString(": ")
	if f.Key != "" {
		b.WriteString(toml.Clip(f.Key) + ": ")
	}
	b.WriteString(f.What + "; " + f.Remedy)
	return b.String()
}

// Join adds faults to those in err, and makes one error of all: in file order, those without a line
// last. It is nil when there are none.
func Join(err error, more ...*Fault) error {
	faults := append(Faults(err), more...)
	slices.SortStableFunc(faults, func(a, b *Fault) int { return cmp.Compare(a.order(), b.order()) })
	errs := make([]error, len(faults))
	for i, f := range faults {
		errs[i] = f
	}
	return errors.Join(errs...)
}

// Faults takes an error of this package apart.
func Faults(err error) (list []*Fault) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			list = append(list, Faults(e)...)
		}
	} else if f, ok := errors.AsType[*Fault](err); ok {
		list = append(list, f)
	}
	return list
}

func (f *Fault) order() int {
	if f.Line == 0 {
		return math.MaxInt
	}
	return f.Line
}
