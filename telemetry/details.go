package telemetry

import (
	"cmp"
	"log/slog"
	"net/netip"
	"strings"
)

// Detail is one thing that is published of an attempt or of an event, of which a record has several. As
// [Fact] does for the record, it keeps name, place, meaning and value in one row.
type Detail[T any] struct {
	Name  string // of OpenTelemetry
	Place Place
	Doc   string
	Value func(*T) slog.Value // the zero Value: absent
}

// Place says where a detail is published: as an attribute, as a label, or as both.
type Place uint8

// The places.
const (
	OnSpan   Place = 1 << iota // an attribute of a span, or of its event
	OnMetric                   // a label of a metric
)

// On returns the details that are published at p.
func On[T any](p Place, details []Detail[T]) (some []Detail[T]) {
	for _, d := range details {
		if d.Place&p != 0 {
			some = append(some, d)
		}
	}
	return some
}

// The names of the span events; each stands for one increment of a counter.
const (
	EventLimited  = "pace.rate_limited"
	EventFailover = "pace.failover"
	EventRetry    = "pace.retry"
	EventEjected  = "pace.ejected"
	EventBudget   = "pace.budget_exhausted"
	EventMirrored = "pace.mirrored"
)

// LimitedDetails are the attributes of [EventLimited].
var LimitedDetails = []Detail[Limited]{
	{"pace.limit.policy", OnSpan, "Limit that rejected the request.",
		func(l *Limited) slog.Value { return slog.StringValue(l.Policy) }},
	{"pace.limit.key_kind", OnSpan, "Kind of the key by which the limit counts requests.",
		func(l *Limited) slog.Value { return slog.StringValue(l.KeyKind) }},
	{"pace.limit.limit", OnSpan, "Requests that the limit allows one key in a window.",
		func(l *Limited) slog.Value { return slog.IntValue(l.Limit) }},
	{"pace.limit.window_seconds", OnSpan, "Length of the window.",
		func(l *Limited) slog.Value { return slog.Float64Value(l.Window.Seconds()) }},
	{"pace.limit.retry_after_seconds", OnSpan, "Seconds until a request of this key passes again.",
		func(l *Limited) slog.Value { return slog.Float64Value(l.RetryAfter.Seconds()) }},
}

// FailoverDetails are the attributes of [EventFailover].
var FailoverDetails = []Detail[Failover]{
	{"pace.failover.from", OnSpan, "Backend that failed, host:port.",
		func(f *Failover) slog.Value { return slog.StringValue(f.From) }},
	{"pace.failover.to", OnSpan, "Backend that was asked next, host:port.",
		func(f *Failover) slog.Value { return slog.StringValue(f.To) }},
	{"pace.failover.reason", OnSpan, "How the attempt failed, the word of an outcome; or the status of its response.",
		func(f *Failover) slog.Value { return slog.StringValue(f.Reason) }},
	{"pace.failover.attempt", OnSpan, "Number of the attempt that failed, from 1.",
		func(f *Failover) slog.Value { return slog.IntValue(f.Attempt) }},
	{"pace.failover.bytes_sent", OnSpan, "Bytes of the request that the failed attempt had sent.",
		func(f *Failover) slog.Value { return slog.Int64Value(f.BytesSent) }},
}

// RetryDetails are the attributes of [EventRetry].
var RetryDetails = []Detail[Retry]{
	{"pace.retry.backend", OnSpan, "Backend that is asked again, host:port.",
		func(y *Retry) slog.Value { return slog.StringValue(y.Backend) }},
	{"pace.retry.reason", OnSpan, StaleConnection + ": a pooled connection died before a byte of the response; " + RefusedStream + " or " + GoAway + ": the backend said by HTTP/2 that it has not processed the request.",
		func(r *Retry) slog.Value { return slog.StringValue(r.Reason) }},
	{"pace.retry.attempt", OnSpan, "Number of the attempt that failed, from 1.",
		func(y *Retry) slog.Value { return slog.IntValue(y.Attempt) }},
}

// EjectedDetails are the attributes of [EventEjected].
var EjectedDetails = []Detail[Ejected]{
	{"pace.backend", OnSpan, "Backend that was ejected, host:port.",
		func(e *Ejected) slog.Value { return slog.StringValue(e.Backend) }},
	{"pace.reason", OnSpan, "Why, in words: the reason that the log and the API have, too.",
		func(e *Ejected) slog.Value { return slog.StringValue(e.Reason) }},
}

// BudgetDetails are the attributes of [EventBudget].
var BudgetDetails = []Detail[OverBudget]{
	{"pace.upstream", OnSpan, "Upstream whose budget would have been exceeded.",
		func(o *OverBudget) slog.Value { return slog.StringValue(o.Upstream) }},
	{"pace.budget.reason", OnSpan, "Why another attempt was called for: a reason of failovers or retries.",
		func(o *OverBudget) slog.Value { return slog.StringValue(o.Reason) }},
	{"pace.budget.attempt", OnSpan, "Number of the last attempt, from 1.",
		func(o *OverBudget) slog.Value { return slog.IntValue(o.Attempt) }},
}

// MirroredDetails are the attributes of [EventMirrored].
var MirroredDetails = []Detail[Mirrored]{
	{"pace.upstream", OnSpan, "Upstream that gets the copy.",
		func(m *Mirrored) slog.Value { return slog.StringValue(m.Upstream) }},
}

// AttemptOf is an attempt together with its record.
type AttemptOf struct {
	*Record
	*Attempt
	Index int // among the record's attempts
}

// AttemptDetails are the attributes of a CLIENT span, and the labels of the histogram of attempts.
var AttemptDetails = []Detail[AttemptOf]{
	{"http.request.method", OnSpan | OnMetric, "Method; an unknown one is _OTHER.",
		func(a *AttemptOf) slog.Value { return slog.StringValue(KnownMethod(a.Method)) }},
	{"server.address", OnSpan | OnMetric, "Host of the backend, or the path of its unix socket.",
		func(a *AttemptOf) slog.Value { return slog.StringValue(a.Attempt.Host) }},
	{"server.port", OnSpan | OnMetric, "Port of the backend; absent if it is a unix socket.",
		func(a *AttemptOf) slog.Value { return number(a.Port) }},
	{"peer.service", OnSpan, "Upstream and backend, as in default/10.0.0.7:8000, so that a list of spans shows which is which.",
		func(a *AttemptOf) slog.Value { return text(a.Upstream + "/" + a.Attempt.Backend) }},
	{"pace.pick.reason", OnSpan, "Why the policy's first choice of a backend was not taken: failover, login (the client has logged in at this backend), sticky (its cookie names it), overflow (the first choice has as many requests or connections as it may, or is the key's own backend and has too many requests in flight), no_key, trial (it is ejected, and the request shows whether it works again) or panic (no backend may be picked, so all are that are not drained); absent if it was taken.",
		func(a *AttemptOf) slog.Value { return text(a.PickReason) }},
	{"pace.connection.reused", OnSpan, "Whether the connection came from the pool.",
		func(a *AttemptOf) slog.Value { return slog.BoolValue(a.Reused) }},
	{"url.full", OnSpan, "URL that was requested, redacted like url.query.",
		func(a *AttemptOf) slog.Value { return text(a.fullURL()) }},
	{"http.response.status_code", OnSpan | OnMetric, "Status of the backend's response; absent if there was none.",
		func(a *AttemptOf) slog.Value { return number(a.Attempt.Status) }},
	{"rpc.response.status_code", OnSpan, "Name of the code with which the backend ended a gRPC call; absent if the request is none, or the response was not whole.",
		func(a *AttemptOf) slog.Value { return text(a.Attempt.GRPCCode.String()) }},
	{"error.type", OnSpan | OnMetric, "The backend's status, such as 500, the name of its gRPC code, if that is not OK, or how the attempt failed; absent if nothing went wrong.",
		func(a *AttemptOf) slog.Value { return text(a.Attempt.ErrorType()) }},
	{"pace.upstream", OnMetric, "Upstream of the backend.",
		func(a *AttemptOf) slog.Value { return slog.StringValue(a.Upstream) }},
	{"http.request.resend_count", OnSpan, "Attempts before this one; absent on the first.",
		func(a *AttemptOf) slog.Value { return number(a.Index) }},
	{"pace.mirror", OnSpan, "Whether the attempt is that of a mirror: a copy of a request, whose response is dropped; absent if it is not.",
		func(a *AttemptOf) slog.Value {
			if !a.Mirror {
				return slog.Value{}
			}
			return slog.BoolValue(true)
		}},
	{"network.peer.address", OnSpan, "Address of the backend; absent if there was no connection.",
		func(a *AttemptOf) slog.Value { return address(a.Remote.Addr()) }},
	{"network.peer.port", OnSpan, "Port of the backend; absent if there was no connection.",
		func(a *AttemptOf) slog.Value { return number(int(a.Remote.Port())) }},
	{"network.protocol.version", OnSpan, "HTTP version of the connection to the backend; absent if there was no connection, or only one to a unix socket.",
		func(a *AttemptOf) slog.Value {
			if !a.Remote.IsValid() && a.Attempt.Protocol == "" {
				return slog.Value{}
			}
			return slog.StringValue(cmp.Or(a.Attempt.Protocol, "1.1"))
		}},
}

func address(a netip.Addr) slog.Value {
	if !a.IsValid() {
		return slog.Value{}
	}
	return slog.StringValue(a.Unmap().WithZone("").String())
}

// fullURL is the URL that pace requested, redacted. Of a backend at a unix socket, its host is localhost.
func (a *AttemptOf) fullURL() string {
	var b strings.Builder
	scheme := "http://"
	if a.Secure {
		scheme = "https://"
	}
	b.WriteString(scheme)
	if a.Port == 0 {
		b.WriteString("localhost")
	} else {
		b.WriteString(a.Attempt.Backend)
	}
	b.WriteString(cmp.Or(a.SentPath, a.Path))
	if q := redact(a.Query, a.QueryAllow); q != "" {
		b.WriteByte('?')
		b.WriteString(q)
	}
	return b.String()
}
