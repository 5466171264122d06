package proxy

import (
	"net/netip"
	"time"

	"pace/limiter"
	"pace/proxy/action"
	"pace/proxy/message"
	"pace/proxy/mirror"
	"pace/proxy/route"
	"pace/telemetry"
)

// Route is what a configuration says about the requests that one route takes.
type Route struct {
	route.Entry
	Action action.Action

	Prefixes        message.Prefixes
	Host            string // that the backend gets: HostKept, HostOfBackend, or this one; "": HostKept
	RequestHeaders  message.RuleOptions
	ResponseHeaders message.RuleOptions

	Limits      []*Limit
	Allow, Deny []netip.Prefix // clients that may, and that may not; none in Allow: all may

	Timeout         time.Duration  // of a whole exchange, streams excepted; 0: no limit
	ResponseTimeout time.Duration  // 0: the upstream's
	BodyTimeout     *time.Duration // nil: the plan's for requests, the upstream's for responses
	MaxBodyBytes    *int64         // nil: the plan's

	Mirror *mirror.Mirror // gets copies of the requests; nil: none

	Slow        *time.Duration     // an exchange that takes longer is interesting; nil: the plan's
	SampleRatio *float64           // of the traces that begin here; nil: that of all
	Lines       telemetry.LineRule // which exchanges have an access line
}

// The words for the Host that a backend gets.
const (
	HostKept      = "keep"    // the client's
	HostOfBackend = "backend" // the backend's own
)

// plannedRoute is a Route of a Plan, with all that is made of it once.
type plannedRoute struct {
	Route
	name        string
	observed    *telemetry.Route
	pattern     *route.Pattern
	quota       *limiter.Group // of Limits; nil: no limits
	key         *keyKind       // of Limits
	requests    *message.Rules
	responses   *message.Rules
	bodyTimeout time.Duration // of requests
	maxBody     int64         // of requests
	slow        time.Duration
}

// planRoutes returns the table of the routes, and what is planned for each by its index. The routes must have
// been checked.
func (p *Plan) planRoutes(routes []Route) {
	entries := make([]route.Entry, len(routes))
	for i, r := range routes {
		entries[i] = r.Entry
	}
	table, faults := route.NewTable(entries)
	if len(faults) > 0 {
		panic("pace: BUG: routes that were not checked: " + faults[0].What)
	}
	p.table, p.routes = table, make([]plannedRoute, len(routes))
	for _, r := range table.Routes() {
		p.routes[r.Index] = p.planRoute(routes[r.Index], r)
	}
}

func (p *Plan) planRoute(o Route, r *route.Route) plannedRoute {
	planned := plannedRoute{
		Route: o, name: r.Name, pattern: r.Pattern,
		observed: &telemetry.Route{Path: r.Pattern.Path, Name: r.Name, Lines: o.Lines, SampleRatio: o.SampleRatio},
		requests: message.NewRules(o.RequestHeaders), responses: message.NewRules(o.ResponseHeaders),
		bodyTimeout: p.BodyTimeout, maxBody: p.MaxBodyBytes, slow: p.Slow,
	}
	if len(o.Limits) > 0 {
		windows := make([]*limiter.Window, len(o.Limits))
		for i, l := range o.Limits {
			windows[i] = l.Window
		}
		planned.quota, planned.key = limiter.NewGroup(windows...), keyKindOf(o.Limits[0].Key)
	}
	if o.BodyTimeout != nil {
		planned.bodyTimeout = *o.BodyTimeout
	}
	if o.MaxBodyBytes != nil {
		planned.maxBody = *o.MaxBodyBytes
	}
	if o.Slow != nil {
		planned.slow = *o.Slow
	}
	return planned
}

// observed returns what the signals know about the routes.
func (p *Plan) observed() []*telemetry.Route {
	list := make([]*telemetry.Route, len(p.routes))
	for i := range p.routes {
		list[i] = p.routes[i].observed
	}
	return list
}

// match returns what is planned for a request, and why no route takes it, if none does.
func (p *Plan) match(r route.Request) (*plannedRoute, route.Result) {
	m := p.table.Match(r)
	if m.Route == nil {
		return &p.none, m
	}
	return &p.routes[m.Route.Index], m
}

// admits reports whether a client may use the route. Who is denied may not, also if it is allowed.
func (r *plannedRoute) admits(client netip.Addr) bool {
	return (len(r.Allow) == 0 || message.Contains(r.Allow, client)) && !message.Contains(r.Deny, client)
}

// host returns the Host that a backend gets.
func (r *plannedRoute) host(ofClient, ofBackend string) string {
	switch r.Host {
	case "", HostKept:
		if ofClient != "" {
			return ofClient
		}
		return ofBackend
	case HostOfBackend:
		return ofBackend
	}
	return r.Host
}
