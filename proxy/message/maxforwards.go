package message

import (
	"math"
	"net/http"
	"strconv"
	"strings"
)

// MaxForwardsField limits how far an OPTIONS or TRACE request goes.
const MaxForwardsField = "Max-Forwards"

// MaxForwards returns how many more proxies and servers an OPTIONS or TRACE request may reach after
// pace, and whether its client limits that at all (RFC 9110 §7.6.2). fields are the Max-Forwards fields. Of several numbers the smallest
// holds. A number that fits no counter is as good as the largest that does. A value that is no
// number limits nothing, and goes on as it came.
func MaxForwards(method string, fields []string) (hops uint64, limited bool) {
	if method != http.MethodOptions && method != http.MethodTrace {
		return 0, false
	}
	hops = math.MaxUint64
	for _, field := range fields {
		for item := range strings.SplitSeq(field, ",") {
			n, ok := digits(strings.Trim(item, " \t"))
			if !ok {
				return 0, false
			}
			hops, limited = min(hops, n), true
		}
	}
	return hops, limited
}

// digits reads a number that consists of digits and nothing else; one that is too large is the largest.
func digits(s string) (uint64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, _ := strconv.ParseUint(s, 10, 64) // fails only of too large a number, and then returns the largest
	return n, true
}
