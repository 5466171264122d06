package telemetry

import "log/slog"

// Outcome is the one word for how an exchange ended. Ending Unset is a bug, and shows as one.
type Outcome uint8

// The closed list of interface.md; the words, causes and remedies stand in [outcomes].
const (
	Unset Outcome = iota
	OK
	ClientError
	UpstreamError
	Responded
	RateLimited
	NoRoute
	NoBackend
	Overload
	Draining
	DrainTimeout
	ConnectFailed
	ConnectTimeout
	DNSFailed
	Exhausted
	UpstreamTimeout
	UpstreamReset
	UpstreamInvalid
	UpstreamTruncated
	UpstreamStalled
	ClientGone
	ClientAborted
	RequestTimeout
	BadRequest
	TooLarge
	Upgraded
	InternalError
	OutcomeCount
)

// Side says whose doing an outcome is.
type Side string

// The sides, in the order in which a dashboard stacks them.
const (
	NoSide      Side = "none"
	ClientSide  Side = "client"
	LimiterSide Side = "limiter"
	PaceSide    Side = "pace"
	BackendSide Side = "backend"
)

// SpanRule says when the span of a request that ended so has the status Error. As with the other rules, its
// zero value stands for a column that is missing.
type SpanRule uint8

// The rules for the status of a span.
const (
	FailsByStatus SpanRule = iota + 1 // if the status that the client got is 500 or more
	FailsAlways
)

// ErrorTypeRule says what the error.type of a request that ended so is.
type ErrorTypeRule uint8

// The rules for error.type.
const (
	NoErrorType   ErrorTypeRule = iota + 1
	TypedByStatus               // the backend's status
	TypedByWord                 // the outcome's word
)

// RejectionRule says whether pace turned the request away on purpose, before or instead of asking a backend.
type RejectionRule uint8

// The rules for rejections.
const (
	RejectsNot RejectionRule = iota + 1
	Rejects
)

// FailoverRule says whether another backend may be asked after an attempt that failed so.
type FailoverRule uint8

// The rules for failovers.
const (
	NoFailover     FailoverRule = iota + 1
	FailoverCounts              // and the failure counts against the backend
	FailoverOnly                // but the failure says nothing of the backend
)

// OutcomeInfo is what the vocabulary says of one outcome.
type OutcomeInfo struct {
	Word        string
	Status      int    // what pace answers or, for ClientGone, records; 0: the backend's or the one already sent
	ProxyStatus string // error of RFC 9209 in the Proxy-Status field; "": none
	Side        Side
	Level       slog.Level // of the access line
	Span        SpanRule
	ErrorType   ErrorTypeRule
	Rejection   RejectionRule
	Failover    FailoverRule
	Later       bool // no part of pace ends an exchange so yet
	When        string
	Cause       string
	Remedy      string
	Sentence    string // what pace's own response tells its reader; "": pace gives none
}

// outcomes is the vocabulary; labels, answers, docs and dashboards are made from it.
var outcomes = [OutcomeCount]OutcomeInfo{
	Unset: {"unset", 0, "", PaceSide, slog.LevelError, FailsByStatus, TypedByWord, RejectsNot, NoFailover, false,
		"never", "pace lost track of the request", "report it: it is a bug of pace",
		""},
	OK: {"ok", 0, "", NoSide, slog.LevelInfo, FailsByStatus, NoErrorType, RejectsNot, NoFailover, false,
		"the backend's 1xx to 3xx was delivered whole", "all went well", "none needed",
		""},
	ClientError: {"client_error", 0, "", ClientSide, slog.LevelInfo, FailsByStatus, NoErrorType, RejectsNot, NoFailover, false,
		"the backend's 4xx was delivered whole", "the backend found fault with the request", "look at the path and status in the access line; the backend's own log says more",
		""},
	UpstreamError: {"upstream_error", 0, "", BackendSide, slog.LevelError, FailsByStatus, TypedByStatus, RejectsNot, NoFailover, false,
		"the backend's 5xx was delivered whole", "the backend failed and said so itself", "look for the trace id in the backend's log",
		""},
	Responded: {"responded", 200, "", NoSide, slog.LevelInfo, FailsByStatus, NoErrorType, RejectsNot, NoFailover, false,
		"pace itself was asked: `Max-Forwards: 0` on OPTIONS or TRACE", "the client wants an answer from pace, not from a backend", "none needed",
		"This proxy answered by itself; it asked no backend."},
	RateLimited: {"rate_limited", 429, "http_request_denied", LimiterSide, slog.LevelWarn, FailsByStatus, TypedByWord, Rejects, NoFailover, false,
		"a limiter said no", "this client used up its places in the window", "raise rate_limit.max_requests, or find the client in the access line; behind another proxy set server.trusted_proxies, or all clients share one limit",
		"You have sent too many requests; try again later."},
	NoRoute: {"no_route", 404, "destination_not_found", ClientSide, slog.LevelWarn, FailsByStatus, TypedByWord, Rejects, NoFailover, true,
		"no route matches", "host and path belong to no route", "add a route",
		"No route of this proxy matches the request."},
	NoBackend: {"no_backend", 503, "destination_unavailable", BackendSide, slog.LevelError, FailsByStatus, TypedByWord, Rejects, NoFailover, false,
		"no backend may be picked", "the pool has no backend that could be asked", "bring a backend back, or add one to upstreams.backends",
		"No backend is available for this request."},
	Overload: {"overload", 503, "connection_limit_reached", PaceSide, slog.LevelError, FailsByStatus, TypedByWord, Rejects, NoFailover, true,
		"a circuit or shedding limit was reached", "more work than pace was told to take on", "raise the limit, or add backends",
		"This proxy is handling as many requests as it may; try again later."},
	Draining: {"draining", 503, "proxy_internal_response", PaceSide, slog.LevelError, FailsByStatus, TypedByWord, Rejects, NoFailover, false,
		"the request arrived while pace was ending", "the load balancer in front still sends requests here", "take the instance out when /readyz says 503",
		"This proxy is shutting down; send the request again."},
	DrainTimeout: {"drain_timeout", 503, "proxy_internal_response", PaceSide, slog.LevelError, FailsAlways, TypedByWord, RejectsNot, NoFailover, false,
		"pace aborted the request because draining took too long", "the request ran for longer than server.drain_timeout, or a second signal ended pace", "raise server.drain_timeout above the longest request, and the time that the service manager gives pace to end",
		"This proxy shut down before the request was finished; send it again if it is safe to repeat."},
	ConnectFailed: {"connect_failed", 502, "connection_refused", BackendSide, slog.LevelError, FailsByStatus, TypedByWord, RejectsNot, FailoverCounts, false,
		"the last attempt could not connect", "nothing listens at the backend's address, or the network refuses it", "start the backend; check its address in upstreams.backends",
		"The proxy could not connect to the backend."},
	ConnectTimeout: {"connect_timeout", 504, "connection_timeout", BackendSide, slog.LevelError, FailsByStatus, TypedByWord, RejectsNot, FailoverCounts, false,
		"the last attempt could not connect in time", "the backend's host does not answer, or its accept queue is full", "check the host and firewall; upstreams.connect_timeout is the limit",
		"The proxy could not connect to the backend in time."},
	DNSFailed: {"dns_failed", 502, "dns_error", BackendSide, slog.LevelError, FailsByStatus, TypedByWord, RejectsNot, FailoverOnly, false,
		"the backend's name could not be resolved, or not in time", "the name does not exist, or the name server failed or did not answer", "look the name up on pace's host with getent hosts; check it in upstreams.backends",
		"The proxy could not resolve the name of the backend."},
	Exhausted: {"exhausted", 503, "proxy_internal_error", PaceSide, slog.LevelError, FailsByStatus, TypedByWord, RejectsNot, FailoverOnly, false,
		"pace had no descriptor, port or memory for a connection to a backend", "pace has reached a limit of its process or host; no backend is at fault", "the error names the limit: raise LimitNOFILE, widen net.ipv4.ip_local_port_range, or add memory",
		"This proxy has run out of a resource; try again later."},
	UpstreamTimeout: {"upstream_timeout", 504, "http_response_timeout", BackendSide, slog.LevelError, FailsByStatus, TypedByWord, RejectsNot, FailoverCounts, false,
		"no response header came in time", "the backend is slow or hangs", "see the backend's trace; upstreams.response_timeout is the limit",
		"The backend did not respond in time."},
	UpstreamReset: {"upstream_reset", 502, "connection_terminated", BackendSide, slog.LevelError, FailsByStatus, TypedByWord, RejectsNot, FailoverCounts, false,
		"the connection was lost before the response header was whole", "the backend crashed, restarted or closed the connection", "look at the backend's log at that moment",
		"The backend closed the connection before its response was complete."},
	UpstreamInvalid: {"upstream_invalid", 502, "http_protocol_error", BackendSide, slog.LevelError, FailsByStatus, TypedByWord, RejectsNot, FailoverCounts, false,
		"what came was not HTTP", "the backend speaks another protocol or breaks HTTP's rules", "ask the backend directly with curl --http1.1 -v",
		"The backend sent a response that is not valid HTTP."},
	UpstreamTruncated: {"upstream_truncated", 0, "http_response_incomplete", BackendSide, slog.LevelError, FailsAlways, TypedByWord, RejectsNot, NoFailover, false,
		"the backend broke off in the body; the client's connection was broken off too", "the backend crashed or closed in mid-answer", "look at the backend's log at that moment",
		""},
	UpstreamStalled: {"upstream_stalled", 0, "", BackendSide, slog.LevelError, FailsAlways, TypedByWord, RejectsNot, NoFailover, true,
		"the body timed out on the backend's side", "the backend stopped sending in mid-answer", "see the backend's trace",
		""},
	ClientGone: {"client_gone", 499, "", ClientSide, slog.LevelWarn, FailsByStatus, TypedByWord, RejectsNot, NoFailover, false,
		"the client left before a response header was sent", "the client gave up or lost its connection; one that leaves during wait has usually timed out on a slow backend", "look at left_in: if it is wait, compare the client's timeout with the route's p99 and find out why the backend is slow; else look at the client and its network",
		""},
	ClientAborted: {"client_aborted", 0, "", ClientSide, slog.LevelWarn, FailsByStatus, TypedByWord, RejectsNot, NoFailover, false,
		"the client left in the body", "the client gave up or lost its connection; one that leaves during receive has usually waited for a slow backend", "none if they are few; else look at left_in and compare the client's timeout with the response's size and the backend's speed",
		""},
	RequestTimeout: {"request_timeout", 408, "http_request_error", ClientSide, slog.LevelWarn, FailsByStatus, TypedByWord, RejectsNot, NoFailover, false,
		"the request's body stalled", "the client stopped sending in mid-request", "server.body_timeout is the limit",
		"The body of the request did not arrive in time."},
	BadRequest: {"bad_request", 400, "http_request_error", ClientSide, slog.LevelWarn, FailsByStatus, TypedByWord, Rejects, NoFailover, false,
		"the request was refused by the handler", "the request cannot be proxied: CONNECT, a body that breaks HTTP's rules, or a loop through pace", "mend the client, or take the backend out that leads back to pace",
		"The proxy cannot forward this request."},
	TooLarge: {"too_large", 413, "http_request_error", ClientSide, slog.LevelWarn, FailsByStatus, TypedByWord, Rejects, NoFailover, false,
		"the request's body is over server.max_body_bytes", "the client sent more than is allowed", "raise server.max_body_bytes",
		"The body of the request is larger than this proxy allows."},
	Upgraded: {"upgraded", 101, "", NoSide, slog.LevelInfo, FailsByStatus, NoErrorType, RejectsNot, NoFailover, false,
		"the connection became a stream", "client and backend agreed on another protocol, such as WebSocket", "none needed",
		""},
	InternalError: {"internal_error", 500, "proxy_internal_error", PaceSide, slog.LevelError, FailsAlways, TypedByWord, RejectsNot, NoFailover, false,
		"pace itself failed", "a bug of pace; the panic is in the log", "report it with the logged stack",
		"The proxy failed to handle this request."},
}

// String returns the word of the outcome.
func (o Outcome) String() string { return outcomes[o].Word }

// Info returns the vocabulary's row for o.
func (o Outcome) Info() *OutcomeInfo { return &outcomes[o] }

// Outcomes returns the vocabulary in its order, without Unset.
func Outcomes() []OutcomeInfo { return outcomes[OK:] }

// WordsOf returns the words of outcomes.
func WordsOf(list []OutcomeInfo) (words []string) {
	for _, o := range list {
		words = append(words, o.Word)
	}
	return words
}

// FailoverReasons returns how an attempt fails without an answer: the outcomes that are reasons of
// a failover and error types of an attempt.
func FailoverReasons() []OutcomeInfo {
	return outcomesWhere(func(o *OutcomeInfo) bool { return o.Failover != NoFailover })
}

// BackendFailures returns the reasons of a failover that count against the backend. A name that does
// not resolve, or what pace lacks, says nothing of the backend.
func BackendFailures() []OutcomeInfo {
	return outcomesWhere(func(o *OutcomeInfo) bool { return o.Failover == FailoverCounts })
}

// Rejections returns the outcomes that are reasons of a rejection.
func Rejections() []OutcomeInfo {
	return outcomesWhere(func(o *OutcomeInfo) bool { return o.Rejection == Rejects })
}

func outcomesWhere(is func(*OutcomeInfo) bool) (list []OutcomeInfo) {
	for i := range outcomes {
		if o := &outcomes[i]; is(o) {
			list = append(list, *o)
		}
	}
	return list
}
