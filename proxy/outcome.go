package proxy

import (
	"context"

	"pace/proxy/transport/http1"
	"pace/telemetry"
)

// outcome names how a failed attempt ended. Where the failure happened, there its side was tagged;
// at one instant the client goes before the backend.
func (q *request) outcome(e *http1.Error) telemetry.Outcome {
	switch {
	case q.aborted():
		return telemetry.DrainTimeout
	case e.Kind != http1.Canceled && e.Kind != http1.RequestBody:
	case q.body != nil: // a read that ran into its deadline makes net/http end the context, too
		if o := q.body.verdict(); o != telemetry.ClientGone {
			return o
		}
		return q.clientEnded()
	case e.Kind == http1.Canceled:
		return q.clientEnded()
	default:
		return telemetry.BadRequest // the exchange would not write it
	}
	if q.gone() {
		return q.clientEnded()
	}
	switch e.Kind {
	case http1.ConnectFailed:
		return telemetry.ConnectFailed
	case http1.DNSFailed:
		return telemetry.DNSFailed
	case http1.Exhausted:
		return telemetry.Exhausted
	case http1.ConnectTimeout:
		return telemetry.ConnectTimeout
	case http1.ResponseTimeout:
		return telemetry.UpstreamTimeout
	case http1.Invalid, http1.HeaderTooLarge:
		return telemetry.UpstreamInvalid
	}
	return telemetry.UpstreamReset
}

// proxyError is the error for the Proxy-Status field (RFC 9209) where the outcome's own is not exact
// enough, else "".
func proxyError(k http1.Kind) string {
	if k == http1.HeaderTooLarge {
		return "http_response_header_section_size"
	}
	return ""
}

// aborted reports whether draining has ended the request, before its client left.
func (q *request) aborted() bool { return context.Cause(q.ctx) == errAborted }

// clientEnded names what the client did when it ended its request. By HTTP/2 it may have broken a rule:
// net/http then resets the stream, and ends the request's context as if the client had left.
func (q *request) clientEnded() telemetry.Outcome {
	if q.r.ProtoMajor == 2 && !connOf(q.ctx).clientLeft(streamID(q.w)) {
		return telemetry.BadRequest
	}
	return telemetry.ClientGone
}

// undelivered names why the client has not taken its response.
func (q *request) undelivered() telemetry.Outcome {
	switch {
	case q.aborted():
		return telemetry.DrainTimeout
	case !q.stalled.Load() && q.clientEnded() == telemetry.BadRequest:
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
