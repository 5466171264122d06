package health

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Failure is a kind of failure, as a noun in the singular and in the plural: "connect failure", "connect failures".
type Failure struct{ One, Many string }

// series is a number of failures in a row.
type series struct {
	n     int
	since time.Time
	kinds []counted // in the order in which they came
}

type counted struct {
	Failure
	n int
}

func (s *series) add(now time.Time, f Failure) {
	if s.n == 0 {
		s.since, s.kinds = now, s.kinds[:0]
	}
	s.n++
	if i := slices.IndexFunc(s.kinds, func(k counted) bool { return k.Failure == f }); i >= 0 {
		s.kinds[i].n++
	} else {
		s.kinds = append(s.kinds, counted{f, 1})
	}
}

// words says what failed: "5 connect failures in 2.1 s".
func (s *series) words(now time.Time) string {
	if len(s.kinds) == 1 {
		return s.kinds[0].words() + " in " + span(now.Sub(s.since))
	}
	list := make([]string, len(s.kinds))
	for i, k := range s.kinds {
		list[i] = k.words()
	}
	return fmt.Sprintf("%d failures in %s: %s", s.n, span(now.Sub(s.since)), strings.Join(list, ", "))
}

func (c counted) words() string {
	if c.n == 1 {
		return "1 " + c.One
	}
	return strconv.Itoa(c.n) + " " + c.Many
}

// span returns a duration in the unit that suits it.
func span(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return "less than 1 ms"
	case d < time.Second:
		return strconv.FormatInt(d.Round(time.Millisecond).Milliseconds(), 10) + " ms"
	case d < time.Minute:
		return strings.TrimSuffix(strconv.FormatFloat(d.Seconds(), 'f', 1, 64), ".0") + " s"
	}
	return d.Round(time.Second).String()
}
