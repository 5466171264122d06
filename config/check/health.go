package check

import (
	"strconv"
	"strings"

	"pace/config/toml"
)

// Checks of what stands in the table of an upstream's health.

// checkedHost is host[:port].
func checkedHost(s, _ string) (string, *Refusal) { return hostField(s, "a host, perhaps with a port") }

// checkedPath is an absolute path, and perhaps a query, as it goes over the wire.
func checkedPath(s, _ string) (string, *Refusal) {
	const form = "a path"
	path, _, _ := strings.Cut(s, "?")
	switch {
	case strings.Contains(s, "://"):
		return "", &Refusal{What: toml.Redact(s) + " is a URL", Form: form}
	case !strings.HasPrefix(s, "/"):
		return "", &Refusal{What: toml.Quote(s) + ` does not start with "/"`, Form: form, Instead: "/" + s}
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '#' }):
		return "", &Refusal{What: toml.Quote(s) + " is not a plain path", Form: "a path without a fragment, other characters %-encoded"}
	case isBadEncoding(path):
		return "", &Refusal{What: "an invalid percent-encoding in " + toml.Quote(s), Form: `a path with two hexadecimal digits after each "%"`}
	}
	return s, nil
}

// statuses are statuses of final responses and ranges of them, separated by commas.
func statuses(s, _ string) (string, *Refusal) {
	const form = "statuses from 200 to 599, or ranges of them, separated by commas"
	for one := range strings.SplitSeq(s, ",") {
		one = strings.TrimSpace(one)
		from, to, isRange := strings.Cut(one, "-")
		if !isRange {
			to = from
		}
		first, last := status(from), status(to)
		switch {
		case one == "":
			return "", &Refusal{What: "a status is missing in " + toml.Quote(s), Form: form}
		case first == 0 || last == 0:
			return "", &Refusal{What: toml.Quote(one) + " is neither a status from 200 to 599 nor a range of them", Form: form, Instead: class(one)}
		case first > last:
			return "", &Refusal{What: "the range " + toml.Quote(one) + " ends before it begins", Form: form, Instead: to + "-" + from}
		}
	}
	return s, nil
}

// status is the number that s means; 0 if it is none.
func status(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || len(s) != 3 || n < 200 || n > 599 {
		return 0
	}
	return n
}

// class is the range that somebody means by 2xx; "" if s is none.
func class(s string) string {
	if len(s) == 3 && strings.EqualFold(s[1:], "xx") && s[0] >= '2' && s[0] <= '5' {
		return s[:1] + "00-" + s[:1] + "99"
	}
	return ""
}
