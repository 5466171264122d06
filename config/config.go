// Package config turns a TOML file into validated plain values. It is strict: what it does
// not know it refuses, and it reports all that is wrong at once, in file order, each fault
// with its line and its remedy. The struct tags below are the one description of the keys:
// decoding, bounds, defaults, `pace check --defaults` and docs/configuration.md are made of them.
//
// It must not know HTTP handlers, OpenTelemetry, TOML's syntax (which package toml below it reads), or
// any word that belongs to another part of pace: lists of words are checked by the part that acts on
// them, which reports through [File.Fault].
package config

import (
	"net/netip"
	"time"
)

// Config is all that a file says, one field a table, with defaults filled in. [Config.InLongForm] returns
// what it means, whichever of its two forms the file is in.
//
// A field that is a struct is a table; a pointer to one is a table whose absence means something; a slice of
// them is [[name]], as many tables as are written; and a slice of structs that have a Name is [name.NAME].
// A table may hold others.
//
// The tags of a key: toml is its name; default its value when it is not written, a list's elements
// separated by spaces; inherits says in words where the value comes from instead, and the field is nil or
// empty then. A key with neither is required. example shows a value, where the default does not. min and
// max bound a number or duration, both ends allowed; among lists the numbers that it may be; is names the
// check of a string or of a list's elements ("address?": it may also be empty); doc is its meaning.
type Config struct {
	Server    Server     `toml:"server" doc:"The proxy's own listener."`
	Admin     Admin      `toml:"admin" doc:"The second listener, for operators: metrics, liveness, readiness, profiles."`
	Upstreams Upstreams  `toml:"upstreams" doc:"The backends, and how pace talks to them."`
	RateLimit *RateLimit `toml:"rate_limit" doc:"How many requests one client may send. Without this table there is no limit."` // nil: the table is absent

	NamedListeners []Listener    `toml:"listener" example:"https" doc:"An address that the proxy listens on, and what it speaks there. [server] listen is [listener.default]. If there is a [listener.NAME] and no listen under [server], pace does not open the default address."`
	Certificates   []Certificate `toml:"certificate" doc:"A certificate for the listeners with TLS. Write one of these tables for each certificate."`
	ACME           *ACME         `toml:"acme" doc:"Certificates that pace gets and renews itself, from a certificate authority that speaks ACME, such as Let's Encrypt. Without this table, all certificates come from [[certificate]]."` // nil: the table is absent

	Routes         []Route    `toml:"route" doc:"Which requests go where. Write one of these tables for each route. Without any, all requests go to the upstream named default."`
	NamedUpstreams []Upstream `toml:"upstream" example:"api" doc:"Another pool of backends, under the name by which routes name it. [upstreams] is [upstream.default]."`
	NamedLimits    []Limit    `toml:"limit" example:"per_client" doc:"A limit for the routes that name it. [rate_limit] is [limit.default], and holds on every route."`

	Metrics Metrics `toml:"metrics" doc:"The metrics page on the proxy's own listener."`
	Tracing Tracing `toml:"tracing" doc:"Which requests are traced and where the traces go."`
	Log     Log     `toml:"log" doc:"The log: one line a request, and what happens to pace itself."`
	Headers Headers `toml:"headers" doc:"The names of the headers that pace adds."`

	ServerTiming ServerTiming `toml:"server_timing" doc:"Which clients get the Server-Timing header, which says where a request's time went."`
}

// Server is the proxy's own listener.
type Server struct {
	Listen            string         `toml:"listen" default:"0.0.0.0:8080" is:"address" doc:"Address the proxy listens on: host:port (port 0 takes a free one), unix:/path (a socket in the file system), or fd:NAME (a socket that systemd opened)."`
	Workers           int            `toml:"workers" default:"0" min:"0" max:"4096" doc:"How many cores pace may use at once (GOMAXPROCS); 0: all. A change needs a restart."`
	DrainTimeout      time.Duration  `toml:"drain_timeout" default:"30s" min:"0s" max:"24h" doc:"How long requests in flight may take to finish when pace ends."`
	DrainDelay        time.Duration  `toml:"drain_delay" default:"0s" min:"0s" max:"24h" doc:"How long pace keeps accepting when it is told to end, while /readyz already says 503, so that a load balancer in front can look elsewhere first."`
	TrustedProxies    []netip.Prefix `toml:"trusted_proxies" default:"" doc:"Networks of the proxies in front, whose forwarding headers are believed and continued."`
	ReadHeaderTimeout time.Duration  `toml:"read_header_timeout" default:"10s" min:"1ms" max:"1h" doc:"Longest wait for the whole header of a request."`
	IdleTimeout       time.Duration  `toml:"idle_timeout" default:"75s" min:"1ms" max:"24h" doc:"How long a client's connection is kept open between requests."`
	BodyTimeout       time.Duration  `toml:"body_timeout" default:"60s" min:"0s" max:"24h" doc:"Longest wait for the next byte of a request's body; 0s: no limit."`
	DeliverTimeout    time.Duration  `toml:"deliver_timeout" default:"60s" min:"0s" max:"24h" doc:"Longest wait for a client to take more of a response; 0s: no limit."`
	MaxHeaderBytes    int            `toml:"max_header_bytes" default:"65536" min:"1024" max:"16777216" doc:"Largest header of a request, in bytes; HTTP/2 counts 32 more for each field."`
	MaxBodyBytes      int64          `toml:"max_body_bytes" default:"0" min:"0" max:"1125899906842624" doc:"Largest body of a request, in bytes; 0: no limit."`

	MaxConnections          int `toml:"max_connections" default:"0" min:"0" max:"10000000" doc:"How many client connections may be open at once, on all listeners except the admin listener; 0: as many as there are file descriptors for, and 16384 over HTTP/3, which needs no descriptors. pace closes a further one at once, with a TCP reset, before any TLS handshake; over HTTP/3 it refuses the first packet."`
	MaxConnectionsPerClient int `toml:"max_connections_per_client" default:"0" min:"0" max:"10000000" doc:"How many connections one client may have open at once; 0: no limit. A client is the address that is connected to pace, or that a PROXY header names; with IPv6, its /64 network. A proxy that passes on the requests of many clients counts as one client, even if server.trusted_proxies has it, so set this above the number of connections that such a proxy needs."`
	MaxStreams              int `toml:"max_streams" default:"250" min:"1" max:"10000" doc:"How many requests a client may have in flight on one connection over HTTP/2 or HTTP/3. pace resets a further one and does not forward it."`
}

// Admin is the listener for operators.
type Admin struct {
	Listen string `toml:"listen" default:"127.0.0.1:9464" is:"address?" doc:"Address of the admin listener, host:port, unix:/path or fd:NAME; \"\" switches it off. A change needs a restart."`
	Pprof  bool   `toml:"pprof" default:"false" doc:"Serve Go's profiles under /debug/pprof/ there."`

	TokenFile string `toml:"token_file" default:"" is:"file?" doc:"File with a token. A call of the API that changes something must have it in Authorization: Bearer. \"\": such calls are refused, unless the admin listener is a socket in the file system."`

	Hosts []string `toml:"hosts" default:"" is:"host" doc:"Names that it accepts in Host, besides its own, the machine's and localhost. It refuses all others, so that no web page can make a browser send it requests. Addresses need not be listed: on loopback it accepts loopback addresses, elsewhere all."`
}

// Metrics is the metrics page on the proxy's own listener.
type Metrics struct {
	Enabled  bool           `toml:"enabled" default:"true" doc:"Keep metrics, and show them on the admin listener and at endpoint."`
	Endpoint string         `toml:"endpoint" default:"/metrics" is:"path?" doc:"Path of the page. It answers GET and HEAD of peers on loopback that send neither Via nor any header in which proxies tell of clients, and of those in allow; others get 404. \"\": the proxy's port has no such page, and every path is the backends'."`
	Allow    []netip.Prefix `toml:"allow" default:"" doc:"Networks that may read the page besides loopback."`

	NativeHistograms bool `toml:"native_histograms" default:"false" doc:"Make all histograms native instead of classic: their buckets are 9 % wide at every duration, in place of chosen bounds. Only scrapes in Prometheus' protobuf format have the buckets (Prometheus asks for it with --enable-feature=native-histograms); text formats show the count and the sum. What pace dashboards writes needs classic ones. A change needs a restart."`
}

// Tracing says what is traced and where the traces go.
type Tracing struct {
	SampleRatio    float64  `toml:"sample_ratio" default:"1.0" min:"0" max:"1" doc:"Share of requests traced when no one decided it before."`
	Endpoint       string   `toml:"endpoint" default:"" is:"collector?" doc:"OTLP collector, http(s)://host:port[/path] or host:port; \"\": what the OTEL_* variables name, else nothing is exported. A change needs a restart."`
	Protocol       string   `toml:"protocol" default:"grpc" doc:"The collector's protocol: grpc or http/protobuf. A change needs a restart."`
	Trust          string   `toml:"trust" default:"all" doc:"Whose traceparent is continued: all, trusted (server.trusted_proxies) or none. Others start a new trace, with a link."`
	ResponseHeader string   `toml:"response_header" default:"X-Trace-Id" is:"header?" doc:"Response header that carries the trace id; \"\" switches it off."`
	QueryAllow     []string `toml:"query_allow" default:"" is:"parameter" doc:"Query parameters whose values are not redacted in traces."`

	Keep Keep `toml:"keep" doc:"Which traces are exported although they were not sampled: those of requests that failed, were rejected or retried, whose client left, or that were slow."`
}

// Keep says which traces are exported although they were not sampled.
type Keep struct {
	Enabled   bool          `toml:"enabled" default:"true" doc:"Export the traces of interesting requests, whatever tracing.sample_ratio says."`
	Slow      time.Duration `toml:"slow" default:"1s" min:"0s" max:"24h" doc:"A request that takes longer is interesting; 0s: none is for that. Streams never are."`
	PerSecond int           `toml:"per_second" default:"50" min:"0" max:"100000" doc:"Traces kept within any second, at most; 0: no limit. The first one for a reason on a route within a second is kept beyond both limits; up to per_second more are, in all."`
	PerReason int           `toml:"per_reason" default:"10" min:"0" max:"100000" doc:"The same, for each reason (error, failover, retry, rejected, client_left, slow)."`
	Recent    int           `toml:"recent" default:"1000" min:"0" max:"1000000" doc:"Exchanges that are kept in memory for pace explain and /api/v1/requests, with or without an exporter: the last interesting ones, and at most a tenth ordinary ones. They take 4 KiB each on average, at most (and 1 MiB in all); 0: none are kept."`
}

// Log is the log.
type Log struct {
	Format string `toml:"format" default:"auto" doc:"auto (colour on a terminal, else JSON), text or json."`
	Level  string `toml:"level" default:"info" doc:"Minimum level to log: debug, info, warn or error."`
	File   string `toml:"file" default:"" is:"file?" doc:"File to append to, reopened on SIGUSR1; it may be /dev/stdout, or a FIFO, which needs no reader; \"\": standard error."`

	SlowAfter time.Duration `toml:"slow_after" default:"30s" min:"0s" max:"24h" doc:"A request that runs for longer logs a line before it ends; 0s: none does."`
}

// Headers names the headers that pace adds.
type Headers struct {
	ProxyName   string `toml:"proxy_name" default:"X-Proxy" is:"header" doc:"Header added to requests to the backend."`
	ProxyValue  string `toml:"proxy_value" default:"pace" is:"value" doc:"Its value."`
	BackendName string `toml:"backend_name" default:"X-Backend" is:"header?" doc:"Response header that names the backend that answered; \"\" switches it off."`
}

// ServerTiming names the clients that get the phases of a request up to the response header.
type ServerTiming struct {
	Allow []netip.Prefix `toml:"allow" default:"" doc:"Networks of the clients that get it; none by default, because times can reveal secrets."`
}
