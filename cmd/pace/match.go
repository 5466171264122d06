package main

import (
	"pace/config"
	"pace/proxy/message"
	"pace/proxy/route"
	"pace/telemetry"
)

// othersExplained is how many routes that do not take a request are explained.
const othersExplained = 5

// match is what a configuration does with a request, as far as it can be said without asking a backend.
type match struct {
	Route       *string      `json:"route"`        // nil: none takes it
	Outcome     string       `json:"outcome"`      // "": that of the backend
	Upstream    *string      `json:"upstream"`     // nil: no backend is asked, or one of several upstreams
	BackendPath *string      `json:"backend_path"` // with its query
	Limits      []string     `json:"limits"`
	Others      []otherMatch `json:"others"` // the nearest first

	why     string
	outcome telemetry.Outcome
	config  *config.Route // nil: none takes it
}

// otherMatch is a route that does not take the request.
type otherMatch struct {
	Route string `json:"route"`
	Why   string `json:"why"`

	config *config.Route
}

// matchOf returns what routes do with a request. The table is made of them, and target is the request's in
// origin form.
func matchOf(routes []config.Route, table *route.Table, r route.Request, target string) match {
	e := table.Explain(r, othersExplained)
	m := match{Limits: []string{}, Others: []otherMatch{}, why: e.Why}
	for _, o := range e.Others {
		m.Others = append(m.Others, otherMatch{o.Route.Name, o.Why, &routes[o.Route.Index]})
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
func (m *match) take(t *config.Route, target string) {
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
