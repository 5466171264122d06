package proxy

import (
	"net/http"
	"net/netip"
	"time"

	"pace/proxy/front"
	"pace/proxy/message"
	"pace/proxy/route"
)

// PlanOptions are what a configuration says about requests. The upstreams and the limits of the routes may be
// those of an earlier plan: then they go on with the connections and the counts that they have.
type PlanOptions struct {
	Routes    []Route  // checked, in any order
	Upstreams []string // the names of all of them

	Trusted      []netip.Prefix // proxies whose forwarding fields are believed
	TraceTrust   string         // one of Trusts: whose traces are continued; "": everybody's
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
	entry     http.Handler // gives a request its identity, and then serves it under this plan
	table     *route.Table
	routes    []plannedRoute // by the index of their entries
	none      plannedRoute   // of requests that no route takes
	trust     *message.Trust
	filter    message.Filter
	proxyLine []byte // rendered ProxyName and ProxyValue
}

func (h *Handler) newPlan(o PlanOptions) *Plan {
	o.BackendName, o.TraceName = http.CanonicalHeaderKey(o.BackendName), http.CanonicalHeaderKey(o.TraceName)
	p := &Plan{
		PlanOptions: o,
		trust:       message.NewTrust(o.Trusted),
		filter:      message.NewFilter(append([]string{o.ProxyName}, h.Telemetry.PropagationFields()...)...),
	}
	p.none = plannedRoute{bodyTimeout: o.BodyTimeout, maxBody: o.MaxBodyBytes, slow: o.Slow}
	p.planRoutes(o.Routes)
	p.entry = h.Telemetry.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.serve(p, w, r) }), p.public())
	if o.ProxyName != "" {
		p.proxyLine = []byte(o.ProxyName + ": " + o.ProxyValue + "\r\n")
	}
	return p
}

// Trusts are the words for whose traceparent is continued.
var Trusts = []string{trustAll, trustTrusted, trustNone}

const (
	trustAll     = "all"
	trustTrusted = "trusted"
	trustNone    = "none"
)

// public returns which requests' traces are not continued but linked to; nil: all are continued.
func (p *Plan) public() func(*http.Request) bool {
	switch p.TraceTrust {
	case trustTrusted:
		return func(r *http.Request) bool { return !p.trust.Trusts(front.ConnOf(r.Context()).Peer.Addr) }
	case trustNone:
		return func(*http.Request) bool { return true }
	}
	return nil
}
