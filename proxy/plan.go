package proxy

import (
	"net/http"
	"net/netip"
	"time"

	"pace/lb"
	"pace/proxy/message"
	"pace/proxy/route"
	"pace/proxy/transport/http1"
	"pace/proxy/upstream"
)

// PlanOptions are what a configuration says about requests; Pool must be set.
type PlanOptions struct {
	Upstream   string // name of the pool
	Pool       *lb.Pool
	Exchange   http1.Options
	MaxRetries int // failovers of one request; 0: none

	Limit *Limit // nil: no limit

	Trusted      []netip.Prefix // proxies whose forwarding fields are believed
	MaxBodyBytes int64          // of a request; 0: no limit
	BodyTimeout  time.Duration  // longest wait for the next byte of a request's body; 0: no limit

	ProxyName   string         // field that tells the backend about pace, "": none, and
	ProxyValue  string         // its value
	BackendName string         // field that tells the client which backend responded; "": none
	TraceName   string         // field that tells the client the trace's id; "": none
	TimingAllow []netip.Prefix // clients that are told of the phases in Server-Timing

	Slow time.Duration // an exchange that takes longer is interesting; 0: none is for that
}

// Plan is all that one configuration decides about requests. It is made once and only read. A request loads
// it once, when it comes, and keeps it to its end: so it never sees two configurations.
type Plan struct {
	PlanOptions
	routes    *route.Table
	upstream  *upstream.Upstream
	trust     *message.Trust
	filter    message.Filter
	limitKey  *keyKind // of Limit, if there is one
	proxyLine []byte   // rendered ProxyName and ProxyValue
}

// allRequests is the one route of the short form of the configuration.
var allRequests, _ = route.NewTable([]route.Entry{{Name: "default", Match: route.All}})

// NewPlan returns a Plan. The fields named propagation are written by pace to carry the trace on.
func NewPlan(o PlanOptions, propagation []string) *Plan {
	o.BackendName, o.TraceName = http.CanonicalHeaderKey(o.BackendName), http.CanonicalHeaderKey(o.TraceName)
	p := &Plan{
		PlanOptions: o,
		routes:      allRequests,
		upstream:    upstream.New(upstream.Options{Name: o.Upstream, Pool: o.Pool, Transport: o.Exchange, Failovers: o.MaxRetries}),
		trust:       message.NewTrust(o.Trusted),
		filter:      message.NewFilter(append([]string{o.ProxyName}, propagation...)...),
	}
	if o.Limit != nil {
		p.limitKey = keyKindOf(o.Limit.Key)
	}
	if o.ProxyName != "" {
		p.proxyLine = []byte(o.ProxyName + ": " + o.ProxyValue + "\r\n")
	}
	return p
}

// Close closes the idle connections to the backends.
func (p *Plan) Close() { p.upstream.Close() }
