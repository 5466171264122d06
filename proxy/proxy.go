// Package proxy is the data path: the walk of a request from the listener to a backend and back.
// [Handler.ServeHTTP] reads as its table of contents. It writes what happens into the request's
// [telemetry.Record]; it must not know the configuration's format, nor OpenTelemetry.
package proxy

import (
	"log/slog"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"pace/lb"
	"pace/limiter"
	"pace/proxy/message"
	"pace/proxy/route"
	"pace/proxy/transport/http1"
	"pace/proxy/upstream"
	"pace/telemetry"
)

// Options configure a Handler; Telemetry, Log and Pool must be set.
type Options struct {
	Telemetry *telemetry.Telemetry
	Log       *slog.Logger

	Upstream   string // name of the pool
	Pool       *lb.Pool
	Exchange   http1.Options
	MaxRetries int // failovers of one request; 0: none

	Limit *Limit // nil: no limit

	Trusted        []netip.Prefix // proxies whose forwarding fields are believed
	MaxBodyBytes   int64          // of a request; 0: no limit
	BodyTimeout    time.Duration  // longest wait for the next byte of a request's body; 0: no limit
	DeliverTimeout time.Duration  // longest wait for a client to take more of an answer; 0: no limit

	ProxyName   string         // field that tells the backend about pace, "": none, and
	ProxyValue  string         // its value
	BackendName string         // field that tells the client which backend answered; "": none
	TimingAllow []netip.Prefix // clients that are told of the phases in Server-Timing

	TraceName string // field that tells the client the trace's id; "": none

	seam func(stage) // of tests: called as each stage begins; nil: none
}

// Limit is a limiter with the name that it has in the configuration.
type Limit struct {
	Policy string
	Window *limiter.Window
	Per    time.Duration
}

// KeyKinds are the words for what tells the clients of a limit apart.
var KeyKinds = []string{clientIP}

const clientIP = "client_ip"

// Handler proxies requests. Safe for concurrent use.
type Handler struct {
	Options
	routes    *route.Table
	upstream  *upstream.Upstream
	trust     *message.Trust
	filter    message.Filter
	proxyLine []byte // rendered ProxyName and ProxyValue
	draining  atomic.Bool
	running   atomic.Int64 // requests whose record is open
	newcomers atomic.Int64 // connections whose first request has not reached the handler
	streams   streams

	multiplexed multiplexed

	refusals, loops, accepts, panics capped // lines in the log about each
}

// NewHandler returns a Handler; it connects when the first request comes.
func NewHandler(o Options) *Handler {
	o.BackendName, o.TraceName = http.CanonicalHeaderKey(o.BackendName), http.CanonicalHeaderKey(o.TraceName)
	h := &Handler{
		Options:  o,
		routes:   route.NewTable(),
		upstream: upstream.New(upstream.Options{Name: o.Upstream, Pool: o.Pool, Transport: o.Exchange, Failovers: o.MaxRetries}),
		trust:    message.NewTrust(o.Trusted),
		filter:   message.NewFilter(append(o.Telemetry.PropagationFields(), o.ProxyName)...),
	}
	if o.ProxyName != "" {
		h.proxyLine = []byte(o.ProxyName + ": " + o.ProxyValue + "\r\n")
	}
	return h
}

// Close closes the idle connections to the backends.
func (h *Handler) Close() { h.upstream.Close() }
