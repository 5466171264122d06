package config

import (
	"time"

	"pace/config/check"
)

// Upstreams is what can be said of a pool of backends: in the short form the only one, and its name is
// default.
type Upstreams struct {
	Backends               []Backend     `toml:"backends" example:"http://127.0.0.1:8000 http://127.0.0.1:8001" is:"backend" doc:"The backends, each http://host[:port], port 80 if none is written, https:// (TLS, port 443), h2:// (TLS and HTTP/2, port 443), h2c:// (HTTP/2 without TLS, port 80), or unix:/path, a socket that speaks HTTP; or { url = \"...\", weight = 2 } for one that gets twice as many requests as one of weight 1."`
	MaxRetries             int           `toml:"max_retries" default:"1" min:"0" max:"100" doc:"How many more backends a request is tried on when one fails and it is safe to repeat."`
	ConnectTimeout         time.Duration `toml:"connect_timeout" default:"1s" min:"1ms" max:"10m" doc:"Longest wait for a connection to a backend, with the TLS handshake."`
	ResponseTimeout        time.Duration `toml:"response_timeout" default:"30s" min:"1ms" max:"24h" doc:"Longest wait for the header of a backend's response. Interim responses (1xx) do not extend it."`
	BodyTimeout            time.Duration `toml:"body_timeout" default:"0s" min:"0s" max:"24h" doc:"Longest wait for the next byte of a response's body; 0s: no limit. Streams have none."`
	MaxResponseHeaderBytes int           `toml:"max_response_header_bytes" default:"65536" min:"1024" max:"16777216" doc:"Largest header of a backend's response, in bytes, and of an interim response or a trailer; it may have 1000 fields. A larger one is upstream_invalid."`
	MaxIdlePerBackend      int           `toml:"max_idle_per_backend" default:"512" min:"1" max:"65535" doc:"Idle connections kept open to each backend."`
	IdleTimeout            time.Duration `toml:"idle_timeout" default:"60s" min:"1ms" max:"24h" doc:"How long an idle connection to a backend is kept; best a little shorter than the backend's own idle timeout."`
	MaxConnections         int           `toml:"max_connections" default:"0" min:"0" max:"1000000" doc:"How many connections to each backend may be open at once, those of streams included; 0: any number. A request may always use an idle connection. If there is none, and no room for another one, the request goes to another backend; if no backend has room, the response is 503 overload, at once."`
	MaxRequests            int           `toml:"max_requests" default:"0" min:"0" max:"1000000" doc:"How many requests may be in flight at each backend at once, streams included; 0: any number. A request beyond that goes to another backend; if none has room, the response is 503 overload, at once."`
	DrainStreams           time.Duration `toml:"drain_streams" default:"5m" min:"0s" max:"24h" doc:"How long streams (WebSockets, server-sent events, gRPC calls) at a backend may go on once an operator drains it; then they are closed. 0s: no limit. Other requests in flight finish, however long they take."`
	Resolve                time.Duration `toml:"resolve" default:"30s" min:"0s" max:"24h" doc:"How often a backend's name is resolved again. Each of its addresses is a backend: a new one is used, one that is gone is drained. 0s: once, at the start."`
	Policy                 string        `toml:"policy" default:"round_robin" doc:"Which backend gets a request: round_robin (in turns), random, least_request (of two at random, the one with fewer requests in flight), peak_ewma (of two at random, the one that is expected to respond sooner) or hash (by hash_by). All but peak_ewma give each backend its weight while there is no load."`
	HashBy                 string        `toml:"hash_by" default:"client_ip" is:"hash_by" doc:"What keeps requests at one backend with policy = \"hash\": client_ip, header:NAME, cookie:NAME, or path (without the query). A request without it goes to a backend at random. A backend that has more than 8 requests in flight, and more than 1.25 times the mean, passes further ones on."`
	StickyCookie           string        `toml:"sticky_cookie" default:"" is:"cookie?" doc:"Name of a cookie that pace sets, and that keeps a client at the backend that it got first, whatever the policy; \"\": none."`
	SlowStart              time.Duration `toml:"slow_start" default:"0s" min:"0s" max:"24h" doc:"How long a backend that may be picked again, or that comes to a pool while pace runs, gets only a part of its requests: a tenth at first, and then more from step to step. 0s: it gets all at once."`

	Ejection Ejection `toml:"ejection" doc:"Which backends get no requests for a time, because requests failed at them. A failure is an outcome of side backend; what clients or pace itself do does not count. When the time is up, one request is the trial: if it succeeds, the backend is back, and if it fails, it is out for twice as long."`
	Health   *Health  `toml:"health" doc:"How the backends are checked. Without this table they are not."` // nil: the table is absent
	TLS      TLS      `toml:"tls" doc:"TLS towards backends that are https:// or h2://. The files are read at the start and at each reload."`
	Retry    Retry    `toml:"retry" doc:"When a request gets another attempt, and how many such attempts there may be. Another backend gets the request only if that is safe: nothing of it was sent, or its method may be repeated (not POST or PATCH); and its body is untouched or was kept. If on has the status 503 or 429, and a backend responds with it and with Retry-After, that backend gets no requests for as long as Retry-After says, but at most 10 s, and only while another backend may be picked."`
}

// Retry says when an attempt is followed by another one.
type Retry struct {
	On           []string      `toml:"on" default:"connect_failed connect_timeout upstream_reset" doc:"The endings of an attempt after which pace makes another one. They are outcomes (connect_failed, connect_timeout, tls_failed, dns_failed, upstream_timeout, upstream_reset, upstream_invalid) and statuses of the response (\"429\", \"502\", \"503\", \"504\"). connect_failed includes tls_failed, dns_failed and a missing local port; upstream_reset includes a request that the backend says, over HTTP/2, it has not processed. []: pace sends no request twice."`
	Budget       float64       `toml:"budget" default:"0.2" min:"0" max:"1" doc:"Further attempts as a share of the requests, within any 10 s. 30 more are allowed, so that an upstream with few requests has some. A request that would need more fails at once."`
	Backoff      time.Duration `toml:"backoff" default:"0s" min:"0s" max:"1m" doc:"Longest pause before the second attempt of a request, doubled before each further one, up to 1m. How long it is within that is random; 0s: none."`
	MaxKeptBytes int64         `toml:"max_replay_bytes" default:"0" min:"0" max:"1048576" doc:"Largest body of a request that is kept in memory so that it can be sent again; 0: none is. Each request in flight with a body may take that much, and all together 64 MiB; a body that finds no room is not kept."`
}

// Ejection says which backends get no requests for a time.
type Ejection struct {
	Enabled             bool          `toml:"enabled" default:"true" doc:"Eject backends at which requests fail."`
	ConsecutiveFailures int           `toml:"consecutive_failures" default:"5" min:"0" max:"1000000" doc:"Failures in a row that eject a backend; 0: no number does."`
	FailureShare        float64       `toml:"failure_share" default:"0.5" min:"0" max:"1" doc:"Share of failures among a backend's requests of the last window that ejects it; 0: no share does."`
	MinRequests         int           `toml:"min_requests" default:"20" min:"1" max:"1000000" doc:"Requests that a backend must have had within window for failure_share to count."`
	Window              time.Duration `toml:"window" default:"10s" min:"100ms" max:"1h" doc:"The span of time over which failure_share is measured. It moves in steps of a tenth of its length."`
	Base                time.Duration `toml:"base" default:"10s" min:"1ms" max:"24h" doc:"How long the first ejection takes. Each further one takes twice as long as the one before; after max without one, the next is a first one again."`
	Max                 time.Duration `toml:"max" default:"5m" min:"1ms" max:"24h" doc:"How long an ejection takes at most."`
	MaxShare            float64       `toml:"max_share" default:"0.5" min:"0" max:"1" doc:"Largest share of the backends that may be ejected at once, rounded down and without the drained ones: with 0.5, a single backend is never ejected. If no backend may be picked, pace asks all that are not drained."`
}

// TLS says how backends over TLS are spoken to.
type TLS struct {
	ServerName string `toml:"server_name" default:"" is:"host?" doc:"Name that the certificate of each backend must have, and that pace sends as SNI; \"\": the host of the backend, as it is written in backends."`
	CA         string `toml:"ca" default:"" is:"file?" doc:"File with the certificates, in PEM, of the authorities that may sign the certificates of the backends; \"\": those that the system trusts."`
	Cert       string `toml:"cert" default:"" is:"file?" doc:"File with a certificate and its chain, in PEM. pace shows it to a backend that asks for a client certificate; \"\": none."`
	Key        string `toml:"key" default:"" is:"file?" doc:"File with its key, in PEM. Only pace should be able to read it."`
	Verify     bool   `toml:"verify" default:"true" doc:"Refuse a backend whose certificate does not verify. With false, somebody on the network between pace and the backend can pretend to be the backend, and read and change everything that is sent."`
}

// Upstream is a pool of backends under a name.
type Upstream struct {
	Name string
	Key  string // the path of its table, for [File.Fault]: upstream.api, or upstreams
	Upstreams
}

// Backend is one backend as it is written. A host name may stand for several addresses.
type Backend struct {
	Scheme  string // one of [check.BackendSchemes], or "unix": HTTP over a socket in the file system
	Address string // host:port, the host in lower case and an IPv6 address in brackets; or the socket's path
	Weight  int    // from 1
}

// UsesTLS reports whether TLS is spoken to the backend.
func (b Backend) UsesTLS() bool { return b.Scheme == "https" || b.Scheme == "h2" }

// place is where the backend is, whatever is spoken there.
func (b Backend) place() Backend {
	if b.Scheme != check.Unix {
		b.Scheme = ""
	}
	b.Weight = 1
	return b
}

// URL is the backend in the spelling of a file.
func (b Backend) URL() string {
	return check.BackendURL(b.Scheme, b.Address)
}
