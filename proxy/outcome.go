package proxy

import (
	"context"

	"pace/proxy/front"
	"pace/proxy/transport"
	"pace/telemetry"
)

// outcome names how a failed attempt ended. Where the failure happened, there its side was tagged;
// at one instant the client goes before the backend.
func (q *request) outcome(e *transport.Error) telemetry.Outcome {
	switch {
	case q.aborted():
		return telemetry.DrainTimeout
	case e.Kind != transport.Canceled && e.Kind != transport.RequestBody:
	case q.body != nil: // a read that ran into its deadline makes net/http end the context, too
		if o := q.body.verdict(); o != telemetry.ClientGone {
			return o
		}
		return q.clientEnded()
	case e.Kind == transport.Canceled:
		return q.clientEnded()
	default:
		return telemetry.BadRequest // the exchange would not write it
	}
	if q.gone() {
		return q.clientEnded()
	}
	switch e.Kind {
	case transport.ConnectFailed:
		return telemetry.ConnectFailed
	case transport.DNSFailed:
		return telemetry.DNSFailed
	case transport.Exhausted:
		return telemetry.Exhausted
	case transport.ConnectTimeout:
		return telemetry.ConnectTimeout
	case transport.ResponseTimeout:
		return telemetry.UpstreamTimeout
	case transport.Invalid, transport.HeaderTooLarge:
		return telemetry.UpstreamInvalid
	}
	return telemetry.UpstreamReset
}

// proxyError is the error for the Proxy-Status field (RFC 9209) where the outcome's own is not exact
// enough, else "".
func proxyError(k transport.Kind) string {
	if k == transport.HeaderTooLarge {
		return "http_response_header_section_size"
	}
	return ""
}

// aborted reports whether draining has ended the request, before its client left.
func (q *request) aborted() bool { return context.Cause(q.ctx) == front.ErrAborted }

// clientEnded names what the client did when it ended its request. By HTTP/2 it may have broken a rule:
// net/http then resets the stream, and ends the request's context as if the client had left.
func (q *request) clientEnded() telemetry.Outcome {
	if q.r.ProtoMajor == 2 && !front.ConnOf(q.ctx).ClientLeft(front.StreamID(q.w)) {
		return telemetry.BadRequest
	}
	return telemetry.ClientGone
}

// undelivered names why the client has not taken its response.
func (q *request) undelivered() telemetry.Outcome {
	switch {
	case q.aborted():
		return telemetry.DrainTimeout
	case !q.living.Stalled() && q.clientEnded() == telemetry.BadRequest:
		return telemetry.BadRequest
	}
	return telemetry.ClientAborted
}

// gone says whether the client has left.
func (q *request) gone() bool {
	if q.body != nil {
		return q.body.gone()
	}
	return q.ctx.Err() != nil
}

// delivered names the outcome of an answer that reached the client whole.
func delivered(status int) telemetry.Outcome {
	switch {
	case status >= 500:
		return telemetry.UpstreamError
	case status >= 400:
		return telemetry.ClientError
	}
	return telemetry.OK
}
