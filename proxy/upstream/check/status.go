package check

import (
	"fmt"
	"strconv"
	"strings"
)

// The statuses that a final response may have.
const (
	minStatus = 200
	maxStatus = 599
)

// Statuses is a set of statuses of responses.
type Statuses struct {
	text string
	has  [maxStatus - minStatus + 1]bool
}

// ParseStatuses reads statuses and ranges of them, separated by commas, such as "200-299, 404".
func ParseStatuses(text string) (Statuses, error) {
	s := Statuses{text: text}
	for one := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(one), "-")
		if !isRange {
			to = from
		}
		first, err := strconv.ParseUint(from, 10, 16)
		last, err2 := strconv.ParseUint(to, 10, 16)
		if err != nil || err2 != nil || first < minStatus || first > last || last > maxStatus {
			return Statuses{}, fmt.Errorf("%q is no status from %d to %d, and no range of them", one, minStatus, maxStatus)
		}
		for status := first; status <= last; status++ {
			s.has[status-minStatus] = true
		}
	}
	return s, nil
}

// Has reports whether a status is one of them.
func (s Statuses) Has(status int) bool {
	return status >= minStatus && status <= maxStatus && s.has[status-minStatus]
}

// String returns the statuses as they were written.
func (s Statuses) String() string { return s.text }
