package telemetry

import (
	"cmp"
	"log/slog"
	"net/netip"

	"go.opentelemetry.io/otel/attribute"
)

// detail is one attribute of what a record has several of: attempts, and events of one name.
// As [Fact] does for the record, it keeps name, meaning and value in one row.
type detail[T any] struct {
	name, doc string
	value     func(*T) slog.Value // the zero Value: absent
}

// The names of the span events; each stands for one increment of a counter.
const (
	eventLimited  = "pace.rate_limited"
	eventFailover = "pace.failover"
	eventRetry    = "pace.retry"
)

var limitedDetails = []detail[Limited]{
	{"pace.limit.policy", "Limit that said no.",
		func(l *Limited) slog.Value { return slog.StringValue(l.Policy) }},
	{"pace.limit.key_kind", "What requests are told apart by.",
		func(l *Limited) slog.Value { return slog.StringValue(l.KeyKind) }},
	{"pace.limit.limit", "Requests allowed in a window.",
		func(l *Limited) slog.Value { return slog.IntValue(l.Limit) }},
	{"pace.limit.window_seconds", "Length of the window.",
		func(l *Limited) slog.Value { return slog.Float64Value(l.Window.Seconds()) }},
	{"pace.limit.retry_after_seconds", "Seconds until the next place is free.",
		func(l *Limited) slog.Value { return slog.Float64Value(l.RetryAfter.Seconds()) }},
}

var failoverDetails = []detail[Failover]{
	{"pace.failover.from", "Backend that failed, host:port.",
		func(f *Failover) slog.Value { return slog.StringValue(f.From) }},
	{"pace.failover.to", "Backend that was asked next, host:port.",
		func(f *Failover) slog.Value { return slog.StringValue(f.To) }},
	{"pace.failover.reason", "How the attempt failed, an outcome's word.",
		func(f *Failover) slog.Value { return slog.StringValue(f.Reason.String()) }},
	{"pace.failover.attempt", "Number of the attempt that failed, from 1.",
		func(f *Failover) slog.Value { return slog.IntValue(f.Attempt) }},
	{"pace.failover.bytes_sent", "Bytes of the request that the failed attempt had sent.",
		func(f *Failover) slog.Value { return slog.Int64Value(f.BytesSent) }},
}

var retryDetails = []detail[Retry]{
	{"pace.retry.backend", "Backend that is asked again, host:port.",
		func(y *Retry) slog.Value { return slog.StringValue(y.Backend) }},
	{"pace.retry.reason", "Always " + staleConnection + ": a pooled connection died before a byte of the answer.",
		func(*Retry) slog.Value { return slog.StringValue(staleConnection) }},
	{"pace.retry.attempt", "Number of the attempt that failed, from 1.",
		func(y *Retry) slog.Value { return slog.IntValue(y.Attempt) }},
}

// attemptOf is an attempt and what its span tells besides.
type attemptOf struct {
	*Record
	*Attempt
	index int // among the record's attempts
}

// attemptDetails are the attributes of a CLIENT span.
var attemptDetails = []detail[attemptOf]{
	{"http.request.method", "Method; an unknown one is _OTHER.",
		func(a *attemptOf) slog.Value { return slog.StringValue(knownMethod(a.Method)) }},
	{"server.address", "Host of the backend.",
		func(a *attemptOf) slog.Value { return slog.StringValue(a.Attempt.Host) }},
	{"server.port", "Port of the backend.",
		func(a *attemptOf) slog.Value { return slog.IntValue(a.Port) }},
	{"peer.service", "Pool and backend, as in default/10.0.0.7:8000, by which a list of spans tells them apart.",
		func(a *attemptOf) slog.Value { return text(a.Upstream + "/" + a.Attempt.Backend) }},
	{"pace.connection.reused", "Whether the connection came from the pool.",
		func(a *attemptOf) slog.Value { return slog.BoolValue(a.Reused) }},
	{"url.full", "URL as asked for, redacted like url.query.",
		func(a *attemptOf) slog.Value { return text(a.fullURL(a.Attempt)) }},
	{"http.response.status_code", "Status the backend answered; absent if it did not.",
		func(a *attemptOf) slog.Value { return number(a.Attempt.Status) }},
	{"error.type", "The backend's status, such as 500, or how the attempt failed; absent if nothing went wrong.",
		func(a *attemptOf) slog.Value { return text(a.Attempt.errorType()) }},
	{"http.request.resend_count", "Attempts before this one; absent on the first.",
		func(a *attemptOf) slog.Value { return number(a.index) }},
	{"network.peer.address", "Address of the backend; absent if there was no connection.",
		func(a *attemptOf) slog.Value { return address(a.Remote.Addr()) }},
	{"network.peer.port", "Port of the backend; absent if there was no connection.",
		func(a *attemptOf) slog.Value { return number(int(a.Remote.Port())) }},
	{"network.protocol.version", "HTTP version of the backend's response, 1.1 if none came; absent if there was no connection.",
		func(a *attemptOf) slog.Value {
			if !a.Remote.IsValid() {
				return slog.Value{}
			}
			return slog.StringValue(cmp.Or(a.Attempt.Protocol, "1.1"))
		}},
}

func attributesOf[T any](details []detail[T], of *T) []attribute.KeyValue {
	list := make([]attribute.KeyValue, 0, len(details))
	for i := range details {
		list = appendAttribute(list, details[i].name, details[i].value(of))
	}
	return list
}

func address(a netip.Addr) slog.Value {
	if !a.IsValid() {
		return slog.Value{}
	}
	return slog.StringValue(a.Unmap().WithZone("").String())
}
