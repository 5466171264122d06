package telemetry

import (
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Fact is one thing that a request's record publishes, and the signals in which it shows.
type Fact struct {
	Attribute string // name as attribute of the SERVER span, "": not there
	Field     string // name in the access line, "": not there
	Label     bool   // the attribute is a label of http_server_request_duration_seconds, too
	Doc       string
	value     func(*Record) slog.Value // the zero Value: absent. Runs per request: no allocation
}

// facts names all that a request's record publishes, once, in the order of the access line.
// Docs and dashboards are made from it, and TestFacts holds it to docs/interface.md.
var facts = []Fact{
	{"http.request.method", "method", true, "Method; an unknown one is _OTHER in labels and span.",
		func(r *Record) slog.Value { return text(r.Method) }},
	{"http.request.method_original", "", false, "Method as the client wrote it, if it is unknown.",
		func(r *Record) slog.Value {
			if _, ok := methods[r.Method]; ok {
				return slog.Value{}
			}
			return text(r.Method)
		}},
	{"url.scheme", "", true, "Scheme the client used: http or https.",
		func(r *Record) slog.Value { return slog.StringValue(r.Scheme) }},
	{"url.path", "path", false, "Path, percent-encoded.",
		func(r *Record) slog.Value { return text(r.Path) }},
	{"url.query", "", false, "Query; values not named in tracing.query_allow read REDACTED.",
		func(r *Record) slog.Value { return text(redact(r.Query, r.t.queryAllow)) }},
	{"http.response.status_code", "status", true, "Status the client got; 499 if it left before the header.",
		func(r *Record) slog.Value { return number(r.Status) }},
	{"", "duration_ms", false, "Milliseconds from the request's header to the end.",
		func(r *Record) slog.Value {
			return slog.Float64Value(float64(r.end.Sub(r.Start).Microseconds()) / 1000)
		}},
	{"", "bytes_in", false, "Bytes of the request's body.",
		func(r *Record) slog.Value { return slog.Int64Value(r.BytesIn) }},
	{"", "bytes_out", false, "Bytes of the response's body.",
		func(r *Record) slog.Value { return slog.Int64Value(r.BytesOut) }},
	{"client.address", "client", false, "Address of the client, seen through server.trusted_proxies.",
		func(r *Record) slog.Value { return text(r.Client) }},
	{"network.peer.address", "", false, "Address of who is connected to pace.",
		func(r *Record) slog.Value { return text(r.Peer) }},
	{"network.peer.port", "", false, "Port of who is connected to pace.",
		func(r *Record) slog.Value { return number(r.PeerPort) }},
	{"network.protocol.version", "", false, "HTTP version the client spoke: 1.0, 1.1 or 2.",
		func(r *Record) slog.Value { return text(r.Protocol) }},
	{"server.address", "", false, "Host the client asked for.",
		func(r *Record) slog.Value { host, _ := hostPort(r); return text(host) }},
	{"server.port", "", false, "Port the client asked for.",
		func(r *Record) slog.Value { _, port := hostPort(r); return number(port) }},
	{"user_agent.original", "", false, "User-Agent of the client.",
		func(r *Record) slog.Value { return text(r.UserAgent) }},
	{"http.route", "route", true, "Route that matched; / in the short form.",
		func(r *Record) slog.Value { return text(r.Route) }},
	{"pace.upstream", "upstream", false, "Pool that was asked.",
		func(r *Record) slog.Value { return text(r.Upstream) }},
	{"", "backend", false, "Backend that was asked last, host:port, also if it did not answer.",
		func(r *Record) slog.Value {
			if a := r.last(); a != nil {
				return text(a.Backend)
			}
			return slog.Value{}
		}},
	{"pace.attempts", "attempts", false, "Attempts made.",
		func(r *Record) slog.Value { return slog.IntValue(len(r.Attempts)) }},
	{"pace.outcome", "outcome", true, "How the exchange ended, in one word.",
		func(r *Record) slog.Value { return slog.StringValue(r.Outcome.String()) }},
	{"", "error", false, "Why the last attempt failed, in the system's words; also the description of the spans' status. Absent if it did not fail.",
		func(r *Record) slog.Value { return text(r.error()) }},
	{"", "failovers", false, "Failovers, in order: from (the backend that failed, host:port) and reason (an outcome's word).",
		func(r *Record) slog.Value {
			if len(r.Failovers) == 0 {
				return slog.Value{}
			}
			return slog.AnyValue(hops(r.Failovers))
		}},
	{"pace.left_in", "left_in", false, "Phase in which the client left; absent if it did not. One that left in wait has usually timed out on a slow backend.",
		func(r *Record) slog.Value {
			if !r.left() {
				return slog.Value{}
			}
			return slog.StringValue(r.LeftIn.String())
		}},
	{"pace.stream", "stream", false, "What the exchange became: websocket, sse or other; absent for a request like any other.",
		func(r *Record) slog.Value { return text(r.Stream.String()) }},
	{"pace.close_reason", "close_reason", false, "How the stream ended.",
		func(r *Record) slog.Value { return text(r.Closed.String()) }},
	{"pace.phase.own", "own_ms", false, "Milliseconds in pace itself.", inPhase(Own)},
	{"pace.phase.read_request", "read_request_ms", false, "Milliseconds waiting for the request's body.", inPhase(ReadRequest)},
	{"pace.phase.limit", "limit_ms", false, "Milliseconds waiting for a limiter.", inPhase(Limit)},
	{"pace.phase.pick", "pick_ms", false, "Milliseconds waiting for a backend to be free.", inPhase(Pick)},
	{"pace.phase.dns", "dns_ms", false, "Milliseconds resolving a backend's name; absent for one named by its address.", inPhase(DNS)},
	{"pace.phase.connect", "connect_ms", false, "Milliseconds connecting.", inPhase(Connect)},
	{"pace.phase.send", "send_ms", false, "Milliseconds writing the request.", inPhase(Send)},
	{"pace.phase.wait", "wait_ms", false, "Milliseconds waiting for the response's header.", inPhase(Wait)},
	{"pace.phase.receive", "receive_ms", false, "Milliseconds waiting for the response's body.", inPhase(Receive)},
	{"pace.phase.deliver", "deliver_ms", false, "Milliseconds writing to the client.", inPhase(Deliver)},
	{"error.type", "", true, "The backend's status, such as 500, or pace's outcome; absent if nothing went wrong.",
		func(r *Record) slog.Value { return text(r.errorType()) }},
	{"", "trace_id", false, "Trace, 32 hexadecimal digits.",
		func(r *Record) slog.Value { return slog.StringValue(r.traceID) }},
	{"", "span_id", false, "SERVER span, 16 hexadecimal digits.",
		func(r *Record) slog.Value { return slog.StringValue(r.identity.context.SpanID().String()) }},
	{"", "trace_sampled", false, "Whether the trace was sampled.",
		func(r *Record) slog.Value { return slog.BoolValue(r.identity.context.IsSampled()) }},
	{"", "request_id", false, "X-Request-Id.",
		func(r *Record) slog.Value { return text(r.RequestID) }},
}

// inPhase is the time in a phase; one shorter than a microsecond is absent.
func inPhase(p Phase) func(*Record) slog.Value {
	return func(r *Record) slog.Value {
		if r.clock.spent[p] < time.Microsecond {
			return slog.Value{}
		}
		return slog.Float64Value(milliseconds(r.clock.spent[p]))
	}
}

// Facts returns what a request's record publishes, in the order of the access line.
func Facts() []Fact { return facts }

// longest is how many bytes of a string from the wire are published.
const longest = 2048

// text is what signals show of s; absent if it is empty.
func text(s string) slog.Value {
	if s == "" {
		return slog.Value{}
	}
	return slog.StringValue(printable(s))
}

// printable is s made fit for every signal: bounded, valid UTF-8 (an exporter refuses a whole batch
// for one bad byte), and printable (a terminal would obey control characters, a reader would be
// misled by a line separator or a change of direction).
func printable(s string) string {
	if len(s) > longest {
		s = s[:longest]
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f {
			return clean(s)
		}
	}
	return s
}

func clean(s string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return utf8.RuneError
		}
		return c
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

func number(n int) slog.Value {
	if n == 0 {
		return slog.Value{}
	}
	return slog.IntValue(n)
}

// hostPort splits what the client asked for; without a port the scheme's is meant.
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

// methods are those that semantic conventions know; all others are one.
var methods = map[string]uint8{
	"GET": 0, "HEAD": 1, "POST": 2, "PUT": 3, "DELETE": 4, "CONNECT": 5, "OPTIONS": 6, "TRACE": 7, "PATCH": 8, "QUERY": 9, other: 10,
}

const other = "_OTHER"

// knownMethod folds a method that nobody has heard of, which a client may invent at will.
func knownMethod(m string) string {
	if _, ok := methods[m]; ok {
		return m
	}
	return other
}

// redact replaces the value of each parameter not in allow.
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
		case allow[name] && !strings.Contains(pair, ";"): // by which some backends separate, too
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
