package proxy

import "pace/proxy/transport"

// interim passes on each 1xx response, also a 100 that nobody asked for, but none to HTTP/1.0, which does not
// know them (RFC 9110 §15.2). It runs in the middle of an attempt, on the handler's goroutine.
func (q *request) interim(status int, fields []transport.Field) {
	q.h.at(inInterim)
	switch {
	case !q.r.ProtoAtLeast(1, 1):
	case q.body != nil:
		q.body.Interim(status, func() { q.client.interim(status, fields) })
	default:
		q.client.interim(status, fields)
	}
}
