// Package match says which route of a configuration takes a request, why not the others, and what happens to the
// request there. It asks no backend, and must not know a process that serves.
package match

import (
	"pace/cmd/pace/vet"
	"pace/config"
	"pace/proxy/message"
	"pace/proxy/route"
	"pace/telemetry"
)

// othersExplained is how many routes that do not take a request are explained.
const othersExplained = 5

// Match is what a configuration does with a request, as far as pace knows without asking a backend.
type Match struct {
	Route       *string // nil: none takes it
	Outcome     string  // "": that of the backend
	Upstream    *string // nil: no backend is asked, or one of several upstreams
	BackendPath *string // with its query
	Limits      []string
	Others      []Other // the nearest first

	why     string
	outcome telemetry.Outcome
	config  *config.Route // nil: none takes it
}

// Other is a route that does not take the request.
type Other struct {
	Route string
	Why   string

	config *config.Route
}

// Of returns what routes do with a request. The table must be built from these routes, and target must be the
// request's target in origin form.
func Of(routes []config.Route, table *route.Table, r route.Request, target string) Match {
	e := table.Explain(r, othersExplained)
	m := Match{Limits: []string{}, Others: []Other{}, why: e.Why}
	for _, o := range e.Others {
		m.Others = append(m.Others, Other{o.Route.Name, o.Why, &routes[o.Route.Index]})
	}
	switch e.Miss {
	case route.NoRoute:
		m.outcome = telemetry.NoRoute
	case route.MethodNotAllowed:
		m.outcome = telemetry.MethodNotAllowed
	case route.BadPath:
		m.outcome = telemetry.BadRequest
	default:
		m.take(&routes[e.Route.Index], target)
	}
	if m.outcome != telemetry.Unset {
		m.Outcome = m.outcome.String()
	}
	return m
}

// take notes the route that takes the request.
func (m *Match) take(t *config.Route, target string) {
	m.config, m.Route = t, &t.Name
	m.Limits = append(m.Limits, t.Limits...)
	switch {
	case t.Redirect != "":
		m.outcome = telemetry.Redirected
	case t.Respond != 0:
		m.outcome = telemetry.Responded
	default:
		path := message.Prefixes{Strip: t.StripPrefix, Add: t.AddPrefix}.Rewrite(target)
		m.BackendPath = &path
		if t.Upstream != "" {
			m.Upstream = &t.Upstream
		}
	}
}

// Table returns the table of routes, which vet.Load has accepted.
func Table(routes []config.Route) *route.Table {
	table, faults := route.NewTable(vet.Entries(routes))
	if faults != nil {
		panic("pace: BUG: vet.Load accepted routes with faults: " + faults[0].What)
	}
	return table
}
