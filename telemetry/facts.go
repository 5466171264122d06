package telemetry

import (
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"
)

// Fact is one thing that is published of a request, and the signals that have it.
type Fact struct {
	Attribute string // name as attribute of the SERVER span, "": not there
	Field     string // name in the access line, "": not there
	Label     bool   // the attribute is a label of http_server_request_duration_seconds, too
	Doc       string
	Value     func(*Record) slog.Value // what an ended record says; the zero Value: absent. Runs per request: no allocation
}

// facts lists all that is published of a request, once, in the order of the access line. Docs and dashboards
// are made from it, and TestPromises_AreKept (scripts/generate) holds it to the names that were promised before.
var facts = []Fact{
	{"http.request.method", "", true, "Method; an unknown one is _OTHER in labels and span.",
		func(r *Record) slog.Value { return slog.StringValue(KnownMethod(r.Method)) }},
	{"", "method", false, "Method; an unknown one is _OTHER in labels and span.",
		func(r *Record) slog.Value { return text(r.Method) }},
	{"http.request.method_original", "", false, "Method as the client wrote it, if it is unknown.",
		func(r *Record) slog.Value {
			if isKnownMethod(r.Method) {
				return slog.Value{}
			}
			return text(r.Method)
		}},
	{"url.scheme", "", true, "Scheme that the client used: http or https.",
		func(r *Record) slog.Value { return slog.StringValue(r.Scheme) }},
	{"url.path", "path", false, "Path, percent-encoded.",
		func(r *Record) slog.Value { return text(r.Path) }},
	{"url.query", "", false, "Query; the values of parameters that are not in tracing.query_allow read REDACTED.",
		func(r *Record) slog.Value { return text(redact(r.Query, r.QueryAllow)) }},
	{"http.response.status_code", "status", true, "Status that the client got; 499 if it left before the header.",
		func(r *Record) slog.Value { return number(r.Status) }},
	{"rpc.response.status_code", "", false, "Name of the code that a gRPC client got, such as OK or UNAVAILABLE; absent if the request is no gRPC call, or no code is known.",
		func(r *Record) slog.Value { return text(r.GRPCCode.String()) }},
	{"", "grpc_status", false, "Number of the code that a gRPC client got: 0 is OK. Absent if the request is no gRPC call, or no code is known.",
		func(r *Record) slog.Value { return grpcNumber(r.GRPCCode) }},
	{"", "duration_ms", false, "Milliseconds from the request's header to the end of the response.",
		func(r *Record) slog.Value { return slog.Float64Value(Milliseconds(r.End.Sub(r.Start))) }},
	{"", "bytes_in", false, "Bytes of the request's body.",
		func(r *Record) slog.Value { return slog.Int64Value(r.BytesIn) }},
	{"", "bytes_out", false, "Bytes of the response's body.",
		func(r *Record) slog.Value { return slog.Int64Value(r.BytesOut) }},
	{"client.address", "client", false, "Address of the client, as the proxies in server.trusted_proxies report it.",
		func(r *Record) slog.Value { return text(r.Client) }},
	{"network.peer.address", "", false, "Address of the connected peer.",
		func(r *Record) slog.Value { return text(r.Peer) }},
	{"network.peer.port", "", false, "Port of the connected peer.",
		func(r *Record) slog.Value { return number(r.PeerPort) }},
	{"network.protocol.version", "", false, "HTTP version that the client used: 1.0, 1.1 or 2.",
		func(r *Record) slog.Value { return text(r.Protocol) }},
	{"tls.protocol.version", "tls", false, "Version of TLS that the client spoke to pace, such as 1.3; absent if it spoke none.",
		func(r *Record) slog.Value { return text(r.TLS) }},
	{"tls.cipher", "", false, "Cipher suite that was agreed on with the client.",
		func(r *Record) slog.Value { return text(r.Cipher) }},
	{"tls.client.subject", "", false, "Subject of the certificate with which the client has authenticated itself.",
		func(r *Record) slog.Value { return text(r.TLSClient) }},
	{"server.address", "", false, "Host that the client asked for.",
		func(r *Record) slog.Value { host, _ := hostPort(r); return text(host) }},
	{"server.port", "", false, "Port that the client asked for.",
		func(r *Record) slog.Value { _, port := hostPort(r); return number(port) }},
	{"user_agent.original", "", false, "User-Agent of the client.",
		func(r *Record) slog.Value { return text(r.UserAgent) }},
	{"http.route", "route", true, "Path of the route's pattern; / in the short form. Absent before a route is known.",
		func(r *Record) slog.Value { return text(r.RoutePath()) }},
	{"pace.route", "route_name", true, "Name of the route; default in the short form. Absent before a route is known.",
		func(r *Record) slog.Value { return text(r.RouteName()) }},
	{"pace.upstream", "upstream", false, "Upstream that was asked.",
		func(r *Record) slog.Value { return text(r.Upstream) }},
	{"", "backend", false, "Backend that was asked last, host:port, also if it did not respond.",
		func(r *Record) slog.Value {
			if a := r.last(); a != nil {
				return text(a.Backend)
			}
			return slog.Value{}
		}},
	{"pace.attempts", "attempts", false, "Number of attempts.",
		func(r *Record) slog.Value { return slog.IntValue(len(r.Attempts)) }},
	{"pace.outcome", "outcome", true, "How the exchange ended, in one word.",
		func(r *Record) slog.Value { return slog.StringValue(r.Outcome.String()) }},
	{"", "error", false, "Why the last attempt failed, in the system's words, or the message with which a backend ended a gRPC call of side backend; also the description of the spans' status. Absent if it did not fail.",
		func(r *Record) slog.Value { return text(r.LastError()) }},
	{"", "failovers", false, "Failovers, in order: from (the backend that failed, host:port) and reason (an outcome's word, or the status of its response).",
		func(r *Record) slog.Value {
			if len(r.Failovers) == 0 {
				return slog.Value{}
			}
			return slog.AnyValue(Hops(r.Failovers))
		}},
	{"pace.left_in", "left_in", false, "Phase in which the client left; absent if it did not. A client that left in wait has usually timed out because the backend is slow.",
		func(r *Record) slog.Value {
			if !r.ClientLeft() {
				return slog.Value{}
			}
			return slog.StringValue(r.LeftIn.String())
		}},
	{"pace.stream", "stream", false, "Kind of the stream: websocket, sse or other; absent if the exchange is no stream.",
		func(r *Record) slog.Value { return text(r.Stream.String()) }},
	{"pace.close_reason", "close_reason", false, "How the stream ended.",
		func(r *Record) slog.Value { return text(r.Closed.String()) }},
	{"pace.phase.own", "own_ms", false, "Milliseconds in pace itself.", inPhase(Own)},
	{"pace.phase.read_request", "read_request_ms", false, "Milliseconds waiting for the request's body.", inPhase(ReadRequest)},
	{"pace.phase.limit", "limit_ms", false, "Milliseconds waiting for a limiter.", inPhase(Limit)},
	{"pace.phase.pick", "pick_ms", false, "Milliseconds waiting for a backend that may be picked.", inPhase(Pick)},
	{"pace.phase.dns", "dns_ms", false, "Milliseconds resolving the backend's name; absent if the configuration has its address.", inPhase(DNS)},
	{"pace.phase.connect", "connect_ms", false, "Milliseconds connecting.", inPhase(Connect)},
	{"pace.phase.tls", "tls_ms", false, "Milliseconds in TLS handshakes with backends.", inPhase(TLS)},
	{"pace.phase.send", "send_ms", false, "Milliseconds writing the request.", inPhase(Send)},
	{"pace.phase.wait", "wait_ms", false, "Milliseconds waiting for the response's header.", inPhase(Wait)},
	{"pace.phase.receive", "receive_ms", false, "Milliseconds waiting for the response's body.", inPhase(Receive)},
	{"pace.phase.deliver", "deliver_ms", false, "Milliseconds writing to the client.", inPhase(Deliver)},
	{"error.type", "", true, "The backend's status, such as 500, or pace's outcome; of a gRPC call the name of its code, if that is not OK. Absent if nothing went wrong.",
		func(r *Record) slog.Value { return text(r.ErrorType()) }},
	{"", "trace_id", false, "Trace, 32 hexadecimal digits.",
		func(r *Record) slog.Value { return slog.StringValue(r.Trace) }},
	{"", "span_id", false, "SERVER span, 16 hexadecimal digits.",
		func(r *Record) slog.Value { return slog.StringValue(r.Identity.Context.SpanID().String()) }},
	{"", "trace_sampled", false, "Whether the trace is exported because its head was sampled.",
		func(r *Record) slog.Value { return slog.BoolValue(r.Export == Sampled) }},
	{"pace.keep.reason", "kept", false, "Why the trace is exported although its head was not sampled: the first that holds of error, failover, retry, rejected, client_left, slow. Absent if it was sampled, or is not exported.",
		func(r *Record) slog.Value {
			if r.Export != Kept {
				return slog.Value{}
			}
			return slog.StringValue(r.Reason.String())
		}},
	{"", "request_id", false, "X-Request-Id.",
		func(r *Record) slog.Value { return text(r.RequestID) }},
}

// inPhase is the time in a phase; a time below a microsecond is absent.
func inPhase(p Phase) func(*Record) slog.Value {
	return func(r *Record) slog.Value {
		if r.Phases[p] < time.Microsecond {
			return slog.Value{}
		}
		return slog.Float64Value(Milliseconds(r.Phases[p]))
	}
}

// Facts returns all that is published of a request, in the order of the access line.
func Facts() []Fact { return facts }

func number(n int) slog.Value {
	if n == 0 {
		return slog.Value{}
	}
	return slog.IntValue(n)
}

// grpcNumber is the number of a code, of which 0 is one.
func grpcNumber(c GRPCCode) slog.Value {
	if c == NoGRPCCode {
		return slog.Value{}
	}
	return slog.IntValue(c.Number())
}

// hostPort splits the host that the client asked for; without a port, the port is the scheme's.
func hostPort(r *Record) (host string, port int) {
	host, digits, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = strings.Trim(r.Host, "[]")
		if port = 80; r.Scheme == "https" {
			port = 443
		}
		return host, port
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return host, 0
	}
	return host, int(n)
}

// redact replaces the value of each parameter that is not in allow.
func redact(query string, allow map[string]bool) string {
	if query == "" {
		return ""
	}
	var b strings.Builder
	for pair := range strings.SplitSeq(query, "&") {
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		name, value, _ := strings.Cut(pair, "=")
		switch {
		case allow[name] && !strings.Contains(pair, ";"): // some backends separate parameters by it, too
			b.WriteString(pair)
		case strings.Trim(value, "=") == "" || strings.Contains(name, ";"):
			b.WriteString("REDACTED") // a bare word may be a secret as well as a name; in base64 it may end in =
		default:
			b.WriteString(name)
			b.WriteString("=REDACTED")
		}
	}
	return b.String()
}
