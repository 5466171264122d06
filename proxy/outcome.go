package proxy

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"syscall"

	"pace/lb/health"
	"pace/proxy/body"
	"pace/proxy/transport"
	"pace/proxy/upstream"
	"pace/telemetry"
)

// This file alone decides outcomes. The rest of the package says what happened, by a cause, a body.Fault, a
// transport.Error or an ending, and never names an outcome (TestOutcomesAreDecidedInOneFile).

// cause is why pace responds itself, without an attempt that failed.
type cause uint8

const (
	causeDraining  cause = iota + 1 // pace is draining
	causeUnfit                      // the request cannot be forwarded
	causeNoRoute                    // no route takes it
	causeMethod                     // only routes with other methods match it
	causeForbidden                  // its route does not admit the client
	causeTooLarge                   // its body is announced as larger than the limit
	causeQuota                      // a limiter denied it
	causeLastHop                    // its client wants it to go no further
	causeRedirect                   // its route redirects
	causeRespond                    // its route has pace respond
	causeNoBackend                  // there is nobody to ask
	causeOverload                   // each backend has as many requests or connections as it may
	causeBug                        // pace is at fault
	causeCount
)

var causes = [causeCount]telemetry.Outcome{
	causeDraining:  telemetry.Draining,
	causeUnfit:     telemetry.BadRequest,
	causeNoRoute:   telemetry.NoRoute,
	causeMethod:    telemetry.MethodNotAllowed,
	causeForbidden: telemetry.Forbidden,
	causeTooLarge:  telemetry.TooLarge,
	causeQuota:     telemetry.RateLimited,
	causeLastHop:   telemetry.Responded,
	causeRedirect:  telemetry.Redirected,
	causeRespond:   telemetry.Responded,
	causeNoBackend: telemetry.NoBackend,
	causeOverload:  telemetry.Overload,
	causeBug:       telemetry.InternalError,
}

var faults = [...]telemetry.Outcome{
	body.TooLarge: telemetry.TooLarge,
	body.Late:     telemetry.RequestTimeout,
	body.Lost:     telemetry.ClientGone,
	body.Invalid:  telemetry.BadRequest,
	body.Bug:      telemetry.InternalError,
}

// ends writes down how the exchange ended.
func ends(rec *telemetry.Record, o telemetry.Outcome) { rec.Outcome = o }

// outcomeOf names how a failed attempt ended. The side was tagged where the failure happened; at one instant
// the client goes before the backend.
func (q *request) outcomeOf(e *transport.Error) telemetry.Outcome {
	switch {
	case q.client.aborted():
		return telemetry.DrainTimeout
	case expired(q.ctx):
		return q.client.outOfTime()
	case e.Kind == transport.RequestBody && (q.body == nil || errors.Is(e.Err, transport.ErrUnfit)):
		return telemetry.BadRequest // the transport would not write it
	case e.Kind == transport.RequestBody, e.Kind == transport.Canceled: // net/http ends the context of a body that is late, too
		return q.client.whyEnded(q.body)
	case q.body == nil && q.r.Context().Err() != nil, q.body != nil && q.body.Gone():
		return q.client.whyEnded(nil)
	}
	return failedBy(e.Kind)
}

// failedCopy names how the attempt of a copy failed. Nobody waits for it but pace.
func failedCopy(e *transport.Error) telemetry.Outcome {
	switch e.Kind {
	case transport.Canceled: // its time was up
		return telemetry.UpstreamTimeout
	case transport.Truncated:
		return telemetry.UpstreamTruncated
	}
	return failedBy(e.Kind)
}

// failedBy names what a backend, or the way there, did.
func failedBy(k transport.Kind) telemetry.Outcome {
	switch k {
	case transport.ConnectFailed:
		return telemetry.ConnectFailed
	case transport.TLSFailed, transport.BadCertificate:
		return telemetry.TLSFailed
	case transport.DNSFailed:
		return telemetry.DNSFailed
	case transport.Exhausted:
		return telemetry.Exhausted
	case transport.Full:
		return telemetry.Overload
	case transport.ConnectTimeout:
		return telemetry.ConnectTimeout
	case transport.ResponseTimeout:
		return telemetry.UpstreamTimeout
	case transport.Invalid, transport.HeaderTooLarge:
		return telemetry.UpstreamInvalid
	case transport.Stalled:
		return telemetry.UpstreamStalled
	}
	return telemetry.UpstreamReset
}

// whyEnded names what the client did when it ended its request: something was wrong with its body, if it has
// one, or it broke a rule of HTTP/2, or it left.
func (c *client) whyEnded(b *body.Body) telemetry.Outcome {
	if o := wrongWith(b); o != telemetry.Unset {
		return o
	}
	if c.brokeRules() {
		return telemetry.BadRequest
	}
	if c.leftAtDeadline() {
		return telemetry.UpstreamTimeout
	}
	return telemetry.ClientGone
}

// outOfTime names the limit that has ended the exchange.
func (c *client) outOfTime() telemetry.Outcome {
	if context.Cause(c.ctx) == errDeadline {
		return telemetry.UpstreamTimeout
	}
	return telemetry.RouteTimeout
}

// configured reports whether pace's own response is one that the configuration wants.
func configured(o telemetry.Outcome) bool {
	return o == telemetry.Responded || o == telemetry.Redirected
}

// wrongWith names what was wrong with a body; Unset: nothing, but that it may be shorter than announced.
func wrongWith(b *body.Body) telemetry.Outcome {
	if b == nil {
		return telemetry.Unset
	}
	if f := b.Fault(); f != body.Lost {
		return faults[f]
	}
	return telemetry.Unset
}

// undelivered names why the client has not taken its response.
func (c *client) undelivered() telemetry.Outcome {
	switch {
	case c.aborted():
		return telemetry.DrainTimeout
	case expired(c.ctx):
		return c.outOfTime()
	case !c.living.Stalled() && c.brokeRules():
		return telemetry.BadRequest
	case !c.living.Stalled() && c.leftAtDeadline():
		return telemetry.UpstreamTimeout
	}
	return telemetry.ClientAborted
}

// exactError is the error for the Proxy-Status field (RFC 9209) where the outcome's own is not exact
// enough, else "".
func exactError(k transport.Kind) string {
	switch k {
	case transport.HeaderTooLarge:
		return "http_response_header_section_size"
	case transport.BadCertificate:
		return "tls_certificate_error"
	}
	return ""
}

// RetryWords are the words for what an attempt may come to that another one follows, if the configuration says so.
// Some count as another one, and are not among them: that pace lacks a port, or a backend has no room, as
// connect_failed; and what a backend has not processed, as upstream_reset.
func RetryWords() []string {
	return slices.DeleteFunc(telemetry.FailoverReasons(), func(w string) bool {
		return w == telemetry.Exhausted.String() || w == telemetry.Overload.String() || slices.Contains(telemetry.NotProcessed, w)
	})
}

// mayPassElsewhere reports whether another backend may do better. That pace lacks a port is so for one
// destination; what else it lacks, it lacks for all. That a backend has no room says nothing about another.
func (f *failure) mayPassElsewhere() bool {
	if f.late {
		return false
	}
	switch f.outcome {
	case telemetry.Exhausted:
		return errors.Is(f.Err, syscall.EADDRNOTAVAIL)
	case telemetry.Overload:
		return true
	}
	return f.outcome.Info().Side == telemetry.BackendSide
}

// nouns name what backends do wrong: the reason of an ejection counts it.
var nouns = map[telemetry.Outcome]health.Failure{
	telemetry.ConnectFailed:     {One: "connect failure", Many: "connect failures"},
	telemetry.ConnectTimeout:    {One: "connect timeout", Many: "connect timeouts"},
	telemetry.TLSFailed:         {One: "TLS failure", Many: "TLS failures"},
	telemetry.DNSFailed:         {One: "failed lookup of its name", Many: "failed lookups of its name"},
	telemetry.UpstreamTimeout:   {One: "response timeout", Many: "response timeouts"},
	telemetry.RouteTimeout:      {One: "timeout of a route", Many: "timeouts of routes"},
	telemetry.UpstreamReset:     {One: "reset connection", Many: "reset connections"},
	telemetry.UpstreamInvalid:   {One: "invalid response", Many: "invalid responses"},
	telemetry.UpstreamTruncated: {One: "truncated response", Many: "truncated responses"},
	telemetry.UpstreamStalled:   {One: "stalled response", Many: "stalled responses"},
}

// resultOf returns what an attempt says about its backend. o is how it ended, or how its exchange did; status and code
// are those of its response, or 0; and in is the phase in which it was cut short, if it was.
func resultOf(o telemetry.Outcome, status int, code telemetry.GRPCCode, in telemetry.Phase) upstream.Result {
	switch {
	case status >= 500:
		return upstream.Result{Kind: upstream.Failure, Fault: respondedWith(strconv.Itoa(status))}
	case code.Faulty():
		return upstream.Result{Kind: upstream.Failure, Fault: respondedWith(code.String())}
	case o == telemetry.OK, o == telemetry.ClientError, o == telemetry.Upgraded:
		return upstream.Result{Kind: upstream.Success}
	case in == telemetry.Deliver, in == telemetry.ReadRequest: // the time was up while pace waited for the client
		return upstream.Result{}
	case o.Info().Side == telemetry.BackendSide:
		return upstream.Result{Kind: upstream.Failure, Fault: nouns[o]}
	}
	return upstream.Result{}
}

// result returns what the failed attempt says about its backend.
func (f *failure) result() upstream.Result {
	if f.late && f.outcome == telemetry.UpstreamTimeout { // its own limit has not run out
		return upstream.Result{}
	}
	return resultOf(f.outcome, 0, telemetry.NoGRPCCode, f.in)
}

// isDeadlines reports whether an attempt that got a response ended so because the deadline of a gRPC client ran out, in
// pace, which knows no other limit that gives this outcome then, or at the backend. The client has chosen it, and may
// choose one that no backend can keep. So it says nothing about the backend.
func (c *client) isDeadlines(o telemetry.Outcome, code telemetry.GRPCCode) bool {
	return !c.deadline.IsZero() && (o == telemetry.UpstreamTimeout || code == telemetry.GRPCDeadlineExceeded)
}

// resultOfCopy returns what the attempt of a copy says about its backend. The copy has the deadline of a gRPC client,
// too, and comes later than the call.
func resultOfCopy(o telemetry.Outcome, a *telemetry.Attempt) upstream.Result {
	if a.GRPCCode == telemetry.GRPCDeadlineExceeded {
		return upstream.Result{}
	}
	return resultOf(o, a.Status, a.GRPCCode, telemetry.Own)
}

func respondedWith(code string) health.Failure {
	return health.Failure{One: "response with " + code, Many: "responses with " + code}
}

// mayBeCovered reports whether the client gets the response of an earlier attempt, if there is one, after this one.
func (f *failure) mayBeCovered() bool {
	return f.Error == nil || f.outcome.Info().Failover != telemetry.NoFailover
}

// clientLeft reports whether the client left before it got a response: there is nobody to respond to.
func (f *failure) clientLeft() bool { return f.outcome == telemetry.ClientGone }

// leftUnanswered writes down that the client left before it got a response.
func (f *failure) leftUnanswered(rec *telemetry.Record) {
	rec.Status, rec.LeftIn = f.outcome.Info().Status, f.in
	ends(rec, f.outcome)
}

// delivered writes down how the delivery of a response ended: as its status says if it reached the client
// whole, else as whoever is to blame did. The client must see that a response is not whole.
func (q *request) delivered(e ending) {
	a := &q.rec.Attempts[q.delivering]
	if e.whole() {
		ends(q.rec, ofStatus(q.resp.Status))
		if q.rec.GRPC {
			noteCode(a, &q.resp)
			q.rec.GRPCCode = a.GRPCCode
			ends(q.rec, a.GRPCCode.Info().Outcome)
		}
		return
	}
	o := q.notDelivered(e)
	a.Failure = o
	if err, ok := errors.AsType[*transport.Error](e.unread); ok && o != telemetry.ClientAborted {
		a.Error = err.Words()
	}
	q.rec.LeftIn = e.in
	ends(q.rec, o)
	if e.unread != nil && q.endCall(o) {
		return
	}
	if q.rec.GRPC && o == telemetry.UpstreamTimeout { // it left because its deadline ran out, so it has the code
		q.rec.GRPCCode = o.GRPC()
	}
	q.abort(e)
}

// ofStatus names the outcome of a response that reached the client whole.
func ofStatus(status int) telemetry.Outcome {
	switch {
	case status >= 500:
		return telemetry.UpstreamError
	case status >= 400:
		return telemetry.ClientError
	}
	return telemetry.OK
}

// streamed writes down how a stream of events ended: by its close reason, for its outcome is that of its
// header.
func (q *request) streamed(e ending) {
	q.rec.Closed = q.closeReason(e)
	if !e.whole() {
		q.abort(e)
	}
}

func (q *request) closeReason(e ending) telemetry.CloseReason {
	if e.whole() {
		return telemetry.ClosedByBackend
	}
	if q.drained.Load() {
		return telemetry.ClosedByDrain
	}
	o := q.notDelivered(e)
	switch {
	case q.client.aborted():
		return telemetry.ClosedByDrain
	case q.living.Stalled():
		return telemetry.LostClient
	case o == telemetry.UpstreamTruncated:
		return telemetry.LostBackend
	case o == telemetry.ClientAborted:
		return telemetry.ClosedByClient
	}
	return telemetry.LostClient // its request's body went wrong
}

// notDelivered names whose doing it is that a body came to no end. When the client leaves, its request's
// context ends first, and only that makes the read from the backend fail; net/http ends it, too, when the
// client is late with its own body.
func (q *request) notDelivered(e ending) telemetry.Outcome {
	if q.drained.Load() {
		return telemetry.DrainTimeout
	}
	if e.unsent {
		return q.client.undelivered()
	}
	switch {
	case q.client.aborted():
		return telemetry.DrainTimeout
	case expired(q.ctx):
		return q.client.outOfTime()
	}
	err, _ := errors.AsType[*transport.Error](e.unread)
	if q.body != nil && err != nil && (err.Kind == transport.RequestBody || err.Kind == transport.Canceled) {
		q.resp.Close() // nobody reads the request's body any more: what was wrong with it is known
		if o := wrongWith(q.body); o != telemetry.Unset {
			return o
		}
		return q.client.undelivered()
	}
	if q.r.Context().Err() != nil {
		return q.client.undelivered()
	}
	if err != nil && err.Kind == transport.Stalled {
		return telemetry.UpstreamStalled
	}
	return telemetry.UpstreamTruncated
}

// endsSwitch writes down how the switch to another protocol went; err is of sending it to the client.
func endsSwitch(rec *telemetry.Record, err error) {
	if err != nil {
		rec.LeftIn = telemetry.Deliver
		ends(rec, telemetry.ClientAborted)
		return
	}
	ends(rec, telemetry.Upgraded)
}

// brokenByBug writes down that a bug ended a response that had begun. Of a stream only its header counts as
// the request, and that is counted already.
func brokenByBug(rec *telemetry.Record) {
	if rec.Stream == telemetry.NoStream {
		ends(rec, causes[causeBug])
	}
}

// attemptBroken writes down that a bug ended the attempt in progress, if there was one.
func attemptBroken(rec *telemetry.Record) {
	if n := len(rec.Attempts); n > 0 && rec.Attempts[n-1].Failure == telemetry.Unset {
		rec.Attempts[n-1].Failure = causes[causeBug]
	}
}
