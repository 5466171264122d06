package proxy

import (
	"log/slog"
	"slices"

	"pace/proxy/message"
)

// looped says whether the request has come back, again and again: a backend, perhaps by a detour,
// is pace itself (RFC 9110 §7.6.3).
func (q *request) looped() bool {
	if message.Hops(q.r.Header["Via"]) <= message.MaxHops {
		return false
	}
	if q.h.loops.Pass() {
		q.h.Log.LogAttrs(q.ctx, slog.LevelWarn, "a request came back too often: a backend leads to pace itself",
			slog.String("upstream", q.plan.upstream.Name), slog.String("trace_id", q.rec.TraceID()))
	}
	return true
}

// otherHost says whether a Host field names another host than the one that the request goes to.
// Only by HTTP/2 can a request have both.
func (q *request) otherHost() bool {
	return slices.ContainsFunc(q.r.Header["Host"], func(host string) bool { return !message.SameHost(host, q.r.Host, q.rec.Scheme) })
}
