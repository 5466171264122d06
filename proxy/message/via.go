package message

import "strings"

// Via appends pace to a list of intermediaries; version is of the message as pace received it (RFC 9110 §7.6.3).
func Via(list []string, version string) string {
	if len(list) > 0 {
		return strings.Join(list, ", ") + ", " + version + " pace"
	}
	if version == "1.1" {
		return "1.1 pace"
	}
	return version + " pace"
}

// Version returns the HTTP version of a message as Via and pace's signals name it.
func Version(major, minor int) string {
	switch {
	case major == 3:
		return "3"
	case major == 2:
		return "2"
	case minor == 0:
		return "1.0"
	}
	return "1.1"
}

// MaxHops is how often a request may have passed through a pace: more than any chain of proxies
// that somebody means, and few enough that a loop ends before it is felt.
const MaxHops = 16

// Hops counts the paces in a list of intermediaries.
func Hops(list []string) (n int) {
	for _, field := range list {
		for item := range strings.SplitSeq(field, ",") {
			if by := strings.Fields(item); len(by) > 1 && by[1] == "pace" {
				n++
			}
		}
	}
	return n
}
