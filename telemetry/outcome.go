package telemetry

import "log/slog"

// Outcome is the one word for how an exchange ended. An exchange that ends as Unset shows a bug of pace.
type Outcome uint8

// The closed list of interface.md. Their words, causes and remedies are in [outcomes].
const (
	Unset Outcome = iota
	OK
	ClientError
	UpstreamError
	Responded
	Redirected
	RateLimited
	NoRoute
	MethodNotAllowed
	Forbidden
	NoBackend
	Overload
	Draining
	DrainTimeout
	ConnectFailed
	ConnectTimeout
	TLSFailed
	DNSFailed
	Exhausted
	UpstreamTimeout
	RouteTimeout
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

// Side says who caused an outcome.
type Side string

// The sides, in the order in which a dashboard stacks them.
const (
	NoSide      Side = "none"
	ClientSide  Side = "client"
	LimiterSide Side = "limiter"
	PaceSide    Side = "pace"
	BackendSide Side = "backend"
)

// SpanRule says when the span of a request with this outcome has the status Error. As with the other rules,
// the zero value means that the column is missing, which a test finds.
type SpanRule uint8

// The rules for the status of a span.
const (
	FailsByStatus SpanRule = iota + 1 // if the status that the client got is 500 or more
	FailsAlways
)

// ErrorTypeRule says what the error.type of a request with this outcome is.
type ErrorTypeRule uint8

// The rules for error.type.
const (
	NoErrorType   ErrorTypeRule = iota + 1
	TypedByStatus               // the backend's status
	TypedByWord                 // the outcome's word
)

// RejectionRule says whether pace rejected the request on purpose, instead of asking a backend.
type RejectionRule uint8

// The rules for rejections.
const (
	NotRejected RejectionRule = iota + 1
	Rejected
)

// FailoverRule says whether pace may ask another backend after an attempt that failed with this outcome.
type FailoverRule uint8

// The rules for failovers.
const (
	NoFailover     FailoverRule = iota + 1
	FailoverCounts              // and the failure counts against the backend
	FailoverOnly                // but the failure says nothing about the backend
)

// OutcomeInfo is the row of one outcome in the table.
type OutcomeInfo struct {
	Word        string
	Status      int    // that pace sends or, for ClientGone, records; 0: the backend's, or the one already sent
	ProxyStatus string // error of RFC 9209 in the Proxy-Status field; "": none
	Side        Side
	Level       slog.Level // of the access line
	Span        SpanRule
	ErrorType   ErrorTypeRule
	Rejection   RejectionRule
	Keep        KeepReason // why the trace of such an exchange is kept; [Ordinary]: not for its outcome
	Failover    FailoverRule
	When        string
	Cause       string
	Remedy      string
	Sentence    string // in pace's own response to the client; "": pace sends none
}

// outcomes is the table of outcomes. Labels, responses, docs and dashboards are made from it.
var outcomes = [OutcomeCount]OutcomeInfo{
	Unset: {"unset", 0, "", PaceSide, slog.LevelError, FailsByStatus, TypedByWord, NotRejected, KeepError, NoFailover,
		"never", "pace lost track of the request", "report it: it is a bug of pace",
		""},
	OK: {"ok", 0, "", NoSide, slog.LevelInfo, FailsByStatus, NoErrorType, NotRejected, Ordinary, NoFailover,
		"the backend's response was delivered whole; its status is 1xx to 3xx, or the gRPC status OK", "the exchange succeeded", "none needed",
		""},
	ClientError: {"client_error", 0, "", ClientSide, slog.LevelInfo, FailsByStatus, NoErrorType, NotRejected, Ordinary, NoFailover,
		"the backend's response was delivered whole; its status is 4xx, or a gRPC status of this side", "the backend rejected the request", "look at the path and status in the access line, and at the backend's own log",
		""},
	UpstreamError: {"upstream_error", 0, "", BackendSide, slog.LevelError, FailsByStatus, TypedByStatus, NotRejected, KeepError, NoFailover,
		"the backend's response was delivered whole; its status is 5xx, or a gRPC status of this side", "the backend failed and said so in its status", "search the backend's log for the trace id",
		""},
	Responded: {"responded", 200, "", NoSide, slog.LevelInfo, FailsByStatus, NoErrorType, NotRejected, Ordinary, NoFailover,
		"pace responded itself, as a route's `respond` says, or to OPTIONS or TRACE with `Max-Forwards: 0`", "the route responds itself, or the client asked pace and not a backend", "none needed",
		"This response is from the proxy itself; it asked no backend."},
	Redirected: {"redirected", 308, "", NoSide, slog.LevelInfo, FailsByStatus, NoErrorType, NotRejected, Ordinary, NoFailover,
		"a route's `redirect` sent the client to another URL; the status is the route's", "the route sends its clients elsewhere", "none needed",
		"This address has moved."},
	RateLimited: {"rate_limited", 429, "http_request_denied", LimiterSide, slog.LevelWarn, FailsByStatus, TypedByWord, Rejected, KeepRejected, NoFailover,
		"a rate limit rejected the request", "the client exhausted its quota in the window", "find the client in the access line, or raise rate_limit.max_requests; behind another proxy, set server.trusted_proxies, because otherwise all clients share one quota",
		"You have sent too many requests; try again later."},
	NoRoute: {"no_route", 404, "destination_not_found", ClientSide, slog.LevelWarn, FailsByStatus, TypedByWord, Rejected, KeepRejected, NoFailover,
		"no route matches the request", "no route has this host and path", "add a route, or correct the address that the client uses",
		"No route of this proxy matches the request."},
	MethodNotAllowed: {"method_not_allowed", 405, "http_request_error", ClientSide, slog.LevelWarn, FailsByStatus, TypedByWord, Rejected, KeepRejected, NoFailover,
		"routes have this path, but not with this method; `Allow` has their methods", "the client used a method that no route of this path allows", "fix the client, or add a route with this method",
		"No route of this proxy has this method for this address."},
	Forbidden: {"forbidden", 403, "http_request_denied", ClientSide, slog.LevelWarn, FailsByStatus, TypedByWord, Rejected, KeepRejected, NoFailover,
		"the route's `allow` or `deny` excludes the client", "the client's address is not in the networks that the route allows, or is in one that it denies", "find the client in the access line, and compare it with the route's allow and deny; behind another proxy, set server.trusted_proxies",
		"You may not use this address."},
	NoBackend: {"no_backend", 503, "destination_unavailable", BackendSide, slog.LevelError, FailsByStatus, TypedByWord, Rejected, KeepError, NoFailover,
		"no backend may be picked", "the upstream has no backend that pace could ask", "bring a backend back, or add one to upstreams.backends",
		"No backend is available for this request."},
	Overload: {"overload", 503, "connection_limit_reached", PaceSide, slog.LevelError, FailsByStatus, TypedByWord, Rejected, KeepError, FailoverOnly,
		"each backend that may be picked has as many requests or connections as `upstreams.max_requests` and `upstreams.max_connections` allow", "more requests came than the backends may have at once", "raise upstreams.max_requests or upstreams.max_connections if the backends can bear it, or add backends",
		"This proxy is handling as many requests as it may; try again later."},
	Draining: {"draining", 503, "proxy_internal_response", PaceSide, slog.LevelError, FailsByStatus, TypedByWord, Rejected, KeepError, NoFailover,
		"the request arrived on an open connection more than a second after pace had stopped accepting connections", "the load balancer in front still sends requests to this pace", "have the load balancer stop when /readyz says 503; server.drain_delay gives it the time",
		"This proxy is shutting down; send the request again."},
	DrainTimeout: {"drain_timeout", 503, "proxy_internal_response", PaceSide, slog.LevelError, FailsAlways, TypedByWord, NotRejected, KeepError, NoFailover,
		"pace aborted the exchange because draining took too long, or because a second signal came; or it was a gRPC call at a backend that an operator drained, and `drain_streams` ended it", "the request ran for longer than server.drain_timeout, or a second signal came; or, if only its backend was drained, the gRPC call ran for longer than drain_streams", "raise server.drain_timeout above the duration of the longest request, and the time that the service manager waits for pace to end; if only the backend was drained, raise drain_streams of its upstream",
		"This proxy shut down before the request was finished; send it again if it is safe to repeat."},
	ConnectFailed: {"connect_failed", 502, "connection_refused", BackendSide, slog.LevelError, FailsByStatus, TypedByWord, NotRejected, KeepError, FailoverCounts,
		"the last attempt could not connect", "nothing listens at the backend's address, or the network rejects the connection", "start the backend, and check its address in upstreams.backends",
		"The proxy could not connect to the backend."},
	ConnectTimeout: {"connect_timeout", 504, "connection_timeout", BackendSide, slog.LevelError, FailsByStatus, TypedByWord, NotRejected, KeepError, FailoverCounts,
		"the last attempt could not connect in time", "the backend's host does not respond, or its accept queue is full", "check the host and the firewall; upstreams.connect_timeout is the limit",
		"The proxy could not connect to the backend in time."},
	TLSFailed: {"tls_failed", 502, "tls_protocol_error", BackendSide, slog.LevelError, FailsByStatus, TypedByWord, NotRejected, KeepError, FailoverCounts,
		"the TLS handshake of the last attempt failed; if the backend's certificate does not verify, the error is `tls_certificate_error`", "the backend's certificate does not verify, the backend rejects pace's, or the backend does not speak TLS there as pace does", "the error says more; look at what the backend shows with openssl s_client -connect HOST:PORT -servername HOST, and compare it with server_name, ca, cert and key in the tls table of the upstream",
		"The proxy could not make a secure connection to the backend."},
	DNSFailed: {"dns_failed", 502, "dns_error", BackendSide, slog.LevelError, FailsByStatus, TypedByWord, NotRejected, KeepError, FailoverOnly,
		"the name of the last attempt's backend could not be resolved, or not in time", "the name does not exist, or the name server failed or did not respond", "look the name up on pace's host with getent hosts, and check it in upstreams.backends",
		"The proxy could not resolve the name of the backend."},
	Exhausted: {"exhausted", 503, "proxy_internal_error", PaceSide, slog.LevelError, FailsByStatus, TypedByWord, NotRejected, KeepError, FailoverOnly,
		"pace had no descriptor, port or memory for an attempt; this counts against no backend", "pace has reached a limit of its process or host; no backend is at fault", "the error names the limit: raise LimitNOFILE, widen net.ipv4.ip_local_port_range, or add memory",
		"This proxy has run out of a resource; try again later."},
	UpstreamTimeout: {"upstream_timeout", 504, "http_response_timeout", BackendSide, slog.LevelError, FailsByStatus, TypedByWord, NotRejected, KeepError, FailoverCounts,
		"no response header came in time, or the deadline of a gRPC client ran out", "the backend is slow or hangs", "look at the backend's spans in the trace; upstreams.response_timeout is the limit, or the grpc-timeout of a gRPC client",
		"The backend did not respond in time."},
	RouteTimeout: {"route_timeout", 504, "http_response_timeout", BackendSide, slog.LevelError, FailsAlways, TypedByWord, NotRejected, KeepError, NoFailover,
		"the route's `timeout` ran out", "the exchange took longer than its route allows", "look at the phases in the trace: wait is the backend's time; the route's timeout is the limit",
		"The exchange took longer than this proxy allows."},
	UpstreamReset: {"upstream_reset", 502, "connection_terminated", BackendSide, slog.LevelError, FailsByStatus, TypedByWord, NotRejected, KeepError, FailoverCounts,
		"the connection was lost, or the backend reset the stream, before the response header was complete", "the backend crashed, restarted, or ended the connection or the stream", "look at the backend's log at that time; if every request ends like this, check whether the backend expects another scheme, such as https://, or a client certificate",
		"The backend closed the connection before its response was complete."},
	UpstreamInvalid: {"upstream_invalid", 502, "http_protocol_error", BackendSide, slog.LevelError, FailsByStatus, TypedByWord, NotRejected, KeepError, FailoverCounts,
		"the response was not valid HTTP, or its header was larger than `upstreams.max_response_header_bytes` (then the error is `http_response_header_section_size`)", "the backend speaks another protocol, or its response is malformed or has too large a header", "the error says more; ask the backend directly with curl -v, and with the protocol that pace speaks to it: --http1.1 for http:// and unix:, --http2-prior-knowledge for h2c://, --http2 for https:// and h2://; upstreams.max_response_header_bytes is the limit of the header",
		"The backend sent a response that is not valid HTTP."},
	UpstreamTruncated: {"upstream_truncated", 0, "http_response_incomplete", BackendSide, slog.LevelError, FailsAlways, TypedByWord, NotRejected, KeepError, NoFailover,
		"the backend aborted the response in its body. pace then closes the client's connection, and never ends the response as if it were whole", "the backend crashed, or ended the connection or the stream in the middle of the response", "look at the backend's log at that time",
		""},
	UpstreamStalled: {"upstream_stalled", 504, "http_response_timeout", BackendSide, slog.LevelError, FailsAlways, TypedByWord, NotRejected, KeepError, NoFailover,
		"the backend sent no more of the response's body in time, or, over HTTP/2, took no more of the request's body; 504 if no status was sent before", "the backend stopped in the middle of sending the response, or of taking the request", "search the backend's log for the trace id; if it needs longer between two pieces of a body, raise the body_timeout of its upstream or route",
		"The backend took no more of the request in time."},
	ClientGone: {"client_gone", 499, "", ClientSide, slog.LevelWarn, FailsByStatus, TypedByWord, NotRejected, KeepClientLeft, NoFailover,
		"the client left before a response header was sent; a client that leaves in the phase `wait` has usually timed out because the backend is slow", "the client gave up or lost its connection", "look at left_in: if it is wait, compare the client's timeout with the route's p99, and find out why the backend is slow; otherwise look at the client and its network",
		""},
	ClientAborted: {"client_aborted", 0, "", ClientSide, slog.LevelWarn, FailsByStatus, TypedByWord, NotRejected, KeepClientLeft, NoFailover,
		"the client left in the body, or took no more of it", "the client gave up or lost its connection; a client that leaves in the phase receive has usually waited for a slow backend", "none if they are few; otherwise look at left_in, and compare the client's timeout with the size of the response and the speed of the backend",
		""},
	RequestTimeout: {"request_timeout", 408, "http_request_error", ClientSide, slog.LevelWarn, FailsByStatus, TypedByWord, NotRejected, KeepRejected, NoFailover,
		"the request's body did not arrive in time", "the client stopped sending in the middle of the body", "look at the client and its network; server.body_timeout is the limit",
		"The body of the request did not arrive in time."},
	BadRequest: {"bad_request", 400, "http_request_error", ClientSide, slog.LevelWarn, FailsByStatus, TypedByWord, Rejected, KeepRejected, NoFailover,
		"pace refused the request in the handler. Also: it came through a pace more than 16 times (`Via`), which is a loop; its `host` over HTTP/2 is not its `:authority`; it has `Content-Length` and `Transfer-Encoding`; it has `Transfer-Encoding` over HTTP/1.0", "the request is a CONNECT, its body is malformed, or it comes from a loop through pace", "fix the client, or remove the backend that routes back to pace",
		"The proxy cannot forward this request."},
	TooLarge: {"too_large", 413, "http_request_error", ClientSide, slog.LevelWarn, FailsByStatus, TypedByWord, Rejected, KeepRejected, NoFailover,
		"the request's body is larger than `server.max_body_bytes`", "the client sent a larger body than is allowed", "raise server.max_body_bytes if such bodies are right",
		"The body of the request is larger than this proxy allows."},
	Upgraded: {"upgraded", 101, "", NoSide, slog.LevelInfo, FailsByStatus, NoErrorType, NotRejected, Ordinary, NoFailover,
		"the connection became a stream, after the whole body of its request was sent", "client and backend agreed on another protocol, such as WebSocket", "none needed",
		""},
	InternalError: {"internal_error", 500, "proxy_internal_error", PaceSide, slog.LevelError, FailsAlways, TypedByWord, NotRejected, KeepError, NoFailover,
		"a bug of pace; the panic is logged", "pace itself failed", "report it with the stack from the log",
		"The proxy failed to handle this request."},
}

// String returns the word of the outcome.
func (o Outcome) String() string { return outcomes[o].Word }

// Info returns the row of o in the table.
func (o Outcome) Info() *OutcomeInfo { return &outcomes[o] }

// Outcomes returns the table in its order, without Unset.
func Outcomes() []OutcomeInfo { return outcomes[OK:] }

// WordsOf returns the words of outcomes.
func WordsOf(list []OutcomeInfo) (words []string) {
	for _, o := range list {
		words = append(words, o.Word)
	}
	return words
}

// BackendFailures returns the outcomes of an attempt that got no response that count against the backend. A name that does not
// resolve, or a resource that pace lacks, says nothing about the backend.
func BackendFailures() []OutcomeInfo {
	return outcomesWhere(func(o *OutcomeInfo) bool { return o.Failover == FailoverCounts })
}

// Rejections returns the outcomes that are reasons of a rejection.
func Rejections() []OutcomeInfo {
	return outcomesWhere(func(o *OutcomeInfo) bool { return o.Rejection == Rejected })
}

func outcomesWhere(is func(*OutcomeInfo) bool) (list []OutcomeInfo) {
	for i := range outcomes {
		if o := &outcomes[i]; is(o) {
			list = append(list, *o)
		}
	}
	return list
}
