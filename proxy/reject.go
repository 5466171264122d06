package proxy

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"pace/proxy/front"
	"pace/proxy/message"
	"pace/proxy/route"
	"pace/proxy/transport"
	"pace/telemetry"
)

// reject responds to what pace turns away before it asks a limit: it does not serve the request, no route takes
// it, or the route does not admit it. It reports whether it responded.
func (q *request) reject() bool {
	q.h.at(inRejected)
	switch {
	case q.h.InFlight.Draining() && !q.conn.Welcome(front.StreamID(q.client.w)):
		q.client.Header().Set("Connection", "close")
		q.respondOwn(causeDraining)
	case q.r.Method == http.MethodConnect, q.r.URL.Opaque != "", // "GET mailto:x": no origin server has such a thing
		q.out.Target == message.Asterisk && q.r.Method != http.MethodOptions,
		front.Malformed(q.r), q.looped(), namesOtherHost(q.r, q.rec.Scheme),
		q.miss.Miss == route.BadPath,
		q.r.ProtoMajor == 1 && q.conn.Misframed():
		q.respondOwn(causeUnfit)
	case q.conn.RedirectTo != 0 && q.rec.Scheme != message.HTTPS:
		q.redirectToHTTPS(q.conn.RedirectTo)
	case q.miss.Miss == route.NoRoute:
		q.respondOwn(causeNoRoute)
	case q.miss.Miss == route.MethodNotAllowed:
		q.client.Header()["Allow"] = []string{strings.Join(q.miss.Allow, ", ")}
		q.respondOwn(causeMethod)
	case !q.route.admits(q.asked.Client):
		q.respondOwn(causeForbidden)
	case q.route.maxBody > 0 && q.r.ContentLength > q.route.maxBody:
		q.respondOwn(causeTooLarge)
	default:
		return false
	}
	return true
}

// redirectToHTTPS sends the client to the same URL at the listener with TLS that has this port.
func (q *request) redirectToHTTPS(port int) {
	host := message.WithPort(q.r.Host, port)
	if host == "" || q.out.Target == message.Asterisk {
		q.respondOwn(causeUnfit)
		return
	}
	q.sendOwn(q.redirection(message.HTTPS+"://"+host+q.out.Target, http.StatusPermanentRedirect))
}

// looped reports whether the request has come back, again and again: a backend, perhaps by a detour,
// is pace itself (RFC 9110 §7.6.3).
func (q *request) looped() bool {
	if message.Hops(q.r.Header["Via"]) <= message.MaxHops {
		return false
	}
	if q.h.loops.Pass() {
		q.h.Log.LogAttrs(q.r.Context(), slog.LevelWarn, "request loop: a backend routes back to pace",
			slog.String("route", q.route.name), slog.String("trace_id", q.rec.TraceID()))
	}
	return true
}

// namesOtherHost reports whether a Host field names another host than the one that the request goes to.
// Only by HTTP/2 can a request have both.
func namesOtherHost(r *http.Request, scheme string) bool {
	return slices.ContainsFunc(r.Header["Host"], func(host string) bool { return !message.SameHost(host, r.Host, scheme) })
}

// respondIfLastHop responds to a request that may reach no server after pace. The response to TRACE does not
// repeat the request, as RFC 9110 §9.3.8 suggests: a proxy in front may have added what its client must not
// see.
func (q *request) respondIfLastHop() bool {
	if hops, limited := message.MaxForwards(q.r.Method, q.r.Header[message.MaxForwardsField]); !limited || hops > 0 {
		return false
	}
	q.respondOwn(causeLastHop)
	return true
}

// rejectIfBodyFails waits for the body's first byte where only that tells whether there is a body: a
// request without one must reach the backend without. It responds if the client does not send the byte.
func (q *request) rejectIfBodyFails() bool {
	if q.body == nil || !front.MaybeEmpty(q.r) {
		return false
	}
	q.rec.Enter(telemetry.ReadRequest)
	empty, err := q.body.Peek()
	q.rec.Enter(telemetry.Own)
	if err != nil {
		e := &transport.Error{Kind: transport.RequestBody, Phase: transport.ReadRequest, Err: err}
		q.giveUp(q.failedBy(e))
		return true
	}
	if empty {
		q.body = nil
	}
	return false
}
