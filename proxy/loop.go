package proxy

import (
	"log/slog"
	"strings"
)

// mostHops is how often a request may have passed through a pace: more than any chain of proxies
// that somebody means, and few enough that a loop ends before it is felt.
const mostHops = 16

// looped says whether the request has come back, again and again: a backend, perhaps by a detour,
// is pace itself (RFC 9110 §7.6.3).
func (q *request) looped() bool {
	if hops(q.r.Header["Via"]) <= mostHops {
		return false
	}
	if q.h.loops.pass() {
		q.h.Log.LogAttrs(q.ctx, slog.LevelWarn, "a request came back too often: a backend leads to pace itself",
			slog.String("upstream", q.h.Upstream), slog.String("trace_id", q.rec.TraceID()))
	}
	return true
}

// hops counts the paces in a list of intermediaries.
func hops(list []string) (n int) {
	for _, field := range list {
		for item := range strings.SplitSeq(field, ",") {
			if by := strings.Fields(item); len(by) > 1 && by[1] == "pace" {
				n++
			}
		}
	}
	return n
}
